"""Id-mapped mounts, which show files with the owners that a user namespace gives them.

A program of its own, as it changes the namespaces and ids of its process:

    idmapped.py files SPACE TREE FOLDER USER_NAMESPACE FIRST_ID [DEVICES]
    idmapped.py volume USER_NAMESPACE MOUNT_NAMESPACE MAJOR:MINOR NODE TYPE OPTIONS TARGET

`files` mounts a host's files at SPACE/root: the changes in FOLDER, or in memory when FOLDER is empty, over TREE. On
disk both have this machine's ids, so one image serves all hosts, and changes survive a boot with other ids. The changes
are at SPACE/changes, the file system DEVICES at SPACE/volumes.

`volume` mounts a disk in a host. Only this machine's root may do that. A file system may contain device nodes, and root
of a namespace may allow them on its mounts, except on one from a namespace with more privileges: so the mount is
created in such a namespace and copied (mount_namespaces(7), "Restrictions").
The namespaces and DEVICES are descriptors that this program inherits.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_libc = ctypes.CDLL(None, use_errno=True)

# linux/mount.h, linux/sched.h, asm-generic/unistd.h: the same on every architecture.
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 442
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH = 1, 4
_FSCONFIG_CMD_CREATE, _MOUNT_ATTR_IDMAP = 6, 0x100000
_CLONE_NEWNS = 0x20000
_MS_NODEV, _MS_REC, _MS_PRIVATE = 0x4, 0x4000, 0x40000
_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP = 28, 1 << 2
_FLAGS = {"ro": 1, "nosuid": 2, "noexec": 8, "sync": 16, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
# Other options name more devices (journal_path, logdev) or what this machine does on errors (panic).
_DEFAULTS = {"rw", "dev", "nodev", "suid", "exec", "async", "auto", "noauto", "defaults", "nofail", "nouser", "_netdev"}
_DATA = {"ext4": b"errors=remount-ro", "xfs": b""}


def in_memory() -> int:
    """A descriptor of an empty tmpfs that is not mounted, and ends with its last user. Raises OSError."""
    context = _call("fsopen", _libc.syscall(_FSOPEN, b"tmpfs", 1))
    try:
        _call("fsconfig", _libc.syscall(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0))
        return _call("fsmount", _libc.syscall(_FSMOUNT, context, 1, 0))
    finally:
        os.close(context)


def files(space: str, tree: str, folder: str, user_namespace: int, first_id: int, devices: int = -1) -> None:
    # Opened before SPACE is mounted, which may hide them.
    below, above = (_idmapped(path, user_namespace) if path else -1 for path in (tree, folder))
    _mount("host", space, "tmpfs", 0, b"mode=755")
    _make_folders(*(f"{space}/{name}" for name in ("lower", "changes", "root", "dev", "volumes")))
    _attach(below, f"{space}/lower")
    if folder:
        _attach(above, f"{space}/changes")
    else:
        folders = [f"{space}/changes/{name}" for name in ("upper", "work", "masks")]
        _make_folders(*folders)
        for path in (f"{space}/changes", *folders):
            os.chown(path, first_id, first_id)
    if devices >= 0:
        _attach(devices, f"{space}/volumes")
    # Overlayfs creates its own files as the mounting user, which has to be one of the namespace's. Keep capabilities.
    _call("prctl", _libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
    os.setegid(first_id)
    os.seteuid(first_id)
    # "volatile": no sync, which takes a kept host most of its time. Only a crash of this machine can lose data, and the
    # kernel leaves a mark for that case; SIGKILL loses nothing.
    options = f"volatile,lowerdir={space}/lower,upperdir={space}/changes/upper,workdir={space}/changes/work"
    _mount("overlay", f"{space}/root", "overlay", _MS_NODEV, options.encode())


def volume(
    user_namespace: int, mount_namespace: int, device: str, node: str, kind: str, options: str, target: str
) -> None:
    flags, data = _parsed(kind, options)
    major, minor = (int(number) for number in device.split(":"))
    _call("unshare", _libc.unshare(_CLONE_NEWNS))
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE, None)
    _mount("dev", "/dev", "tmpfs", 0, None)
    _make_folders("/dev/plain", "/dev/idmapped")
    os.mknod(node, 0o60600, os.makedev(major, minor))
    _mount(node, "/dev/plain", kind, flags | _MS_NODEV, data)
    _attach(_idmapped("/dev/plain", user_namespace), "/dev/idmapped")
    _call("setns", _libc.setns(user_namespace, 0))
    os.setgid(0)
    os.setuid(0)
    _call("unshare", _libc.unshare(_CLONE_NEWNS))
    clone = _clone("/dev/idmapped")
    _call("setns", _libc.setns(mount_namespace, 0))
    _attach(clone, target)


def _parsed(kind: str, options: str) -> tuple[int, bytes]:
    """The flags and data of mount(2). Raises PermissionError for an option that a host must not set."""
    if kind not in _DATA:
        raise PermissionError(f"a volume's file system is {' or '.join(_DATA)}, not {kind}")
    given = {option for option in options.split(",") if option and not option.startswith("x-")}
    if unknown := given - _DEFAULTS - _FLAGS.keys() - {_DATA[kind].decode()}:
        raise PermissionError(f"this rehearsal mounts volumes without the options {', '.join(sorted(unknown))}")
    return sum(flag for option, flag in _FLAGS.items() if option in given), _DATA[kind]


def _make_folders(*paths: str) -> None:
    for path in paths:
        os.mkdir(path)  # noqa: PTH102 # pathlib takes as long to import as this program runs


def _idmapped(path: str, user_namespace: int) -> int:
    clone = _clone(path)
    attributes = struct.pack("=4Q", _MOUNT_ATTR_IDMAP, 0, 0, user_namespace)
    result = _libc.syscall(_MOUNT_SETATTR, clone, b"", _AT_EMPTY_PATH, attributes, len(attributes))
    _call(f"show {path} as another user's", result)
    return clone


def _clone(path: str) -> int:
    return _call(f"open {path}", _libc.syscall(_OPEN_TREE, _AT_FDCWD, path.encode(), _OPEN_TREE_CLONE | os.O_CLOEXEC))


def _attach(descriptor: int, path: str) -> None:
    result = _libc.syscall(_MOVE_MOUNT, descriptor, b"", _AT_FDCWD, path.encode(), _MOVE_MOUNT_F_EMPTY_PATH)
    _call(f"mount at {path}", result)


def _mount(source: str, target: str, kind: str | None, flags: int, data: bytes | None) -> None:
    name = None if kind is None else kind.encode()
    _call(f"mount {source}", _libc.mount(source.encode(), target.encode(), name, flags, data))


def _call(what: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def main(arguments: list[str]) -> int:
    try:
        if arguments[0] == "files":
            files(arguments[1], arguments[2], arguments[3], *map(int, arguments[4:]))
        else:
            volume(int(arguments[1]), int(arguments[2]), *arguments[3:])
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
