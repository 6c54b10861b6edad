"""One AWS on a loopback port: moto's server with the rehearsal's services in it.

moto picks a Flask application by service, of those that `services` makes. moto's state is the process's, hence one
server a process at a time.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from pathlib import Path
from typing import Any
from wsgiref.handlers import format_date_time

from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.test import EnvironBuilder, run_wsgi_app
from werkzeug.wrappers import Response

from rehearsal.aws.iam.access_keys import AccessKey, AccessKeys
from rehearsal.aws.iam.authentication import has_token, why_foreign
from rehearsal.aws.metadata import Metadata
from rehearsal.aws.ssm.command_engine import CommandEngine
from rehearsal.aws.ssm.command_history import CommandHistory
from rehearsal.client import Access
from rehearsal.clock import Clock
from rehearsal.conformance.violations import Misfits
from rehearsal.control import PREFIX, Control
from rehearsal.faults.injection import is_served
from rehearsal.faults.latency import Delays, Latency
from rehearsal.faults.settings import Faults
from rehearsal.hosts.aws_sites import METADATA, SiteAnswer, SiteRequest
from rehearsal.hosts.fleet import Fleet
from rehearsal.hosts.host import HostFactory
from rehearsal.hosts.volumes import Volumes
from rehearsal.keeping import Keeper, KeepingError
from rehearsal.links import Links
from rehearsal.market.capacity_blocks import Market
from rehearsal.market.settings import MarketSettings, Searches
from rehearsal.market.throttling import CallRates
from rehearsal.services import Dispatcher, application, is_ssm, make_moto_strict
from rehearsal.world import ACCOUNT, World

LOOPBACK = "127.0.0.1"
_BACKLOG = 128
"""Connections that wait to be taken, as werkzeug has it."""
_SETTLE_EVERY = 1.0
"""Seconds between looks at what time has done where nobody asks."""
_LAST_SETTLING = 5.0
_one_server = threading.Lock()


class ServerError(Exception):
    """The rehearsal can't be served as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Settings:
    """How to serve. `port` 0 takes a free one. `clock`: when the rehearsal begins, UTC; None for now. `speed`: how
    many times as fast its clock runs.

    `delays`: how long AWS takes; `searches`: how fast Capacity Blocks may be searched for, None for no limit. Both hold
    until the control API says otherwise. `state`: a folder in which this AWS outlives its process, and `host_suite`
    what hosts it has, which they all have to be.
    """

    port: int = 0
    host: str = LOOPBACK
    clock: datetime | None = None
    speed: float = 1
    seed: int = 0
    delays: Delays = field(default_factory=Delays)
    searches: Searches | None = None
    state: Path | None = None
    host_suite: str = "none"


class RunningServer:
    """A rehearsal being served, until `stop`."""

    def __init__(self, server: BaseWSGIServer, application: _Application) -> None:
        self._server = server
        self._application = application
        self._thread = threading.Thread(target=server.serve_forever, name="rehearsal", daemon=True)
        self._thread.start()
        self._ended = threading.Event()
        self._settling = threading.Thread(target=self._settle, name="settling", daemon=True)
        self._settling.start()

    @property
    def access(self) -> Access:
        """What a client needs."""
        return self._application.access

    @property
    def endpoint(self) -> str:
        return self.access.endpoint

    @property
    def world(self) -> World:
        """What is being rehearsed, for tests in the same process."""
        return self._application.world

    def stop(self) -> None:
        """Stop serving, destroy every host, forget everything. May be called again."""
        if not self._thread.is_alive():
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._ended.set()
        # It may be waiting for a launch, which ends with the hosts only.
        self._settling.join(_LAST_SETTLING)
        try:
            self._application.close()
        finally:
            moto_api_backend.reset()
            _one_server.release()

    def _settle(self) -> None:
        """Take back what has ended, by whatever world there is, also while nobody asks for anything: a client that
        works on a host only, through a forward, must lose it in time.
        """
        while not self._ended.wait(_SETTLE_EVERY):
            try:
                self.world.settle()
            except Exception:
                # Such as of a world that is being replaced.
                logging.getLogger(__name__).exception("what time has done could not be settled")


def start(settings: Settings, host_factory: HostFactory | None) -> RunningServer:
    """Serve a new, empty AWS; with no factory, instances have no host.

    ServerError when the address is not loopback or taken, or when this process serves one already.
    """
    if not ipaddress.ip_address(settings.host).is_loopback:
        raise ServerError(f"a rehearsal is served on loopback only, not on {settings.host}: it is plain HTTP")
    if not _one_server.acquire(blocking=False):
        raise ServerError("this process serves a rehearsal already; stop it, or use another process")
    try:
        # Bound here: werkzeug would print its own words about a port that is taken.
        with _listening(settings.host, settings.port) as bound:
            served = _Application(settings, host_factory, bound.getsockname()[1])
            logging.getLogger("werkzeug").setLevel(logging.ERROR)
            handler = _handler(lambda: served.world.clock.now())
            server = make_server(settings.host, 0, served, threaded=True, request_handler=handler, fd=bound.fileno())
    except BaseException:
        _one_server.release()
        raise
    return RunningServer(server, served)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise ServerError(f"port {port} on {host} can't be had: {why}") from error


