#!/bin/sh
# Does for a disk what the kernel, udev and systemd's device units do on an EC2 instance.
#
#   volumes.sh plug SERIAL       add a disk; standard input: its record, which is its name
#   volumes.sh unplug SERIAL     remove it
#   volumes.sh boot              add all recorded disks, then mount what /etc/fstab lists
#
# Records are files of the host, so its disks are there again after a reboot. The disks are nodes in /dev/volumes, which
# the machine that the host runs on creates.
set -eu

records=/var/lib/rehearsal/volumes
links=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_

hide() {
    umount -q "/dev/$1" || true
    rm -f "/dev/$1"
}

show() {
    read -r name <"$records/$1"
    hide "$name"
    chgrp disk "/dev/volumes/$name"
    : >"/dev/$name"
    mount --bind "/dev/volumes/$name" "/dev/$name"
    mkdir -p /dev/disk/by-id
    ln -sfn "../../$name" "$links$1"
}

case $1 in
plug)
    mkdir -p "$records"
    cat >"$records/$2"
    show "$2"
    ;;
unplug)
    read -r name <"$records/$2"
    hide "$name"
    rm -f "$links$2" "$records/$2"
    ;;
boot)
    for record in "$records"/*; do
        [ ! -e "$record" ] || show "${record##*/}"
    done
    mount --all
    ;;
esac
