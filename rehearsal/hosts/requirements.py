"""What this machine lacks to boot hosts, with remedies. Changes nothing."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from rehearsal.hosts.code_server_package import CodeServerPackage
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.rootfs import Rootfs

# Program and Debian package. The second group is needed only to build an image that is not in the cache.
_TO_BOOT = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "pivot_root": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "bash": "bash",
    "ip": "iproute2",
}
_FOR_LIGHT_HOSTS = {name: package for name, package in _TO_BOOT.items() if name != "ip"}
_TO_BUILD_ROOTFS = {"mmdebstrap": "mmdebstrap"}
_TO_BUILD_CODE_SERVER = {"g++": "g++", "make": "make", "dpkg-deb": "dpkg", "python3": "python3"}


@dataclass(frozen=True)
class Missing:
    """Something that is missing, why it is needed, and what to do.

    `package`: the Debian package that provides it, if any. `built_here`: an image that `images` builds.
    """

    what: str
    why: str
    remedy: str
    package: str | None = None
    built_here: bool = False


def missing(suite: str) -> list[Missing]:
    """Everything that prevents hosts of this Debian suite from booting."""
    return [*_missing_rights(), *_missing_programs(_TO_BOOT, "boots hosts"), *_missing_images(suite)]


def missing_for_light() -> list[Missing]:
    """Everything that prevents light hosts from running."""
    return [*_missing_rights(), *_missing_programs(_FOR_LIGHT_HOSTS, "starts light hosts")]


def _missing_rights() -> Iterator[Missing]:
    if os.geteuid() != 0:
        yield Missing("root", "hosts need namespaces and mounts of their own", "Run this as root.")


def _missing_programs(programs: dict[str, str], purpose: str) -> Iterator[Missing]:
    for program, package in programs.items():
        if shutil.which(program) is None:
            yield Missing(program, f"it {purpose}", f"Run: apt-get install {package}", package)


def _missing_images(suite: str) -> Iterator[Missing]:
    build = f"Run: python -m rehearsal.hosts.images build --suite {suite}"
    rootfs, package = Rootfs(suite), CodeServerPackage()
    if not rootfs.path.exists():
        yield from _missing_programs(_TO_BUILD_ROOTFS, "builds their root file system")
        yield Missing(f"the {rootfs.label}", "hosts boot from it", build, built_here=True)
    try:
        built = package.path.exists()
    except HostError as error:
        yield Missing(error.what, error.why, error.remedy)
        return
    if not built:
        yield from _missing_programs(_TO_BUILD_CODE_SERVER, "builds the code-server package")
        if shutil.which("npm") is None:
            yield Missing("npm", "it downloads code-server", "Install Node.js 20 or newer, with npm.")
        yield Missing(f"the {package.label}", "hosts install it", build, built_here=True)
