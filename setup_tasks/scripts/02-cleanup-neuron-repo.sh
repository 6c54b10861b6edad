#!/bin/bash
# A Neuron source is stale if it names a release other than this host's (an image upgraded in place, a line copied from a
# guide), or repeats another entry: two entries with different keys make apt refuse all operations. The image's
# neuron.list is read first, so its entry stays. Disabled entries and other sources are not changed. A current entry
# stays even if its site cannot be reached: 04 does not depend on it.
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
  # From the last line to the first, so that the remaining line numbers stay valid.
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
