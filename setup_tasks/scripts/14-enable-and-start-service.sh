#!/bin/bash
set -euo pipefail

readonly unit=code-server@$USER.service limit=60
readonly address=http://127.0.0.1:$INTERNAL_PORT/healthz

systemctl enable --quiet "$unit"
systemctl restart "$unit"

until curl --fail --silent --max-time 2 --output /dev/null "$address" && systemctl --quiet is-active "$unit"; do
  if ((SECONDS >= limit)); then
    echo "$unit does not answer on $address after $limit seconds; its journal ends with:" >&2
    journalctl --quiet --no-pager --lines 15 --unit "$unit" >&2
    exit 1
  fi
  sleep 0.2
done

echo "$unit runs and starts at boot; it answered after $SECONDS s" >&2
