#!/usr/bin/env python3
"""Mounts a volume. mount(8) runs this as mount.ext4 or mount.xfs, as the kernel lets no host's root mount a disk.

It sends a request to the machine that the host runs on (rehearsal/hosts/devices.py).
"""

import json
import os
import socket
import sys

FLAGS = {"ro", "rw", "nosuid", "suid", "nodev", "noexec", "exec", "noatime", "nodiratime", "relatime"}

node, target, *rest = sys.argv[1:]
options = rest[rest.index("-o") + 1] if "-o" in rest else ""
if "-f" in rest:
    sys.exit(0)
if "remount" in options.split(","):
    # Change the mount, which is the host's, not the file system.
    flags = ["remount", "bind", *(option for option in options.split(",") if option in FLAGS)]
    os.execvp("mount", ["mount", "--internal-only", "-o", ",".join(flags), target])
request = {
    "name": os.path.realpath(node).rpartition("/")[2],
    "target": os.path.realpath(target),
    "kind": sys.argv[0].rpartition(".")[2],
    "options": options,
}
with socket.socket(socket.AF_UNIX) as connection:
    try:
        connection.connect("\0rehearsal-volumes")
    except OSError:
        sys.exit(f"mount: {node} can't be mounted: this host has no volumes")
    connection.sendall(json.dumps(request).encode() + b"\n")
    answer = connection.makefile().read()
if answer:
    print(f"mount: {target}: {answer}", file=sys.stderr)
    sys.exit(32)
