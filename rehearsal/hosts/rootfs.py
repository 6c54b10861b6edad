"""The root file system of booted hosts: a Debian that looks like a Neuron AMI to the setup steps.

An Ubuntu archive is not reachable everywhere. The versions in Ubuntu 24.04 lie between those of Debian 12 (bookworm)
and 13 (trixie), so a setup that works on both is likely to work there.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from rehearsal.hosts import cache
from rehearsal.hosts.tools import run_tool

SUITES = ("trixie", "bookworm")

# The packages of Ubuntu's server image that the setup steps use. Steps install nginx, nodejs and code-server.
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "sudo", "passwd", "login", "bash"),
    *("ca-certificates", "curl", "wget", "openssl", "gnupg", "git", "unzip", "xz-utils"),
    *("iproute2", "procps", "psmisc", "netbase", "python3", "needrestart", "e2fsprogs"),
)
_OPTIONS = (
    "--quiet",
    "--variant=apt",
    "--mode=root",
    '--aptopt=Acquire::Languages "none"',
    # With the package lists in place, `apt-get update` in a host only fetches changes.
    "--skip=cleanup/apt/lists",
    f"--include={','.join(_PACKAGES)}",
)
_CUSTOMIZE = Path(__file__).parent / "image" / "customize.sh"


@dataclass(frozen=True)
class Rootfs:
    """The root file system of one Debian suite, in the cache."""

    suite: str

    @property
    def label(self) -> str:
        return f"root file system, Debian {self.suite}"

    @property
    def path(self) -> Path:
        recipe = cache.recipe_digest(*_OPTIONS, _CUSTOMIZE.read_text())
        return cache.directory() / f"rootfs-{self.suite}-{recipe}"

    @property
    def tree(self) -> Path:
        """The files, read-only: hosts mount an overlay over them."""
        return self.path / "tree"

    @property
    def neuron_repository(self) -> Path:
        """A folder with the index files (InRelease, Packages) of Neuron's package repository."""
        return self.path / "neuron"

    @property
    def archives(self) -> set[str]:
        """The package archives that its apt reaches over plain HTTP."""
        apt = self.tree / "etc/apt"
        texts = [file.read_text() for file in (apt / "sources.list", *apt.glob("sources.list.d/*")) if file.exists()]
        return set(re.findall(r"http://\S+", "\n".join(texts)))

    def build(self, target: Path) -> None:
        """Build the file system in `target`, which does not exist yet. Raises HostError."""
        target.mkdir(parents=True)
        # In its own namespaces, so that a killed build leaves no mount or process.
        isolate = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        hook = f'--customize-hook=sh {shlex.quote(str(_CUSTOMIZE))} "$1"'
        run_tool(
            [*isolate, "mmdebstrap", *_OPTIONS, hook, self.suite, str(target / "tree")],
            remedy="Check that `mmdebstrap` is installed (apt-get install mmdebstrap), that this is root and "
            "that Debian's archive can be reached, then run the build again.",
        )
