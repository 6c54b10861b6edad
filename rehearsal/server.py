"""One AWS on a loopback port: moto's server with the rehearsal's services.

moto dispatches to the Flask applications that `services` makes. moto's state is global, so a process can run one server
at a time.
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
from rehearsal.conformance.violations import Violations
from rehearsal.control import PREFIX, Control
from rehearsal.faults.injection import is_served
from rehearsal.faults.latency import Delays, Latency
from rehearsal.faults.settings import Faults
from rehearsal.hosts.aws_sites import METADATA, SiteAnswer, SiteRequest
from rehearsal.hosts.fleet import Fleet
from rehearsal.hosts.host import HostFactory
from rehearsal.hosts.volumes import Volumes
from rehearsal.links import Links
from rehearsal.market.capacity_blocks import Market
from rehearsal.market.settings import MarketSettings, RateLimit
from rehearsal.market.throttling import CallRates
from rehearsal.services import Dispatcher, application, is_ssm, make_moto_strict
from rehearsal.state_folder import StateError, StateFolder
from rehearsal.world import ACCOUNT, World

LOOPBACK = "127.0.0.1"
_BACKLOG = 128
"""Pending connections, werkzeug's value."""
_SETTLE_EVERY = 1.0
"""Seconds between calls of `World.settle` when there are no requests."""
_SETTLE_TIMEOUT = 5.0
_one_server = threading.Lock()


class ServerError(Exception):
    """The server can't start; the message says why and what to do."""


@dataclass(frozen=True)
class Settings:
    """Settings of a server.

    `port`: 0 for a free one. `clock`: start time in UTC, None for now. `speed`: factor of the clock. `delays`: AWS's
    latency; `searches`: rate limit for Capacity Block searches, None for no limit; the control API can change both.
    `state`: a folder in which this AWS outlives its process. `host_suite`: the kind of hosts.
    """

    port: int = 0
    host: str = LOOPBACK
    clock: datetime | None = None
    speed: float = 1
    seed: int = 0
    delays: Delays = field(default_factory=Delays)
    searches: RateLimit | None = None
    state: Path | None = None
    host_suite: str = "none"


class RunningServer:
    """A server that runs until `stop`."""

    def __init__(self, server: BaseWSGIServer, application: _Application) -> None:
        self._server = server
        self._application = application
        self._thread = threading.Thread(target=server.serve_forever, name="rehearsal", daemon=True)
        self._thread.start()
        self._stopped = threading.Event()
        self._settle_thread = threading.Thread(target=self._settle_periodically, name="settle", daemon=True)
        self._settle_thread.start()

    @property
    def access(self) -> Access:
        return self._application.access

    @property
    def endpoint(self) -> str:
        return self.access.endpoint

    @property
    def world(self) -> World:
        """The served AWS, for tests in the same process."""
        return self._application.world

    def stop(self) -> None:
        """Stop the server and destroy all hosts and state that is not in a state folder. Idempotent."""
        if not self._thread.is_alive():
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._stopped.set()
        # It may be waiting for a launch, which ends only when the hosts are destroyed.
        self._settle_thread.join(_SETTLE_TIMEOUT)
        try:
            self._application.close()
        finally:
            moto_api_backend.reset()
            _one_server.release()

    def _settle_periodically(self) -> None:
        """Terminate what is due also when there are no requests: a client may only use a host through a forward."""
        while not self._stopped.wait(_SETTLE_EVERY):
            try:
                self.world.settle()
            except Exception:
                # For example while the world is being replaced.
                logging.getLogger(__name__).exception("settling failed")


def start(settings: Settings, host_factory: HostFactory | None) -> RunningServer:
    """Serve a new AWS, or the one in the state folder; without a factory, instances have no host.

    ServerError when the address is not loopback or is in use, or when this process already runs a server.
    """
    if not ipaddress.ip_address(settings.host).is_loopback:
        raise ServerError(f"a rehearsal is served on loopback only, not on {settings.host}: it is plain HTTP")
    if not _one_server.acquire(blocking=False):
        raise ServerError("this process serves a rehearsal already; stop it, or use another process")
    try:
        # Bound here because werkzeug prints a message of its own when the port is in use.
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
        raise ServerError(f"can't listen on port {port} of {host}: {why}") from error


