"""`python -m rehearsal`: serve an AWS on loopback until told to stop, then leave nothing behind."""

from __future__ import annotations

import argparse
import ctypes
import os
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rehearsal.client import TOKEN_VARIABLE, Access
from rehearsal.clock import ClockError, check_speed, parse_instant
from rehearsal.faults.latency import PRESETS
from rehearsal.hosts import leftovers
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.machine import MachineFactory
from rehearsal.hosts.mixed import BOOTED, MixedFactory
from rehearsal.keeping import KeepingError, choose_suite, make_folder
from rehearsal.market.settings import Searches
from rehearsal.server import ServerError, Settings, serving

_PR_SET_PDEATHSIG = 1
SUITES = ("trixie", "bookworm", "light", "played", "none")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    if options.with_parent:
        _end_with_parent()
    try:
        for folder in leftovers.sweep():
            print(f"rehearsal: removed {folder}, left by a rehearsal that was killed", flush=True)
        suite = _suite(options.host_suite, options.state)
        factory = _factory(suite, options.booted)
        settings = Settings(
            options.port,
            clock=options.clock,
            speed=options.speed,
            seed=options.seed,
            delays=PRESETS[options.latency],
            searches=Searches(),
            state=options.state,
            host_suite=suite,
        )
        with serving(settings, factory) as server:
            print(f"rehearsal: {server.endpoint} (region {options.region}); Ctrl-C ends it", flush=True)
            if options.ready_file is not None:
                server.access.write_ready_file(options.ready_file)
            else:
                print(_as_shell(server.access), flush=True)
            stopped.wait()
    except (ServerError, KeepingError, HostError) as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 2
    finally:
        if options.ready_file is not None:
            options.ready_file.unlink(missing_ok=True)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rehearsal", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0, the default, takes a free one")
    parser.add_argument("--region", default="sa-east-1", help="the region to tell people about; all are served")
    parser.add_argument("--clock", type=_instant, help="begin at this time, ISO 8601 with a time zone; default now")
    parser.add_argument(
        "--speed", type=_speed, default=1, metavar="N", help="the clock runs N times as fast; work takes its own time"
    )
    parser.add_argument(
        "--host-suite",
        choices=SUITES,
        help="the Debian that instances boot, trixie by default; light: without systemd; played: only time passes; "
        "none: no host",
    )
    parser.add_argument(
        "--booted",
        type=_count,
        default=BOOTED,
        metavar="N",
        help=f"how many instances boot at a time, {BOOTED} by default; hosts beyond that are light",
    )
    parser.add_argument(
        "--latency", choices=PRESETS, default="none", help="aws: take as long as AWS would; none: be as fast as can be"
    )
    parser.add_argument(
        "--ready-file",
        type=Path,
        help="write endpoint, keys, token and pid here, as JSON, once ready, instead of printing them",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="decides which offerings there are, and who meets a fault that has a probability",
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="keep this AWS there, for the next rehearsal")
    parser.add_argument(
        "--with-parent", action="store_true", help="end when the process that started this one ends, however it does"
    )
    return parser.parse_args(arguments)


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ClockError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _speed(text: str) -> float:
    try:
        return check_speed(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _suite(asked: str | None, state: Path | None) -> str:
    """The hosts there are to be. KeepingError or HostError when those of the AWS in `state` can't be."""
    if state is None:
        return asked or "trixie"
    suite = choose_suite(state, asked) or "trixie"
    if (tree := _tree(suite)) is not None and os.geteuid() == 0:
        from rehearsal.hosts.disk import check

        make_folder(state)
        check(state, tree)
    return suite


def _tree(suite: str) -> Path | None:
    """What is below hosts' own files, where that is there."""
    from rehearsal.hosts import light
    from rehearsal.hosts.rootfs import SUITES, Rootfs

    if suite in SUITES and Rootfs(suite).path.exists():
        return Rootfs(suite).tree
    return light.default_tree() if suite == light.SUITE else None


def _factory(suite: str, booted: int) -> MachineFactory | None:
    if suite == "none":
        return None
    from rehearsal.hosts import light, played
    from rehearsal.hosts.booted import factory
    from rehearsal.hosts.cgroup_cleanup import sweep

    if suite == "played":
        return played.factory
    if suite == "light":
        return light.factory()
    for name in sweep():
        print(f"rehearsal: removed {name}, left by a rehearsal that was killed", flush=True)
    return MixedFactory(factory(suite), light.factory(), booted)


def _as_shell(access: Access) -> str:
    """What makes a shell one whose commands reach this rehearsal."""
    variables = {**access.environment, TOKEN_VARIABLE: access.token}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent is gone, even by SIGKILL.

    It watches the thread that started this process, not the whole parent: prctl(2), PR_SET_PDEATHSIG.
    """
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise ServerError(f"can't watch the parent process: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
