#!/bin/sh
# Boots a host and keeps it up until it powers off or its owner is gone.
#
#   boot.sh TREE SPACE CGROUP NAME SEED FOLDER
#   (standard input: a pipe its owner holds open as long as it lives; FOLDER: where the host's changes outlive it, or "")
#
# Runs as process 1 of a pid namespace, in a mount namespace, both its own: whenever it ends, however it ends,
# the kernel kills everything it started and drops everything it mounted. Without a folder the host's changes live on a
# tmpfs mounted in here, so they go the same way.
set -eu

tree=$1 space=$2 cgroup=$3 name=$4 seed=$5 folder=$6

# systemd wants cgroup2 alone, whichever hierarchy this machine uses.
if mountpoint -q /sys/fs/cgroup; then umount -R -l /sys/fs/cgroup; fi
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$cgroup"
echo $$ >"/sys/fs/cgroup/$cgroup/cgroup.procs"

if [ -n "$folder" ]; then
    mount --bind "$folder" "$space"
else
    mount -t tmpfs -o mode=755 host "$space"
fi
mkdir -p "$space/upper" "$space/work" "$space/root"
# Nothing waits for the disk, which costs a host that is kept more than all else it does. The kernel marks what was
# mounted so, as a machine that crashes would lose some of it; one whose owner is killed loses nothing.
rm -rf "$space/work/work/incompat"
mount -t overlay -o "volatile,lowerdir=$tree,upperdir=$space/upper,workdir=$space/work" overlay "$space/root"
if [ -e "$space/seeded" ]; then
    # By the host's own tools: what is a link in there has to lead to where it leads in there.
    chroot "$space/root" sh -c 'rm -rf /var/lib/rehearsal/volumes && tar -x -f -' <"$seed"
else
    tar -x -f "$seed" -C "$space/root"
    : >"$space/seeded"
fi

# Not earlier: what was handed down to this script may have any number, 9 too.
exec 9<&0 </dev/null
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
