#!/bin/bash
# A Neuron source is stale when it names another release than this host's (an image upgraded in place, a line
# pasted from a guide), or repeats an entry already there: two entries with different keys make apt refuse every
# operation, not only Neuron's. The image's own neuron.list comes first, so its entry is the one that stays.
# Disabled entries and all other sources are left alone. A current entry whose site can't be reached stays too:
# 04 does not depend on it.
set -euo pipefail
shopt -s nullglob

readonly repository=apt.repos.neuron.amazonaws.com directory=/etc/apt/sources.list.d
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)

lists=()
for file in "$directory"/neuron.list /etc/apt/sources.list "$directory"/*.list; do
  [[ ! -s $file || " ${lists[*]-} " == *" $file "* ]] || lists+=("$file")
done

# shellcheck disable=SC2016 # the dollars are awk's
stale_lines='
  /^[ \t]*deb/ && index($0, repository) {
    entry = $0
    sub(/\[[^]]*\]/, "", entry)
    split(entry, word)
    sub(/\/$/, "", word[2])
    if (word[3] != codename || seen[word[1], word[2], word[3]]++) print FNR, FILENAME
  }'

removed=0
if ((${#lists[@]})); then
  # From the last line to the first: removing one leaves the numbers before it true.
  while read -r number file; do
    sed -i "${number}d" "$file"
    grep -q '[^[:space:]]' "$file" || rm "$file"
    removed=$((removed + 1))
  done < <(awk -v repository="$repository" -v codename="$codename" "$stale_lines" "${lists[@]}" | tac)
fi

listed=$(cat /dev/null "$directory"/*.list | grep -c "^[[:space:]]*deb.*$repository" || true)
for file in "$directory"/*.sources; do
  if grep -q "^URIs:.*$repository" "$file" && [[ $(grep -c '^Types:' "$file") == 1 ]]; then
    if ((listed)) || ! grep -qw "^Suites:.*$codename" "$file"; then
      rm "$file"
      removed=$((removed + 1))
    fi
  fi
done

echo "$removed stale Neuron apt sources removed" >&2
