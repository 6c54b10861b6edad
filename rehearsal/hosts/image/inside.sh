#!/bin/bash
# The first process of a host, in all its namespaces: changes to the host's files and becomes its init.
#
# Run by host.sh, with the same environment.
set -euo pipefail

# A bind mount, which may become the root, so that nothing below it is left to return to.
mount --rbind "$SPACE/root" "$SPACE/root"
cd "$SPACE/root"
if [[ $KIND == booted && ! -x sbin/init ]]; then
  echo "its image doesn't look like an operating system: there is no /sbin/init"
  exit 1
fi
mkdir -p proc sys dev run tmp

# These folders of the image are this machine's own. Hide them from the host.
for mask in $MASKS; do
  mkdir -p ".$mask"
  if [[ ! -e $SPACE/changes/masks$mask ]]; then
    mkdir -p "$SPACE/changes/masks$mask"
    chmod --reference=".$mask" "$SPACE/changes/masks$mask"
  fi
  mount --bind "$SPACE/changes/masks$mask" ".$mask"
done

mount --rbind "$SPACE/dev" dev
mount --bind "$SPACE/volumes" dev/volumes
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
mount -t proc -o nosuid,nodev,noexec proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro,nosuid,nodev,noexec proc/sys
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
if [[ $KIND == booted ]]; then
  mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
  mount -t tmpfs -o mode=755,nosuid,nodev run run
  mount -t tmpfs -o mode=1777,nosuid,nodev tmp tmp
fi

# With the host's own tools, so that links resolve inside the host.
if [[ $SEED ]]; then
  # shellcheck disable=SC2016 # the host's shell expands it
  chroot . sh -euc '[ ! "$1" ] || find /run /tmp -mindepth 1 -xdev -delete; rm -rf /var/lib/rehearsal/volumes; tar -x -f -' \
    sh "$SEEDED" <"$SEED"
  : >"$SPACE/changes/seeded"
fi

pivot_root . dev/old
umount -l dev/old
rmdir dev/old
for descriptor in /proc/self/fd/*; do
  descriptor=${descriptor##*/}
  ((descriptor <= 2 || descriptor == 255)) || exec {descriptor}>&-
done

first=(env -i "PATH=$PATH" LANG=C.UTF-8 container=rehearsal)
if [[ $KIND == booted ]]; then
  exec "${first[@]}" /sbin/init
fi
hostname "$NAME"
# Process 1 gets the host's orphans. As it ignores SIGCHLD, the kernel reaps them.
# shellcheck disable=SC2016 # the host's shell expands it
exec "${first[@]}" sh -c 'sh "$1" boot && echo up && exec env --ignore-signal=CHLD cat >/dev/null' sh \
  /usr/local/lib/rehearsal/volumes.sh
