#!/bin/bash
# A third-party source that is out of reach or whose key has expired (as Neuron's has) must not prevent the installation
# of nginx. So errors of the update are not fatal; missing packages are.
set -euo pipefail

readonly packages=(ca-certificates curl nginx nodejs python3 sudo)
readonly apt=(apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)

find_missing() {
  missing=()
  for package in "${packages[@]}"; do
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>&1) == installed ]] || missing+=("$package")
  done
}

find_missing
if ((${#missing[@]})); then
  dpkg --configure -a >/dev/null # otherwise apt refuses to work after an interrupted installation
  # The lock timeout does not cover the lock of the lists, which apt's daily update may hold.
  until problems=$("${apt[@]}" -o Acquire::Retries=3 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 \
    update 2>&1) || [[ $problems != *lists/lock* ]] || ((SECONDS >= 300)); do
    sleep 2
  done
  [[ ! $problems ]] || printf 'apt could not refresh every list:\n%s\n' "$problems"

  # --reinstall also fixes a package that was only partly unpacked, which apt otherwise calls "the newest version".
  new=${missing[*]}
  problems=$("${apt[@]}" install --yes --no-install-recommends --reinstall -o Dpkg::Options::=--force-confold \
    "${missing[@]}" 2>&1) || true
  find_missing
  if ((${#missing[@]})); then
    tail -n 20 <<<"$problems" >&2
    echo "could not be installed: ${missing[*]}" >&2
    exit 1
  fi
fi

echo "installed: ${packages[*]} (new: ${new:-none})" >&2
