#!/bin/bash
# With DATA_VOLUME, HOME_DIR is that EBS volume, which outlives the instance. Nothing here is recursive: the volume may
# hold terabytes. No volume that may hold data is formatted, and none is mounted over files.
set -euo pipefail

readonly mark=x-code-server-setup # marks the setup's lines in fstab; mount ignores it

fail() {
  echo "$1" >&2
  exit 1
}

# The serial number of an NVMe disk is the volume id without the dash: EBS user guide, "Map Amazon EBS volumes to NVMe
# device names".
find_disk() {
  local link=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${DATA_VOLUME/-/}
  until [[ -b $link ]]; do
    ((SECONDS < 60)) || fail "volume $DATA_VOLUME did not appear on this host within 60 s: is it attached to this instance?"
    sleep 1
  done
  disk=$(readlink -f "$link")
}

# A new volume is all zeros. blkid's status 2 means "nothing found", but also "cannot be read".
is_blank() {
  local status=0
  blkid -p "$disk" >/dev/null 2>&1 || status=$?
  ((status == 2)) && [[ ! $(wipefs --no-act "$disk") ]] && cmp --quiet --bytes=4194304 "$disk" /dev/zero
}

format_if_blank() {
  if is_blank; then
    mkfs.ext4 -q -m 0 "$disk"
    # Until udev has looked again, systemd considers the device with that UUID missing. Containers have no udev.
    udevadm trigger --settle "$disk" >/dev/null 2>&1 || true
  fi
  type=$(blkid -p -s TYPE -o value "$disk") || type=
  case $type in
    ext4 | xfs) uuid=$(blkid -p -s UUID -o value "$disk") ;;
    *)
      fail "volume $DATA_VOLUME holds ${type:-something} that is neither ext4 nor xfs, and is left as it is: choose another volume, or empty this one (wipefs --all $disk; dd if=/dev/zero of=$disk bs=1M count=4)"
      ;;
  esac
}

is_mounted_from_disk() { [[ $(mountpoint --fs-devno "$HOME_DIR") == "$(mountpoint --devno "$disk")" ]]; }

has_safe_options() {
  local options
  options=$(findmnt --noheadings --output OPTIONS --mountpoint "$HOME_DIR")
  [[ ,$options, == *,nosuid,* && ,$options, == *,nodev,* ]]
}

check_mount_point() {
  if mountpoint --quiet "$HOME_DIR"; then
    is_mounted_from_disk || fail "$(findmnt --noheadings --output SOURCE --mountpoint "$HOME_DIR" | tail -n 1) is mounted at $HOME_DIR, not volume $DATA_VOLUME: unmount it (umount $HOME_DIR) or choose another home folder"
  elif [[ -e $HOME_DIR && ! -d $HOME_DIR ]] || [[ -d $HOME_DIR && $(ls -A "$HOME_DIR") ]]; then
    fail "$HOME_DIR has files on the root disk, which volume $DATA_VOLUME would hide: move them away and run this again, then copy them onto the volume"
  fi
}

write_fstab() { # LINE: replaces the setup's line for HOME_DIR; empty removes it
  temporary=$(mktemp /etc/fstab.XXXXXX)
  trap 'rm -f "$temporary"' EXIT
  awk -v at="$HOME_DIR" -v mark="$mark" '!($2 == at && index($4, mark))' /etc/fstab >"$temporary"
  if [[ $1 ]]; then
    ! awk -v at="$HOME_DIR" '$1 !~ /^#/ && $2 == at { found = 1 } END { exit !found }' "$temporary" ||
      fail "/etc/fstab has a line of its own for $HOME_DIR: remove it or choose another home folder"
    echo "$1" >>"$temporary"
  fi
  if ! cmp --quiet "$temporary" /etc/fstab; then
    chmod 644 "$temporary"
    mv "$temporary" /etc/fstab
    systemctl daemon-reload # otherwise systemd uses the old line and may unmount the volume
  fi
}

# nosuid, nodev: a volume from elsewhere may have programs and devices that give root to anyone.
# nofail: a host without its volume still boots, so that it can be fixed. The editor's unit waits for the mount and does
# not start without it, so that it does not write to the root disk.
mount_volume() {
  write_fstab "UUID=$uuid $HOME_DIR $type defaults,nosuid,nodev,nofail,x-systemd.device-timeout=60s,$mark 0 2"
  if ! mountpoint --quiet "$HOME_DIR"; then
    install -d -o root -g root -m 755 "$HOME_DIR" # so that nobody else writes there while the volume is detached
    mount "$HOME_DIR"
  elif is_mounted_from_disk && ! has_safe_options; then # by an earlier version of the setup
    mount -o remount,bind,nosuid,nodev "$HOME_DIR"
  fi
  is_mounted_from_disk || fail "$HOME_DIR could not be mounted from volume $DATA_VOLUME"
}

# The target of a link would be given to the user.
[[ ! -L $HOME_DIR ]] || fail "$HOME_DIR is a symbolic link to $(readlink "$HOME_DIR"): name that as the home folder"

where=
if [[ $DATA_VOLUME ]]; then
  where=", on volume $DATA_VOLUME"
  find_disk
  check_mount_point
  format_if_blank
  mount_volume
elif ! mountpoint --quiet "$HOME_DIR"; then
  write_fstab "" # the volume is no longer used: at the next boot the editor would wait for it
fi

uid=$(id -u "$USER")
if [[ ! -d $HOME_DIR ]]; then
  mkdir -p "$HOME_DIR"
  chmod 755 "$HOME_DIR"
fi

# On a volume from another kind of machine, the files' uid may belong to another account here, or to none. Changing either
# means to walk all files, some of which may rightly belong to others: that is the user's decision. Machines from the
# same image give the user the same uid.
owner=$(stat -c %u "$HOME_DIR")
case $owner in
  "$uid") ;;
  0) chown "$USER:" "$HOME_DIR" ;;
  *) fail "$HOME_DIR belongs to $(stat -c %U "$HOME_DIR") ($owner), not to $USER ($uid)$where: choose another home folder, or give it to $USER (chown -R --from=$owner $USER: $HOME_DIR)" ;;
esac

# As the user: root would follow links in the home.
if [[ $(getent passwd "$USER" | cut -d: -f6) == "$HOME_DIR" ]]; then
  for file in /etc/skel/.[!.]*; do
    [[ -e $HOME_DIR/${file##*/} || -L $HOME_DIR/${file##*/} ]] ||
      runuser -u "$USER" -- install --no-target-directory --mode 644 "$file" "$HOME_DIR/${file##*/}"
  done
fi

# Only root and the user may read the tasks' logs, or even list the folder.
[[ ! -d /var/log/torchneuron ]] || chgrp --recursive "$(id -g "$USER")" /var/log/torchneuron

echo "$HOME_DIR belongs to $USER$where" >&2
