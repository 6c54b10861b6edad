"""The files that are specific to a host: its name, proxy, trusted certificates and disks."""

import io
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

from rehearsal.hosts import aws_sites, registry_proxy, standins

VOLUMES_SCRIPT = "/usr/local/lib/rehearsal/volumes.sh"
_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
_IMAGE = Path(__file__).parent / "image"
_MOUNTS = ("sbin/mount.ext4", "sbin/mount.xfs")
"""Where mount(8) looks for programs that mount a file system (see its "External helpers")."""
_UNIT = "rehearsal-volumes.service"
_UNITS = "etc/systemd/system"


def archive(*, name: str, region: str, tree: Path, authority: str, volumes: Mapping[str, str]) -> bytes:
    """A tar archive to unpack over the root file system `tree` before the host's first boot.

    `authority`: the PEM of the stand-ins' certificate authority. It goes where update-ca-certificates looks for local
    certificates and also into its result, as running it takes longer than a boot. `volumes`: the records of attached
    volumes, by path.
    """
    files = {
        **_own_files(name, region, volumes),
        "etc/apt/apt.conf.d/99rehearsal": registry_proxy.APT_CONFIGURATION,
        **_trust(tree, authority),
        f"{_UNITS}/{_UNIT}": (_IMAGE / _UNIT).read_text(),
    }
    return _tar(files, {f"{_UNITS}/local-fs.target.wants/{_UNIT}": f"../{_UNIT}"})


def light_archive(*, name: str, region: str, tree: Path, authority: str, volumes: Mapping[str, str]) -> bytes:
    """As `archive`, for a light host: without systemd, and only with the stand-ins for AWS."""
    empty = {"etc/fstab": ""}
    return _tar({**_own_files(name, region, volumes), **_trust(tree, authority), **empty}, {})


def archive_of_volumes(volumes: Mapping[str, str]) -> bytes:
    """As `archive`, for a host that boots again on its files: only the disks."""
    return _tar(_volume_files(volumes), {})


def _trust(tree: Path, authority: str) -> dict[str, str]:
    before = (tree / _BUNDLE).read_text() if (tree / _BUNDLE).exists() else ""
    return {"usr/local/share/ca-certificates/rehearsal.crt": authority, _BUNDLE: before + authority}


def _own_files(name: str, region: str, volumes: Mapping[str, str]) -> dict[str, str]:
    return {
        "etc/hostname": f"{name}\n",
        "etc/hosts": _hosts(name, region),
        "etc/resolv.conf": "",
        **_volume_files(volumes),
    }


def _volume_files(volumes: Mapping[str, str]) -> dict[str, str]:
    return {
        VOLUMES_SCRIPT.lstrip("/"): (_IMAGE / "volumes.sh").read_text(),
        **dict.fromkeys(_MOUNTS, (_IMAGE / "mount-volume.py").read_text()),
        **{path.lstrip("/"): text for path, text in volumes.items()},
    }


def _tar(files: Mapping[str, str], links: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime = len(content), int(time.time())
            entry.mode = 0o755 if path in _MOUNTS else 0o644
            tar.addfile(entry, io.BytesIO(content))
        for path, target in links.items():
            link = tarfile.TarInfo(path)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    return buffer.getvalue()


def _hosts(name: str, region: str) -> str:
    return (
        "127.0.0.1 localhost\n"
        "::1 localhost ip6-localhost ip6-loopback\n"
        f"127.0.1.1 {name}.{region}.compute.internal {name}\n"
        f"{standins.ADDRESS} {' '.join((*standins.NAMES, *aws_sites.endpoints(region)))}\n"
    )
