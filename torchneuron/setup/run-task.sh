# shellcheck shell=bash disable=SC2154 # the variables are set by the script that sources this
# The machine's side of a run. The first script of a run keeps this here; every script sources it after it has set
#
#   task, digest         its id, and the digest of its text, its values and everything before it
#   after, after_digest  the task that has to have finished before it; empty for none
#   forget               ids of tasks that run again although they have finished
#   only_if              a shell test; empty for none
#   retries              how often to try again after a failure
#   text                 a function that prints the task's own script
#   values               a function that exports the variables it uses; secrets by `secret` (secrets.sh)
#   drop                 the run whose given values are removed when this fails; empty for none
#   last                 1 when they are removed in any case
#
# A task that has finished leaves a mark: the journal that makes a run resumable from any laptop, or from none.

export HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
marks=/var/lib/torchneuron logs=/var/log/torchneuron most_bytes=10000000
# An image made from a machine carries its marks along: they count on the machine that made them only.
machine=${AWS_SSM_INSTANCE_ID-}

# A value that was given is kept in memory, for root alone, and no longer than its run.
trap '[ "$?$last" = 0 ] || rm -rf "/run/torchneuron/given/${drop:-none}"' EXIT

finished() { [ "$(cat "$marks/$1.done" 2>/dev/null)" = "$2 $machine" ]; }
finish() { echo "$digest $machine" >"$marks/$task.new" && mv "$marks/$task.new" "$marks/$task.done"; }
# The values may have any name, also one of those used here.
with_values() { values && exec bash "$@"; }
has_values() (values)
keep() { umask 027 && exec tee -a "$logs/$task.log" "$logs/all.log" 7>&- 8>&- 9>&-; }
rotate() { [ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -le "$most_bytes" ] || mv "$1" "$1.1"; }

# What tasks print is root's. A task may give the folder to a group: what is written there is the group's from then on.
install -d -m 2750 "$logs"
# One task at a time, whoever sent it: SSM starts a second command beside the first.
exec 9>"$marks/lock"
flock --nonblock 9 || { echo "waiting for another run on this machine" && flock 9; }

for one in $forget; do rm -f "$marks/$one.done"; done
# The SSM agent stops a document at a failed step, but not at one that ran out of time.
if [ "$after" ] && ! finished "$after" "$after_digest"; then
  echo "not run: $after before it did not finish" >&2
  exit 1
fi
if finished "$task" "$digest"; then
  echo "[torchneuron] finished before"
  exit 0
fi
rm -f "$marks/$task.done"
rotate "$logs/$task.log"
rotate "$logs/all.log"
printf '==> %s %s <==\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$task" | keep >/dev/null

if [ "$only_if" ]; then
  bash -n -c "$only_if"
  has_values # else a secret that can't be had would look like a test that does not hold
  if ! (with_values -c "$only_if") </dev/null >/dev/null 2>&1 9>&-; then
    finish
    printf '[torchneuron] skipped: %s\n' "$only_if" | keep
    exit 0
  fi
fi

# The failing command is named as written, so no value is shown.
cat - <(text) >"$marks/$task.sh" <<'STRICT'
set -Eeuo pipefail
trap 'echo "failed with status $?: $BASH_COMMAND" >&2' ERR
STRICT
# Opened here, and closed for the task: a background job that held them, or the lock, would hold up all that follows.
exec 7> >(keep)
keepers=$!
exec 8> >(keep >&2)
keepers="$keepers $!"
for ((try = 0, pause = 1; ; try++, pause = pause < 16 ? pause * 2 : 30)); do
  status=0
  (with_values "$marks/$task.sh") </dev/null >&7 2>&8 7>&- 8>&- 9>&- || status=$?
  if [ "$status" -eq 0 ] || [ "$try" -ge "$retries" ]; then break; fi
  echo "failed with status $status; try $((try + 2)) of $((retries + 1)) in $pause s" >&2
  sleep "$pause"
done
exec 7>&- 8>&-
# shellcheck disable=SC2086 # two words
wait $keepers || true # so that the log is whole when the mark is there
[ "$status" -ne 0 ] || finish
# Words to the agent, not failures: 137 its own time-out, 168 and 169 "skip the rest". 194, "reboot", is let through.
case $status in
  137 | 168 | 169)
    echo "the task ended with status $status" >&2
    status=1
    ;;
esac
exit "$status"
