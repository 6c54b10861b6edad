#!/bin/sh
# What the kernel, udev and systemd's device units do for a disk on an EC2 instance, and nobody does in a container.
#
#   volumes.sh plug SERIAL       a disk is there now; standard input: its record, its name
#   volumes.sh unplug SERIAL     it is gone
#   volumes.sh boot              all that are recorded; then what /etc/fstab says is mounted
#
# Records last as long as the host's files, so disks are there again after a reboot. The disks themselves are nodes in
# /dev/volumes, which the machine that the host runs on makes.
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
