"""The file system a booted host starts from: a Debian that looks like a Neuron AMI where the setup steps
look.

There is no Ubuntu archive everywhere a rehearsal runs. The versions in Ubuntu 24.04 lie between those of
Debian 12 (bookworm) and 13 (trixie), so a setup that works on both has little left to fail on there.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from rehearsal.hosts import cache
from rehearsal.hosts.tools import run_tool

SUITES = ("trixie", "bookworm")

# What Ubuntu's server image has of what the setup steps use. Not nginx, nodejs or code-server: steps install
# those.
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
    # With the package lists in place, `apt-get update` in a host only asks what has changed.
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
        """The files, never written to: hosts put an overlay on top."""
        return self.path / "tree"

    @property
    def neuron_repository(self) -> Path:
        """A folder with the index files (InRelease, Packages) of Neuron's package repository."""
        return self.path / "neuron"

    @property
    def archives(self) -> set[str]:
        """The package archives that its apt fetches from over plain HTTP."""
        apt = self.tree / "etc/apt"
        texts = [file.read_text() for file in (apt / "sources.list", *apt.glob("sources.list.d/*")) if file.exists()]
        return set(re.findall(r"http://\S+", "\n".join(texts)))

    def build(self, target: Path) -> None:
        """Make the file system in `target`, which doesn't exist yet. Raises HostError."""
        target.mkdir(parents=True)
        # Its own namespaces, so that a build that is killed leaves neither a mount nor a process.
        isolate = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        hook = f'--customize-hook=sh {shlex.quote(str(_CUSTOMIZE))} "$1"'
        run_tool(
            [*isolate, "mmdebstrap", *_OPTIONS, hook, self.suite, str(target / "tree")],
            remedy="Check that `mmdebstrap` is installed (apt-get install mmdebstrap), that this is root and "
            "that Debian's archive can be reached, then run the build again.",
        )
