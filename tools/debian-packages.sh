#!/usr/bin/env bash
# Install the Debian packages named as arguments, where they are missing; say which before doing so.
# Exits 0 when all are there; 3 when some are missing and this machine or user cannot install them.
set -euo pipefail

missing=()
for package in "$@"; do
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
    missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "Missing: ${missing[*]} (Debian packages), and this machine has no apt-get." >&2
  exit 3
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "Missing Debian packages: ${missing[*]}" >&2
  echo "Install them with: sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 3
fi
echo "Installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }; then
  echo "apt could not install: ${missing[*]}" >&2
  exit 3
fi
