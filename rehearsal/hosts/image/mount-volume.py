#!/usr/bin/env python3
"""Mounts a volume: mount(8) runs this as mount.ext4 or mount.xfs, for the kernel lets no host's root mount a disk.

It asks the machine that the host runs on, see rehearsal/hosts/devices.py.
"""

import json
import os
import socket
import sys

node, target, *rest = sys.argv[1:]
if "-f" in rest:
    sys.exit(0)
asked = {
    "name": os.path.realpath(node).rpartition("/")[2],
    "target": os.path.realpath(target),
    "kind": sys.argv[0].rpartition(".")[2],
    "options": rest[rest.index("-o") + 1] if "-o" in rest else "",
}
with socket.socket(socket.AF_UNIX) as connection:
    try:
        connection.connect("\0rehearsal-volumes")
    except OSError:
        sys.exit(f"mount: {node} can't be mounted: this host has no volumes")
    connection.sendall(json.dumps(asked).encode() + b"\n")
    answer = connection.makefile().read()
if answer:
    print(f"mount: {target}: {answer}", file=sys.stderr)
    sys.exit(32)
