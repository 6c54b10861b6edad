#!/bin/sh
# Keeps a light host: this machine's own files under an overlay, and the namespaces to run scripts in.
#
#   light.sh SPACE    (standard input: a pipe its owner holds open as long as it lives)
#
# Runs as process 1 of a pid namespace, in a mount namespace, both its own: when it ends, however it ends, the kernel
# kills everything that runs in there and drops everything it mounted and wrote.
set -eu

space=$1
mount -t tmpfs -o mode=755 host "$space"
mkdir "$space/upper" "$space/work" "$space/root"
mount -t overlay -o "lowerdir=/,upperdir=$space/upper,workdir=$space/work" overlay "$space/root"
cd "$space/root"
# What is mounted on this machine below these is not in the overlay.
mount -t proc proc proc
mount --rbind /dev dev
for folder in tmp run var/tmp; do mount -t tmpfs -o mode=1777 host "$folder"; done
mkdir -p run/agent
echo ready
exec chroot . cat >/dev/null
