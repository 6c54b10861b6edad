"""The control API: clock, hosts, market, faults and reset. JSON over HTTP on the same port, below `/_rehearsal/`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from moto.moto_api._internal.models import moto_api_backend
from werkzeug.wrappers import Request, Response

from rehearsal.clock import ClockError, parse_timestamp
from rehearsal.errors import SettingsError
from rehearsal.hosts import control
from rehearsal.hosts.errors import HostError
from rehearsal.world import World

PREFIX = "/_rehearsal/"


class _BadRequestError(Exception):
    """Returned with status 400 and its text."""


class Control:
    """The WSGI application of the control API."""

    def __init__(self, world: World, new_world: Callable[[], World]) -> None:
        """`new_world`: replaces the world, for `reset`."""
        self._world = world
        self._new_world = new_world

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        routes: dict[tuple[str, str], Callable[[dict[str, Any]], dict[str, Any]]] = {
            ("GET", "status"): self._status,
            ("POST", "clock"): self._move_clock,
            ("POST", "forward"): self._forward,
            ("POST", "host"): self._do_to_host,
            ("GET", "market"): self._market,
            ("POST", "market"): self._set_market,
            ("GET", "rates"): self._rates,
            ("POST", "rates"): self._set_rates,
            ("GET", "latency"): self._latency,
            ("POST", "latency"): self._set_latency,
            ("GET", "faults"): self._faults,
            ("POST", "faults"): self._set_faults,
            ("GET", "calls"): self._calls,
            ("GET", "misfits"): self._misfits,
            ("POST", "reset"): self._reset,
        }
        route = routes.get((request.method, request.path.removeprefix(PREFIX)))
        if route is None:
            error = {"error": f"no {request.method} {request.path} here"}
            return _response(error, HTTPStatus.NOT_FOUND)(environ, start_response)
        try:
            response = _response(route(_body(request)), HTTPStatus.OK)
        except (_BadRequestError, ClockError, HostError, SettingsError) as refusal:
            response = _response({"error": str(refusal)}, HTTPStatus.BAD_REQUEST)
        return response(environ, start_response)

    def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        self._world.settle()
        return {"clock": self._world.clock.now().isoformat(), "hosts": self._world.fleet.states()}

    def _move_clock(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.keys() == {"to"}:
            now = self._world.clock.move_to(parse_timestamp(str(body["to"])))
        elif body.keys() == {"advance_seconds"} and isinstance(body["advance_seconds"], int | float):
            now = self._world.clock.advance(timedelta(seconds=body["advance_seconds"]))
        elif body.keys() == {"speed"} and isinstance(body["speed"], int | float):
            now = self._world.clock.run_at(body["speed"])
        else:
            raise _BadRequestError('send {"to": "2026-01-31T11:30:00Z"}, {"advance_seconds": 60} or {"speed": 60}')
        self._world.settle()
        return {"clock": now.isoformat()}

    def _forward(self, body: dict[str, Any]) -> dict[str, Any]:
        instance_id, port = body.get("instance_id"), body.get("port")
        if not isinstance(instance_id, str) or not isinstance(port, int):
            raise _BadRequestError('send {"instance_id": "i-…", "port": 80}')
        self._world.settle()
        machine = self._world.fleet.running(instance_id)
        if machine is None:
            state = self._world.fleet.states().get(instance_id, "unknown")
            raise _BadRequestError(f"{instance_id} has no running host to forward from: {state}")
        return {"port": machine.forward(port)}

    def _do_to_host(self, body: dict[str, Any]) -> dict[str, Any]:
        self._world.settle()
        return control.do(self._world, body)

    def _market(self, _: dict[str, Any]) -> dict[str, Any]:
        return self._world.market.settings.shown()

    def _set_market(self, body: dict[str, Any]) -> dict[str, Any]:
        self._world.market.settings.change(body)
        return self._world.market.settings.shown()

    def _rates(self, _: dict[str, Any]) -> dict[str, Any]:
        return self._world.rates.shown()

    def _set_rates(self, body: dict[str, Any]) -> dict[str, Any]:
        self._world.rates.change(body)
        return self._world.rates.shown()

    def _latency(self, _: dict[str, Any]) -> dict[str, Any]:
        return self._world.latency.shown()

    def _set_latency(self, body: dict[str, Any]) -> dict[str, Any]:
        self._world.latency.change(body)
        return self._world.latency.shown()

    def _faults(self, _: dict[str, Any]) -> dict[str, Any]:
        return dict(self._world.faults.shown())

    def _set_faults(self, body: dict[str, Any]) -> dict[str, Any]:
        self._world.faults.set(body)
        return dict(self._world.faults.shown())

    def _calls(self, _: dict[str, Any]) -> dict[str, Any]:
        return dict(self._world.calls.shown())

    def _misfits(self, _: dict[str, Any]) -> dict[str, Any]:
        return dict(self._world.misfits.shown())

    def _reset(self, _: dict[str, Any]) -> dict[str, Any]:
        self._world.erase()
        moto_api_backend.reset()
        self._world = self._new_world()
        return {"clock": self._world.clock.now().isoformat()}


def _body(request: Request) -> dict[str, Any]:
    # The raw body: HTTP libraries send a form's content type when the client names none.
    text = request.get_data(parse_form_data=False)
    if not text:
        return {}
    try:
        body = json.loads(text)
    except ValueError as error:
        raise _BadRequestError(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise _BadRequestError("the body is not a JSON object")
    return body


def _response(content: dict[str, Any], status: HTTPStatus) -> Response:
    return Response(json.dumps(content), status=status, mimetype="application/json")
