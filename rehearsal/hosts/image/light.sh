#!/bin/sh
# Sets a light host up and keeps it up until its owner is gone or closes the pipe.
#
#   light.sh TREE SPACE NAME SEED FOLDER MASK...
#   (standard input: a pipe its owner holds open as long as it lives; FOLDER: where the host's changes outlive it, or "")
#
# Runs as process 1 of a pid namespace, in a mount namespace, both its own: whenever it ends, however it ends,
# the kernel kills everything in the host and drops everything that was mounted. Without a folder the host's changes live
# on a tmpfs mounted in here, so they go the same way: nothing of a light host is ever on this machine's disk.
set -eu

tree=$1 space=$2 name=$3 seed=$4 folder=$5
shift 5
echo "$name" >/proc/sys/kernel/hostname

if [ -n "$folder" ]; then
    mount --bind "$folder" "$space"
else
    mount -t tmpfs -o mode=755 host "$space"
fi
mkdir -p "$space/upper" "$space/work" "$space/root" "$space/masks"
# Nothing waits for the disk, which costs a host that is kept more than all else it does. The kernel marks what was
# mounted so, as a machine that crashes would lose some of it; one whose owner is killed loses nothing.
rm -rf "$space/work/work/incompat"
mount -t overlay -o "volatile,lowerdir=$tree,upperdir=$space/upper,workdir=$space/work" overlay "$space/root"
cd "$space/root"

# What the tree has there is this machine's own and none of a host's business.
for mask; do
    mkdir -p ".$mask"
    if [ ! -e "$space/masks/$mask" ]; then
        mkdir -p "$space/masks/$mask"
        chmod --reference=".$mask" "$space/masks/$mask"
    fi
    mount --bind "$space/masks/$mask" ".$mask"
done

mkdir -p proc sys dev
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 dev dev
mkdir -m 1777 dev/shm
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 dev/tty c 5 0
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
if [ -e "$space/seeded" ]; then
    # As after a reboot, and by the host's own tools: what is a link in there has to lead to where it leads in there.
    # shellcheck disable=SC2016 # the host's shell expands it
    chroot . sh -euc 'find /run /tmp -mindepth 1 -delete; rm -rf /var/lib/rehearsal/volumes; tar -x -f -' <"$seed"
else
    tar -x -f "$seed" -C .
    : >"$space/seeded"
fi

# Process 1 gets the host's orphans, and the kernel buries them when it ignores their end.
# shellcheck disable=SC2016 # the host's shell expands it
exec chroot . sh -c 'sh "$1" boot && echo up && exec env --ignore-signal=CHLD cat >/dev/null' sh \
    /usr/local/lib/rehearsal/volumes.sh
