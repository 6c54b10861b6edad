"""The files that make a host this host: its name, its way to the archives, whom it trusts."""

import io
import tarfile
import time
from pathlib import Path

from rehearsal.hosts import registry_proxy, standins

_BUNDLE = "etc/ssl/certs/ca-certificates.crt"


def archive(*, name: str, region: str, tree: Path, authority: str) -> bytes:
    """A tar archive to lay over the root file system `tree` before the host's first boot.

    `authority` is the PEM of the certificate authority of the stand-ins. It goes where Debian's
    update-ca-certificates looks for local ones and, as that takes longer than a boot, into its result as
    well.
    """
    files = {
        "etc/hostname": f"{name}\n",
        "etc/hosts": _hosts(name, region),
        "etc/resolv.conf": "",
        "etc/apt/apt.conf.d/99rehearsal": registry_proxy.APT_CONFIGURATION,
        "usr/local/share/ca-certificates/rehearsal.crt": authority,
        _BUNDLE: (tree / _BUNDLE).read_text() + authority,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.mtime = len(content), 0o644, int(time.time())
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _hosts(name: str, region: str) -> str:
    return (
        "127.0.0.1 localhost\n"
        "::1 localhost ip6-localhost ip6-loopback\n"
        f"127.0.1.1 {name}.{region}.compute.internal {name}\n"
        f"{standins.ADDRESS} {' '.join(standins.NAMES)}\n"
    )
