#!/bin/bash
# The release's own package, of exactly the version asked for, also when that means going back to an older one.
set -euo pipefail

is_installed() {
  [[ $(dpkg-query --show --showformat='${db:Status-Status} ${Version}' code-server 2>&1) == "installed $CODE_SERVER_VERSION" ]]
}

architecture=$(dpkg --print-architecture)
expected=$(sed -n "s/.*\b$architecture=\([0-9a-f]*\).*/\1/p" <<<"$CODE_SERVER_SHA256")

if ! is_installed; then
  # A fixed place: what a killed run leaves there the next one removes.
  readonly directory=/var/cache/code-server-setup
  file=code-server_${CODE_SERVER_VERSION}_$architecture.deb
  trap 'rm -rf "$directory"' EXIT
  rm -rf "$directory"
  install -d -m 755 "$directory"

  curl --fail --location --silent --show-error --retry 5 --retry-connrefused --connect-timeout 30 \
    --output "$directory/$file" "https://github.com/coder/code-server/releases/download/v$CODE_SERVER_VERSION/$file"
  sum=$(sha256sum "$directory/$file" | cut -d' ' -f1)
  if [[ ${expected:=$sum} != "$sum" ]]; then
    echo "$file is not the package that was expected, and is not installed: its SHA-256 sum is $sum, not $expected" >&2
    exit 1
  fi
  dpkg --configure -a >/dev/null # after a step killed in the middle of an installation apt would refuse to work
  # --reinstall also mends what was killed half unpacked; without it apt calls that "the newest version".
  problems=$(apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --yes --no-install-recommends \
    --reinstall --allow-downgrades "$directory/$file" 2>&1) || true
  if ! is_installed; then
    tail -n 20 <<<"$problems" >&2
    echo "code-server $CODE_SERVER_VERSION could not be installed" >&2
    exit 1
  fi
fi

echo "code-server $CODE_SERVER_VERSION is installed" >&2
