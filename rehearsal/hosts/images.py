"""Builds what hosts consist of, once: `python -m rehearsal.hosts.images build [--suite SUITE]...`.

Safe to run at any time and from several processes: each image is built under a lock, beside its final name, and
renamed when complete.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from rehearsal.hosts import cache
from rehearsal.hosts.code_server_package import CodeServerPackage
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.rootfs import SUITES, Rootfs


class Image(Protocol):
    """Something in the cache that is built by a recipe."""

    @property
    def label(self) -> str: ...

    @property
    def path(self) -> Path: ...

    def build(self, target: Path) -> None: ...


def needed_for(suites: Sequence[str]) -> list[Image]:
    """The images for hosts of these suites, the slowest to build first."""
    return [CodeServerPackage(), *(Rootfs(suite) for suite in suites)]


def build(images: Sequence[Image], report: Callable[[str], None]) -> None:
    """Build missing images, two at a time, and report a line about each. Raises the first HostError."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        for outcome in [pool.submit(_ensure, image, report) for image in images]:
            outcome.result()


def _ensure(image: Image, report: Callable[[str], None]) -> None:
    with cache.locked(image.path):
        if image.path.exists():
            report(f"{image.label:36}  already built")
            return
        started = time.monotonic()
        partial = image.path.with_name(image.path.name + ".partial")
        _discard(partial)
        try:
            image.build(partial)
            partial.rename(image.path)
        finally:
            _discard(partial)
        report(f"{image.label:36} {time.monotonic() - started:6.1f} s")


def _discard(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m rehearsal.hosts.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="build missing images")
    builder.add_argument("--suite", action="append", choices=SUITES, help="Debian suite [default: all]")
    options = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print("Building images needs root: their files belong to root. Run this as root.", file=sys.stderr)
        return 2
    print(f"Images for rehearsal hosts, kept in {cache.directory()}", flush=True)
    try:
        build(needed_for(options.suite or SUITES), lambda line: print(line, flush=True))
    except HostError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
