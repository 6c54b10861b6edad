#!/bin/sh
# Boots a host and keeps it up until it powers off or its owner is gone.
#
#   boot.sh TREE SPACE CGROUP NAME SEED    (standard input: a pipe its owner holds open as long as it lives)
#
# Runs as process 1 of a pid namespace, in a mount namespace, both its own: whenever it ends, however it ends,
# the kernel kills everything it started and drops everything it mounted. The host's changes live on a tmpfs
# mounted in here, so they go the same way.
set -eu

tree=$1 space=$2 cgroup=$3 name=$4 seed=$5
exec 9<&0 </dev/null

# systemd wants cgroup2 alone, whichever hierarchy this machine uses.
if mountpoint -q /sys/fs/cgroup; then umount -R -l /sys/fs/cgroup; fi
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$cgroup"
echo $$ >"/sys/fs/cgroup/$cgroup/cgroup.procs"

mount -t tmpfs -o mode=755 host "$space"
mkdir "$space/upper" "$space/work" "$space/root"
mount -t overlay -o "lowerdir=$tree,upperdir=$space/upper,workdir=$space/work" overlay "$space/root"
tar -x -f "$seed" -C "$space/root"

trap 'exit 1' TERM
{
    cat >/dev/null
    kill -TERM $$
} <&9 &
exec 9<&-

# systemd-nspawn ends with 133 when the host asked for a reboot: the same files, booted again. The host's
# network is the namespace this script was started in, so what is served in there outlives a reboot too.
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
status=133
while [ "$status" -eq 133 ]; do
    systemd-nspawn --directory="$space/root" --boot --register=no --keep-unit --machine="$name" --hostname="$name" \
        --network-namespace-path=/proc/self/ns/net --console=pipe --resolv-conf=off --timezone=off --link-journal=no &
    status=0
    wait $! || status=$?
done
exit "$status"
