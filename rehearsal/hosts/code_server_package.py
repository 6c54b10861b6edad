"""The code-server .deb that hosts are served in place of the one on GitHub, which can't be reached
everywhere.

code-server is published to npm as well. The package made from it has the release's file layout, unit and
version, with the same Node major inside, so that the install step can't tell it from the release.
"""

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from rehearsal.hosts import cache
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.tools import run_tool

VERSION = "4.139.1"
_NODE_VERSION = "24.21.0"
_ARCHITECTURES = {"x86_64": ("amd64", "x64"), "aarch64": ("arm64", "arm64")}
_NATIVE_MODULES = ("@vscode/spdlog", "@vscode/native-watchdog", "@vscode/deviceid")
_FOREIGN_SYSTEMS = ("win32-*", "darwin-*", "freebsd-*")
_FOREIGN_PROCESSORS = ("linux-ia32", "linux-ppc64", "linux-riscv64", "linux-s390x")

# Node doesn't read the system's trust store; the stand-in sites' certificates are in there.
_LAUNCHER = """#!/bin/sh
export NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}"
exec /usr/lib/code-server/lib/node /usr/lib/code-server/out/node/entry.js "$@"
"""
_COMMAND = '#!/bin/sh\nexec /usr/lib/code-server/bin/code-server "$@"\n'
_UNIT = """[Unit]
Description=code-server
After=network.target

[Service]
Type=exec
ExecStart=/usr/bin/code-server
Restart=always
User=%i

[Install]
WantedBy=default.target
"""
_CONTROL = """Package: code-server
Version: {version}
Architecture: {architecture}
Maintainer: rehearsal <rehearsal@localhost>
Section: devel
Priority: optional
Description: VS Code in the browser, packed from its npm package for a rehearsal
"""
_REMEDY = (
    "Check that `npm` (of Node 20 or newer), `g++`, `make` and `dpkg-deb` are installed "
    "(apt-get install g++ make dpkg) and that npm can reach its registry, then run the build again."
)


def debian_architecture() -> str:
    """What Debian calls this machine's architecture. HostError for one code-server has no release for."""
    return _architectures()[0]


@dataclass(frozen=True)
class CodeServerPackage:
    """The .deb, in the cache."""

    @property
    def label(self) -> str:
        return f"code-server {VERSION} package"

    @property
    def path(self) -> Path:
        recipe = cache.recipe_digest(Path(__file__).read_text())
        return cache.directory() / f"code-server_{VERSION}_{debian_architecture()}-{recipe}.deb"

    def build(self, target: Path) -> None:
        """Make the .deb as `target`. Raises HostError."""
        work = target.with_name(target.name + ".work")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            node = _fetch_node(work)
            _pack(_install_code_server(work, node), node, work / "package", target)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _architectures() -> tuple[str, str]:
    machine = platform.machine()
    try:
        return _ARCHITECTURES[machine]
    except KeyError:
        raise HostError(
            f"A host can't be rehearsed on a {machine} machine",
            why="code-server has no release for it",
            remedy=f"Use one of {', '.join(_ARCHITECTURES)}.",
        ) from None


def _fetch_node(work: Path) -> Path:
    package = f"node-linux-{_architectures()[1]}"
    run_tool(["npm", "pack", "--silent", f"{package}@{_NODE_VERSION}"], cwd=work, remedy=_REMEDY)
    node = work / "node"
    node.mkdir()
    tarball = work / f"{package}-{_NODE_VERSION}.tgz"
    run_tool(["tar", "-xzf", str(tarball), "-C", str(node), "--strip-components=1"], remedy=_REMEDY)
    return node


def _install_code_server(work: Path, node: Path) -> Path:
    """Install it as its own post-install script would, less what needs sites other than the registry."""
    path = f"{node / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "npm_config_nodedir": str(node)}

    def npm(*arguments: str, cwd: Path) -> None:
        run_tool(["npm", *arguments, "--silent"], cwd=cwd, environment=environment, remedy=_REMEDY)

    prefix = work / "prefix"
    prefix.mkdir()
    npm("install", "--global", f"--prefix={prefix}", "--ignore-scripts", f"code-server@{VERSION}", cwd=work)
    installed = prefix / "lib" / "node_modules" / "code-server"
    vscode = installed / "lib" / "vscode"
    for folder in (vscode, vscode / "extensions"):
        npm("install", "--omit=dev", "--ignore-scripts", cwd=folder)
    _link(vscode / "bin" / "remote-cli" / "code-server", "code-linux.sh")
    _link(vscode / "bin" / "helpers" / "browser.sh", "browser-linux.sh")
    npm("rebuild", *_NATIVE_MODULES, cwd=vscode)
    return installed


def _link(link: Path, target: str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _pack(installed: Path, node: Path, package: Path, target: Path) -> None:
    home = package / "usr" / "lib" / "code-server"
    home.parent.mkdir(parents=True)
    installed.rename(home)
    _slim(home)
    (home / "lib").mkdir(exist_ok=True)
    shutil.copy2(node / "bin" / "node", home / "lib" / "node")
    _write(home / "bin" / "code-server", _LAUNCHER, 0o755)
    _write(package / "usr" / "bin" / "code-server", _COMMAND, 0o755)
    _write(package / "usr" / "lib" / "systemd" / "system" / "code-server@.service", _UNIT, 0o644)
    control = _CONTROL.format(version=VERSION, architecture=debian_architecture())
    _write(package / "DEBIAN" / "control", control, 0o644)
    pack = ("dpkg-deb", "--root-owner-group", "-Zzstd", "-z3", "--build")
    run_tool([*pack, str(package), str(target)], remedy=_REMEDY)


def _slim(home: Path) -> None:
    """Drop what the release doesn't ship either: build intermediates and other systems' binaries."""
    other = "linux-arm*" if debian_architecture() == "amd64" else "linux-x64"
    for pattern in ("obj.target", other, *_FOREIGN_SYSTEMS, *_FOREIGN_PROCESSORS):
        for folder in list(home.rglob(pattern)):
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
