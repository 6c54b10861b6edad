#!/bin/bash
# A fresh instance often installs its own updates just after boot. Asking dpkg itself is the one test that knows
# its lock; the question also finishes what an earlier, killed installation left half done.
set -euo pipefail

readonly limit=300
announced=

until answer=$(LC_ALL=C dpkg --configure -a 2>&1); do
  if [[ $answer != *lock* ]]; then
    printf '%s\n' "$answer" "dpkg can't finish an earlier installation: repair it on the host, then run the setup again" >&2
    exit 1
  fi
  if ((SECONDS >= limit)); then
    printf '%s\n' "$answer" "dpkg's lock was not free within $limit seconds: see what holds it, then run the setup again" >&2
    exit 1
  fi
  [[ $announced ]] || echo "waiting for dpkg's lock: ${answer%%$'\n'*}"
  announced=yes
  sleep 2
done

echo "dpkg's lock is free after $SECONDS s" >&2
