#!/bin/bash
# Installs the release's package in exactly this version, even if that is a downgrade. Its SHA-256 sum must be the one in
# the settings or, if there is none, that of the first installation on any machine.
set -euo pipefail

architecture=$(dpkg --print-architecture)
file=code-server_${CODE_SERVER_VERSION}_$architecture.deb
readonly kept=/var/lib/code-server-setup/$file.sha256 # of the installed package
sum_for() { sed -n "s/.*\b$architecture=\([0-9a-f]*\).*/\1/p" <<<"$1"; }
expected=$(sum_for "$CODE_SERVER_SHA256")
: "${expected:=$(sum_for "$FIRST_SHA256")}"

is_installed() {
  [[ $(dpkg-query --show --showformat='${db:Status-Status} ${Version}' code-server 2>&1) == "installed $CODE_SERVER_VERSION" ]]
}
check() { # SUM WHAT
  [[ ! $expected || $1 == "$expected" ]] && return
  echo "$2: its SHA-256 sum is $1, and $expected was expected. Find out which is right before you use either" >&2
  exit 1
}

sum=$(cat "$kept" 2>/dev/null || true)
if is_installed && [[ $sum ]]; then
  check "$sum" "the code-server $CODE_SERVER_VERSION on this host is from another package"
elif ! is_installed || [[ $expected ]]; then
  # A fixed folder, so that the next run removes what an interrupted one left.
  readonly directory=/var/cache/code-server-setup
  trap 'rm -rf "$directory"' EXIT
  rm -rf "$directory"
  install -d -m 755 "$directory"

  curl --fail --location --silent --show-error --retry 5 --retry-connrefused --connect-timeout 30 \
    --output "$directory/$file" "https://github.com/coder/code-server/releases/download/v$CODE_SERVER_VERSION/$file"
  sum=$(sha256sum "$directory/$file" | cut -d' ' -f1)
  check "$sum" "$file is not what was expected, and is not installed"
  dpkg --configure -a >/dev/null # otherwise apt refuses to work after an interrupted installation
  # --reinstall also fixes a package that was only partly unpacked, which apt otherwise calls "the newest version".
  problems=$(apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --yes --no-install-recommends \
    --reinstall --allow-downgrades "$directory/$file" 2>&1) || true
  if ! is_installed; then
    tail -n 20 <<<"$problems" >&2
    echo "code-server $CODE_SERVER_VERSION could not be installed" >&2
    exit 1
  fi
  install -d -m 755 "${kept%/*}"
  echo "$sum" >"$kept.new"
  mv "$kept.new" "$kept"
fi

echo "code-server $CODE_SERVER_VERSION is installed${sum:+ ($architecture, SHA-256 $sum)}" >&2
