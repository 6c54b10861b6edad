# shellcheck shell=bash disable=SC2154 # the variables are set by the script that sources this
# Runs a task on the machine. The first script of a run installs this file; every script sources it after setting
#
#   task, digest         the task's id, and the digest of its text, its values and everything before it
#   after, after_digest  the task that must have finished before; empty for none
#   forget               ids of finished tasks that run again
#   only_if              a shell test; empty for none
#   retries              number of retries after a failure
#   text                 a function that prints the task's script
#   values               a function that exports the task's variables; secrets by `secret` (secrets.sh)
#   drop                 the run whose secret values are removed if the task fails; empty for none
#   last                 1 if they are removed in any case
#
# A finished task leaves a mark, by which a run can be resumed from any laptop.

export HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
marks=/var/lib/torchneuron logs=/var/log/torchneuron most_bytes=10000000
# Marks name the machine: an image created from it has copies of them, which must not count elsewhere.
machine=${AWS_SSM_INSTANCE_ID-}

# Secret values that were delivered are in memory, readable by root only, for no longer than the run.
trap '[ "$?$last" = 0 ] || rm -rf "/run/torchneuron/given/${drop:-none}"' EXIT

finished() { [ "$(cat "$marks/$1.done" 2>/dev/null)" = "$2 $machine" ]; }
finish() { echo "$digest $machine" >"$marks/$task.new" && mv "$marks/$task.new" "$marks/$task.done"; }
# In a subshell or a new process: variables of the task may have the names of variables used here.
with_values() { values && exec bash "$@"; }
has_values() (values)
keep() { umask 027 && exec tee -a "$logs/$task.log" "$logs/all.log" 7>&- 8>&- 9>&-; }
rotate() { [ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -le "$most_bytes" ] || mv "$1" "$1.1"; }

# Only root can read the logs. A task may give the folder to a group, which later files then belong to.
install -d -m 2750 "$logs"
# One task at a time: SSM runs the commands of two runs concurrently.
exec 9>"$marks/lock"
flock --nonblock 9 || { echo "waiting for another run on this machine" && flock 9; }

for id in $forget; do rm -f "$marks/$id.done"; done
# The SSM agent stops a document at a step that fails, but not at one that times out.
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
  has_values # otherwise a secret that cannot be read would look like a false test
  if ! (with_values -c "$only_if") </dev/null >/dev/null 2>&1 9>&-; then
    finish
    printf '[torchneuron] skipped: %s\n' "$only_if" | keep
    exit 0
  fi
fi

# The trap prints the command as written, so that no value is shown.
cat - <(text) >"$marks/$task.sh" <<'STRICT'
set -Eeuo pipefail
trap 'echo "failed with status $?: $BASH_COMMAND" >&2' ERR
STRICT
# The task does not inherit these or the lock: a background job that held them would block later tasks.
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
# shellcheck disable=SC2086 # two process ids
wait $keepers || true # the log is complete before the mark exists
[ "$status" -ne 0 ] || finish
# To the agent, 137 is a time-out and 168 and 169 mean "skip the rest". 194, "reboot", is passed on.
case $status in
  137 | 168 | 169)
    echo "the task ended with status $status" >&2
    status=1
    ;;
esac
exit "$status"
