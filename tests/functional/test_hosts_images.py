"""Images are built once, completely or not at all, by any number of processes and however a build ends."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rehearsal.hosts import cache, code_server_package, images, requirements
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.rootfs import SUITES, Rootfs
from rehearsal.hosts.tools import run_tool

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Recorded:
    """An image that records its builds."""

    path: Path
    fails: bool = False
    label: str = "recorded"
    builds: list[Path] = field(default_factory=list)

    def build(self, target):
        self.builds.append(target)
        target.mkdir()
        (target / "half").touch()
        if self.fails:
            raise HostError("Not built", why="meant to fail", remedy="None.")


def test_image_is_built_once(tmp_path):
    image = Recorded(tmp_path / "image")
    lines: list[str] = []
    images.build([image], lines.append)
    images.build([image], lines.append)
    assert len(image.builds) == 1
    assert (image.path / "half").exists()
    assert lines[0].endswith(" s")
    assert lines[1].endswith("already built")


def test_image_is_built_once_by_concurrent_builds(tmp_path):
    image = Recorded(tmp_path / "image")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: images.build([image], lambda line: None), range(8)))
    assert len(image.builds) == 1


def test_failed_build_leaves_nothing_and_can_be_repeated(tmp_path):
    image = Recorded(tmp_path / "image", fails=True)
    with pytest.raises(HostError, match="meant to fail"):
        images.build([image], lambda line: None)
    assert [path.name for path in tmp_path.iterdir()] == ["image.lock"]
    image.fails = False
    images.build([image], lambda line: None)
    assert image.path.exists()


def test_rest_of_a_killed_build_is_removed(tmp_path):
    image = Recorded(tmp_path / "image")
    (tmp_path / "image.partial").mkdir()
    (tmp_path / "image.partial" / "old").touch()
    images.build([image], lambda line: None)
    assert [path.name for path in image.path.iterdir()] == ["half"]


def test_digest_depends_on_the_recipe():
    assert cache.recipe_digest("a", "b") != cache.recipe_digest("ab")
    assert len({Rootfs(suite).path for suite in SUITES}) == len(SUITES)


def test_digest_of_code_ignores_prose():
    code = cache.code_of(documented)
    assert code == "def documented() -> int:\n    return 1"


def documented() -> int:
    """Docstring."""
    return 1  # comment


def test_package_with_another_hash_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(code_server_package, "run_tool", lambda *_, **__: (tmp_path / "code-server-1.tgz").touch())
    with pytest.raises(HostError, match="SHA-512 differs"):
        code_server_package._fetch("code-server", "1", tmp_path)


def test_cache_folder_is_configurable(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("TORCHNEURON_CACHE_DIR", raising=False)
    assert cache.directory() == tmp_path / "xdg" / "torchneuron"
    monkeypatch.setenv("TORCHNEURON_CACHE_DIR", str(tmp_path / "own"))
    assert cache.directory() == tmp_path / "own"


def test_unknown_suite_is_refused():
    command = [sys.executable, "-m", "rehearsal.hosts.images", "build", "--suite", "warty"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "trixie" in done.stderr


def test_missing_images_are_reported_with_the_command_that_builds_them(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHNEURON_CACHE_DIR", str(tmp_path))
    gaps = requirements.missing("bookworm")
    assert [gap for gap in gaps if "bookworm" in gap.what and "images build --suite bookworm" in gap.remedy]
    assert [gap for gap in gaps if "code-server" in gap.what]
    assert list(tmp_path.iterdir()) == []


def test_missing_program_is_reported_with_its_package(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    packages = {gap.what: gap.package for gap in requirements.missing("trixie")}
    assert packages["setpriv"] == "util-linux"


def test_failed_tool_is_reported_with_the_end_of_its_output():
    with pytest.raises(HostError, match=r"exit status 3[\s\S]*last words[\s\S]*Try this"):
        run_tool(["sh", "-c", "echo last words; exit 3"], remedy="Try this.")
    with pytest.raises(HostError, match="could not be run"):
        run_tool(["no-such-program"], remedy="Install it.")


def test_unsupported_processor_is_refused(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(HostError, match="riscv64"):
        code_server_package.debian_architecture()
