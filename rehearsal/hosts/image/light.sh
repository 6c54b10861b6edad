#!/bin/sh
# Sets a light host up and keeps it up until its owner is gone or closes the pipe.
#
#   light.sh TREE SPACE NAME SEED MASK...  (standard input: a pipe its owner holds open as long as it lives)
#
# Runs as process 1 of a pid namespace, in a mount namespace, both its own: whenever it ends, however it ends,
# the kernel kills everything in the host and drops everything that was mounted. The host's changes live on a tmpfs
# mounted in here, so they go the same way: nothing of a light host is ever on this machine's disk.
set -eu

tree=$1 space=$2 name=$3 seed=$4
shift 4
echo "$name" >/proc/sys/kernel/hostname

mount -t tmpfs -o mode=755 host "$space"
mkdir "$space/upper" "$space/work" "$space/root" "$space/masks"
mount -t overlay -o "lowerdir=$tree,upperdir=$space/upper,workdir=$space/work" overlay "$space/root"
cd "$space/root"

# What the tree has there is this machine's own and none of a host's business.
for folder; do
    mkdir -p "$space/masks/$folder" ".$folder"
    chmod --reference=".$folder" "$space/masks/$folder"
    mount --bind "$space/masks/$folder" ".$folder"
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
tar -x -f "$seed" -C .

# Process 1 gets the host's orphans, and the kernel buries them when it ignores their end.
# shellcheck disable=SC2016 # the host's shell expands it
exec chroot . sh -c 'sh "$1" boot && echo up && exec env --ignore-signal=CHLD cat >/dev/null' sh \
    /usr/local/lib/rehearsal/volumes.sh