class _Application:
    """The WSGI application: access checks, the control API, then moto's dispatch by service."""

    def __init__(self, settings: Settings, host_factory: HostFactory | None, port: int) -> None:
        self._settings = settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self._addresses = {f"{name}:{port}" for name in (host, "localhost")}
        # New for each process, also with a state folder: clients get them together with the address.
        self.access = Access.generate(f"http://{host}:{port}")
        self._machine_factory = host_factory
        # Kept over a reset: a defect stays a defect.
        self._misfits = Violations()
        make_moto_strict()
        moto_api_backend.reset()
        try:
            self._state_folder = StateFolder(settings.state, settings.host_suite) if settings.state else None
            snapshot = self._state_folder.load() if self._state_folder else None
            self.world = self._new_world(_start_time(settings, snapshot))
        except StateError as error:
            raise ServerError(str(error)) from error
        if snapshot:
            self.world.restore(snapshot)
        self._save()

    def _new_world(self, start: datetime | None) -> World:
        """Create a world that starts at this time, and the applications that serve it."""
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
        self._control = Control(self.world, lambda: self._new_world(self._settings.clock))
        self._aws = Dispatcher(lambda service: application(service, self.world, self._save))
        return self.world

    def close(self) -> None:
        self._save()
        self.world.close()
        if self._state_folder:
            self._state_folder.close()

    def _folder(self, name: str) -> Path | None:
        return self._state_folder.subfolder(name) if self._state_folder else None

    def _save(self) -> None:
        if self._state_folder:
            self._state_folder.save(self.world.snapshot)

    def _answer_host(self, instance_id: str, region: str, request: SiteRequest) -> SiteAnswer:
        """Answer a host's request to instance metadata or, like any client's, to a service."""
        if request.site == METADATA:
            return self._metadata.answer(instance_id, region, request)
        environ = EnvironBuilder(
            request.path,
            f"https://{request.site}",
            method=request.method,
            headers=list(request.headers.items()),
            data=request.body,
        )
        body, status, headers = run_wsgi_app(self._answer_client, environ.get_environ())
        return SiteAnswer(int(status.split()[0]), dict(headers), b"".join(body))

    def __call__(self, environ: Any, start_response: Any) -> Any:
        if why := why_foreign(environ, self._addresses):
            return _refused(HTTPStatus.FORBIDDEN, why)(environ, start_response)
        path = environ.get("PATH_INFO", "")
        if path.startswith(PREFIX):
            if not has_token(environ, self.access.token):
                why = "this needs the header Authorization: Bearer TOKEN, see docs/rehearsal.md"
                return _refused(HTTPStatus.UNAUTHORIZED, why)(environ, start_response)
            response = self._control(environ, start_response)
            if environ.get("REQUEST_METHOD") != "GET":
                self._save()
            return response
        return self._answer_client(environ, start_response)

    def _answer_client(self, environ: Any, start_response: Any) -> Any:
        """Answer a request to a service; the service checks the credentials."""
        path = environ.get("PATH_INFO", "")
        if path.startswith(("/moto-api", "/latest/", "/favicon.ico")):
            # moto's control API would bypass the rehearsal.
            return Response(f"{path} is not part of a rehearsal", status=404)(environ, start_response)
        # Each request has its own thread, so parallel requests wait in parallel.
        time.sleep(self.world.latency.now.request)
        return self._aws(environ, start_response)


def _refused(status: HTTPStatus, why: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else {}
    return Response(json.dumps({"error": why}), status, headers, mimetype="application/json")


def _handler(now: Callable[[], datetime]) -> type[Any]:
    """moto's request handler, with the rehearsal's time as Date, from which AWS's clients correct their clocks.

    A request whose response is to be lost, or that is truncated, raises a ConnectionError: werkzeug then sends nothing.
    """

    class Handler(MotoRequestHandler):  # type: ignore[misc] # moto has no types
        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_date_time(now().timestamp() if timestamp is None else timestamp)

        def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
            self.close_connection = True  # otherwise the client would wait for a response on a kept connection

    return Handler


def _start_time(settings: Settings, snapshot: Mapping[str, Any] | None) -> datetime | None:
    """The start time from the settings, or the snapshot's time plus the time since. ServerError for an earlier one."""
    if snapshot is None:
        return settings.clock
    now: datetime = snapshot["clock"] + max(datetime.now(timezone.utc) - snapshot["real"], timedelta(0))
    if settings.clock is not None and settings.clock < now:
        raise ServerError(f"the clock of the AWS in {settings.state} is at {now:%FT%TZ} and can't go back")
    return settings.clock or now


@contextmanager
def serving(settings: Settings, host_factory: HostFactory | None) -> Iterator[RunningServer]:
    """Start a server, and stop it at the end."""
    server = start(settings, host_factory)
    try:
        yield server
    finally:
        server.stop()
