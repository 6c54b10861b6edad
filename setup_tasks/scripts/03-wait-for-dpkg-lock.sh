#!/bin/bash
# A new instance often installs updates right after boot. Only dpkg itself knows whether its lock is free. The command
# also finishes what an interrupted installation left unfinished.
set -euo pipefail

readonly limit=300
announced=

until answer=$(LC_ALL=C dpkg --configure -a 2>&1); do
  if [[ $answer != *lock* ]]; then
    printf '%s\n' "$answer" "dpkg cannot finish an earlier installation: fix it on the host, then run the setup again" >&2
    exit 1
  fi
  if ((SECONDS >= limit)); then
    printf '%s\n' "$answer" "dpkg's lock was not free within $limit seconds: find the process that holds it, then run the setup again" >&2
    exit 1
  fi
  [[ $announced ]] || echo "waiting for dpkg's lock: ${answer%%$'\n'*}"
  announced=yes
  sleep 2
done

echo "dpkg's lock is free after $SECONDS s" >&2