class _Application:
    """The WSGI application: who may ask, the control API, then moto's dispatch by service."""

    def __init__(self, settings: Settings, host_factory: HostFactory | None, port: int) -> None:
        self._settings = settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self._addresses = {f"{name}:{port}" for name in (host, "localhost")}
        # Anew with each process, also where the AWS is kept: its clients are given them with the address.
        self.access = Access.generate(f"http://{host}:{port}")
        self._machine_factory = host_factory
        # A defect is one after a reset, too.
        self._misfits = Misfits()
        make_moto_strict()
        moto_api_backend.reset()
        try:
            self._keeper = Keeper(settings.state, settings.host_suite) if settings.state else None
            kept = self._keeper.load() if self._keeper else None
            self.world = self._renew(_start(settings, kept))
        except KeepingError as error:
            raise ServerError(str(error)) from error
        if kept:
            self.world.restore(kept)
        self._keep()

    def _renew(self, start: datetime | None) -> World:
        """A new world that begins then, and applications that serve it."""
        fleet = Fleet(self._machine_factory, self._folder("hosts"), self._answer_host)
        clock = Clock(start, speed=self._settings.speed)
        keys = AccessKeys(clock.now, AccessKey(self.access.access_key_id, self.access.secret_access_key))
        self._metadata = Metadata(keys, ACCOUNT)
        market_settings = MarketSettings(searches=self._settings.searches)
        links, latency = Links(clock.now), Latency(self._settings.delays)
        self.world = World(
            clock=clock,
            market=Market(clock.now, seed=self._settings.seed, settings=market_settings),
            fleet=fleet,
            links=links,
            latency=latency,
            commands=CommandEngine(fleet, links, latency, clock.now, CommandHistory(self._folder("commands"))),
            keys=keys,
            rates=CallRates(is_ssm),
            faults=Faults(is_served, seed=self._settings.seed),
            misfits=self._misfits,
            volumes=Volumes(self._folder("volumes")),
        )
        self._control = Control(self.world, lambda: self._renew(self._settings.clock))
        self._aws = Dispatcher(lambda service: application(service, self.world, self._keep))
        return self.world

    def close(self) -> None:
        """Keep what is to be kept and end the rest."""
        self._keep()
        self.world.close()
        if self._keeper:
            self._keeper.close()

    def _folder(self, name: str) -> Path | None:
        return self._keeper.folder(name) if self._keeper else None

    def _keep(self) -> None:
        if self._keeper:
            self._keeper.save(self.world.snapshot)

    def _answer_host(self, instance_id: str, region: str, request: SiteRequest) -> SiteAnswer:
        """What AWS says to a host: by instance metadata, or as it answers anybody who asks with credentials."""
        if request.site == METADATA:
            return self._metadata.answer(instance_id, region, request)
        asked = EnvironBuilder(
            request.path,
            f"https://{request.site}",
            method=request.method,
            headers=list(request.headers.items()),
            data=request.body,
        )
        body, status, headers = run_wsgi_app(self._answer_client, asked.get_environ())
        return SiteAnswer(int(status.split()[0]), dict(headers), b"".join(body))

    def __call__(self, environ: Any, start_response: Any) -> Any:
        if why := why_foreign(environ, self._addresses):
            return _refused(HTTPStatus.FORBIDDEN, why)(environ, start_response)
        path = environ.get("PATH_INFO", "")
        if path.startswith(PREFIX):
            if not has_token(environ, self.access.token):
                why = "this needs the header Authorization: Bearer TOKEN, see docs/rehearsal.md"
                return _refused(HTTPStatus.UNAUTHORIZED, why)(environ, start_response)
            answer = self._control(environ, start_response)
            if environ.get("REQUEST_METHOD") != "GET":
                self._keep()
            return answer
        return self._answer_client(environ, start_response)

    def _answer_client(self, environ: Any, start_response: Any) -> Any:
        """What AWS says, to anybody who asks with credentials."""
        path = environ.get("PATH_INFO", "")
        if path.startswith(("/moto-api", "/latest/", "/favicon.ico")):
            # moto's own control API would change things behind the rehearsal's back.
            return Response(f"{path} is not part of a rehearsal", status=404)(environ, start_response)
        # Each request has a thread of its own, so those sent at the same time wait at the same time.
        time.sleep(self.world.latency.now.request)
        return self._aws(environ, start_response)


def _refused(status: HTTPStatus, why: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else {}
    return Response(json.dumps({"error": why}), status, headers, mimetype="application/json")


def _handler(now: Callable[[], datetime]) -> type[Any]:
    """moto's request handler, with the rehearsal's date in every answer: AWS's clients tell the time by it.

    A request whose answer is to be lost, or that did not come whole, ends with a ConnectionError: werkzeug sends
    nothing then.
    """

    class Handler(MotoRequestHandler):  # type: ignore[misc] # moto has no types
        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_date_time(now().timestamp() if timestamp is None else timestamp)

        def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
            self.close_connection = True  # else the client would wait for its answer on a connection that is kept

    return Handler


def _start(settings: Settings, kept: Mapping[str, Any] | None) -> datetime | None:
    """When a rehearsal begins: as asked, or where the kept one would be by now. ServerError for going back."""
    if kept is None:
        return settings.clock
    now: datetime = kept["clock"] + max(datetime.now(timezone.utc) - kept["real"], timedelta(0))
    if settings.clock is not None and settings.clock < now:
        raise ServerError(f"it is {now:%FT%TZ} in the AWS of {settings.state}, and time does not go back")
    return settings.clock or now


@contextmanager
def serving(settings: Settings, host_factory: HostFactory | None) -> Iterator[RunningServer]:
    """`start`, and `stop` at the end whatever happens."""
    server = start(settings, host_factory)
    try:
        yield server
    finally:
        server.stop()
