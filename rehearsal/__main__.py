"""`python -m rehearsal`: serve AWS on a loopback port until stopped, then remove everything that was created."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rehearsal.client import TOKEN_VARIABLE, Access
from rehearsal.clock import ClockError, check_speed, parse_timestamp
from rehearsal.faults.latency import PRESETS
from rehearsal.hosts import orphans
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.host import HostFactory
from rehearsal.hosts.mixed import MAX_BOOTED, MixedFactory
from rehearsal.hosts.processes import end_with_parent
from rehearsal.market.settings import RateLimit
from rehearsal.server import ServerError, Settings, serving
from rehearsal.state_folder import StateError, choose_suite, make_folder

SUITES = ("trixie", "bookworm", "light", "none")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        if options.with_parent:
            end_with_parent()
        for folder in orphans.remove_sandboxes():
            print(f"rehearsal: removed {folder}, left by a rehearsal that was killed", flush=True)
        suite = _suite(options.host_suite, options.state)
        factory = _factory(suite, options.booted)
        settings = Settings(
            options.port,
            clock=options.clock,
            speed=options.speed,
            seed=options.seed,
            delays=PRESETS[options.latency],
            searches=RateLimit(),
            state=options.state,
            host_suite=suite,
        )
        with serving(settings, factory) as server:
            print(f"rehearsal: {server.endpoint} (region {options.region}); stop it with Ctrl-C", flush=True)
            if options.ready_file is not None:
                server.access.write_ready_file(options.ready_file)
            else:
                print(_as_shell(server.access), flush=True)
            stopped.wait()
    except (ServerError, StateError, HostError) as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 2
    finally:
        if options.ready_file is not None:
            options.ready_file.unlink(missing_ok=True)
        if options.with_parent:
            # The commands of a parent that was killed still run, and have no AWS any more.
            orphans.remove_sandboxes()
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rehearsal", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 [default: a free one]")
    parser.add_argument("--region", default="sa-east-1", help="region to print; all regions are served [%(default)s]")
    parser.add_argument("--clock", type=_instant, help="start time, ISO 8601 with a time zone [default: now]")
    parser.add_argument(
        "--speed", type=_speed, default=1, metavar="N", help="run the clock N times as fast; scripts take real time"
    )
    parser.add_argument(
        "--host-suite",
        type=_host_suite,
        metavar="SUITE",
        help=f"hosts of instances: {', '.join(SUITES)}, or MODULE:FACTORY. trixie and bookworm boot that Debian, light "
        "hosts run scripts without systemd [default: trixie]",
    )
    parser.add_argument(
        "--booted",
        type=_count,
        default=MAX_BOOTED,
        metavar="N",
        help="maximum number of booted hosts; further hosts are light [default: %(default)s]",
    )
    parser.add_argument(
        "--latency", choices=PRESETS, default="none", help="response times: as AWS, or none [default: %(default)s]"
    )
    parser.add_argument(
        "--ready-file",
        type=Path,
        help="write endpoint, keys, token and pid to this file as JSON when ready, instead of printing them",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed for offerings and for faults that have a probability [default: %(default)s]",
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="keep this AWS in a folder, and resume from it")
    parser.add_argument("--with-parent", action="store_true", help="stop when the parent process ends, even by SIGKILL")
    return parser.parse_args(arguments)


def _instant(text: str) -> datetime:
    try:
        return parse_timestamp(text)
    except ClockError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _speed(text: str) -> float:
    try:
        return check_speed(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _host_suite(text: str) -> str:
    if text not in SUITES and ":" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(SUITES)}, MODULE:FACTORY")
    return text


def _suite(requested: str | None, state: Path | None) -> str:
    """The suite of the hosts. Raises StateError or HostError when `state` cannot keep such hosts."""
    if state is None:
        return requested or "trixie"
    suite = choose_suite(state, requested) or "trixie"
    if (tree := _tree(suite)) is not None and os.geteuid() == 0:
        from rehearsal.hosts.disk import check

        make_folder(state)
        check(state, tree)
    return suite


def _tree(suite: str) -> Path | None:
    """The root file system below the files of hosts, None when it is not built."""
    from rehearsal.hosts import light
    from rehearsal.hosts.rootfs import SUITES, Rootfs

    if suite in SUITES and Rootfs(suite).path.exists():
        return Rootfs(suite).tree
    return light.default_tree() if suite == light.SUITE else None


def _factory(suite: str, booted: int) -> HostFactory | None:
    if suite == "none":
        return None
    if ":" in suite:
        module, _, name = suite.partition(":")
        factory: HostFactory = getattr(importlib.import_module(module), name)
        return factory
    from rehearsal.hosts import booted as booted_hosts
    from rehearsal.hosts import cgroups, light

    if suite == light.SUITE:
        return light.factory()
    for name in cgroups.remove_orphans():
        print(f"rehearsal: removed {name}, left by a rehearsal that was killed", flush=True)
    return MixedFactory(booted_hosts.factory(suite), light.factory(), booted)


def _as_shell(access: Access) -> str:
    """Shell commands that point a shell at this rehearsal."""
    variables = {**access.environment, TOKEN_VARIABLE: access.token}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


if __name__ == "__main__":
    sys.exit(main())
