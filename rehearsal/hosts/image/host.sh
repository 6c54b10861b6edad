#!/bin/bash
# Sets up a host's files and keeps it running until it powers off or its owner ends.
#
# Runs in its own mount namespace, and starts the host in a user namespace, whose root has no rights outside of it, and
# in namespaces that belong to that root. When this script ends, even by SIGKILL, the kernel kills everything in the host
# and drops all its mounts. Settings are environment variables:
#
#   KIND            booted or light
#   NAME            the host's name
#   TREE            the image
#   FOLDER          where the host's changes outlive it; empty: in memory
#   SEED            a tar archive to unpack over the files
#   USER_NAMESPACE  a descriptor
#   FIRST_ID        the id of the namespace's root outside of it
#   DEVICES         a descriptor of the file system with the device nodes of volumes
#   CGROUP          the name of the host's cgroup; empty: none
#   BOUNDED         capabilities that the host's root does not have even in its namespace
#   PYTHON          the interpreter for idmapped.py
#   MASKS           folders of the image to hide
#
# Standard input is a pipe that the owner holds open until it ends.
set -euo pipefail

here=${BASH_SOURCE%/*}
SEEDED='' SPACE=/mnt INSIDE=$(<"$here/inside.sh")
if [[ $FOLDER ]]; then
  mkdir -p "$FOLDER"/{upper,work,masks}
  rm -rf "$FOLDER/work/work/incompat" # the kernel's mark of a volatile mount
  [[ ! -e $FOLDER/seeded ]] || SEEDED=yes
fi
# From here on only system programs run: the host's root may not reach other files of this machine.
"$PYTHON" -I -S "$here/../idmapped.py" files "$SPACE" "$TREE" "$FOLDER" "$USER_NAMESPACE" "$FIRST_ID" "$DEVICES"

# The host's root cannot create device nodes. It can open these and those of its volumes.
make_devices() {
  local node major minor number names=(stdin stdout stderr)
  ! mountpoint -q "$SPACE/dev" || umount "$SPACE/dev"
  mount -t tmpfs -o "mode=755,uid=$FIRST_ID,gid=$FIRST_ID" dev "$SPACE/dev"
  mkdir "$SPACE"/dev/{shm,pts,old,volumes}
  chmod 1777 "$SPACE/dev/shm"
  while read -r node major minor; do
    mknod -m 666 "$SPACE/dev/$node" c "$major" "$minor"
  done <<<$'null 1 3\nzero 1 5\nfull 1 7\nrandom 1 8\nurandom 1 9\ntty 5 0'
  ln -s pts/ptmx "$SPACE/dev/ptmx"
  ln -s /proc/self/fd "$SPACE/dev/fd"
  for number in 0 1 2; do
    ln -s "/proc/self/fd/$number" "$SPACE/dev/${names[number]}"
  done
  chown --no-dereference -R "$FIRST_ID:$FIRST_ID" "$SPACE/dev"
}

export KIND NAME SPACE SEED SEEDED MASKS
# A host without a cgroup stays in this machine's cgroup namespace, where it sees no cgroups.
enter() { # UNSHARE OPTION...
  exec nsenter "--user=/proc/self/fd/$USER_NAMESPACE" env --default-signal=HUP,INT,TERM \
    unshare --mount --uts --ipc "$@" --pid --fork --kill-child \
    setpriv "--bounding-set=$BOUNDED" bash -c "$INSIDE" inside.sh
}
if [[ $KIND == light ]]; then
  make_devices
  enter
fi

# systemd needs cgroup2 only, whichever hierarchy this machine uses, and no processes beside its own cgroups.
if mountpoint -q /sys/fs/cgroup; then umount -R -l /sys/fs/cgroup; fi
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# shellcheck disable=SC2153 # the environment's
cgroup=/sys/fs/cgroup/$CGROUP
mkdir "$cgroup" "$cgroup/keeper" "$cgroup/host"
echo $$ >"$cgroup/keeper/cgroup.procs"
read -r -a controllers <"$cgroup/cgroup.controllers" || true
for controller in "${controllers[@]}"; do
  echo "+$controller" >"$cgroup/cgroup.subtree_control" || true
done
chown "$FIRST_ID:$FIRST_ID" "$cgroup/host" "$cgroup"/host/cgroup.{procs,threads,subtree_control}

exec {owner}<&0 </dev/null
trap 'exit 1' TERM
{
  cat >/dev/null
  kill -TERM $$
} <&"$owner" &
exec {owner}<&-

# On reboot(2) the kernel ends the host's first process by SIGHUP ("PID namespaces"): boot again on the same files. The
# network namespace is this script's, so what listens in it survives the reboot.
status=129
while ((status == 129)); do
  make_devices
  (
    echo 0 >"$cgroup/host/cgroup.procs"
    enter --cgroup
  ) &
  SEED='' SEEDED=yes status=0
  wait $! || status=$?
done
exit "$status"
