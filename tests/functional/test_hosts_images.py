"""Images are made once, whole or not at all, whoever asks and however a build ends."""

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
    """An image that takes no time, and counts how often it is made."""

    path: Path
    fails: bool = False
    label: str = "recorded"
    builds: list[Path] = field(default_factory=list)

    def build(self, target):
        self.builds.append(target)
        target.mkdir()
        (target / "half").touch()
        if self.fails:
            raise HostError("No", why="asked to fail", remedy="Don't.")


def test_is_made_once(tmp_path):
    image = Recorded(tmp_path / "image")
    lines: list[str] = []
    images.build([image], lines.append)
    images.build([image], lines.append)
    assert len(image.builds) == 1
    assert (image.path / "half").exists()
    assert lines[0].endswith(" s")
    assert lines[1].endswith("already built")


def test_is_made_once_by_many_at_once(tmp_path):
    image = Recorded(tmp_path / "image")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: images.build([image], lambda line: None), range(8)))
    assert len(image.builds) == 1


def test_a_failed_build_leaves_nothing_and_can_be_repeated(tmp_path):
    image = Recorded(tmp_path / "image", fails=True)
    with pytest.raises(HostError, match="asked to fail"):
        images.build([image], lambda line: None)
    assert [path.name for path in tmp_path.iterdir()] == ["image.lock"]
    image.fails = False
    images.build([image], lambda line: None)
    assert image.path.exists()


def test_what_a_killed_build_left_is_cleared_away(tmp_path):
    image = Recorded(tmp_path / "image")
    (tmp_path / "image.partial").mkdir()
    (tmp_path / "image.partial" / "old").touch()
    images.build([image], lambda line: None)
    assert [path.name for path in image.path.iterdir()] == ["half"]


def test_another_recipe_has_another_name():
    assert cache.recipe_digest("a", "b") != cache.recipe_digest("ab")
    assert len({Rootfs(suite).path for suite in SUITES}) == len(SUITES)


def test_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("TORCHNEURON_CACHE_DIR", raising=False)
    assert cache.directory() == tmp_path / "xdg" / "torchneuron"
    monkeypatch.setenv("TORCHNEURON_CACHE_DIR", str(tmp_path / "own"))
    assert cache.directory() == tmp_path / "own"


def test_command_line_refuses_an_unknown_suite():
    command = [sys.executable, "-m", "rehearsal.hosts.images", "build", "--suite", "warty"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "trixie" in done.stderr


def test_requirements_name_the_missing_images_and_their_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHNEURON_CACHE_DIR", str(tmp_path))
    gaps = requirements.missing("bookworm")
    assert [gap for gap in gaps if "bookworm" in gap.what and "images build --suite bookworm" in gap.remedy]
    assert [gap for gap in gaps if "code-server" in gap.what]
    assert list(tmp_path.iterdir()) == []


def test_requirements_name_the_package_of_a_missing_program(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    packages = {gap.what: gap.package for gap in requirements.missing("trixie")}
    assert packages["setpriv"] == "util-linux"


def test_a_failing_tool_is_told_with_the_end_of_its_output():
    with pytest.raises(HostError, match=r"exit status 3[\s\S]*last words[\s\S]*Try this"):
        run_tool(["sh", "-c", "echo last words; exit 3"], remedy="Try this.")
    with pytest.raises(HostError, match="could not be run"):
        run_tool(["no-such-program"], remedy="Install it.")


def test_another_processor_is_refused_with_a_reason(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(HostError, match="riscv64"):
        code_server_package.debian_architecture()
