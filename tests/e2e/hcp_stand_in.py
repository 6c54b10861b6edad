"""A stand-in for the part of HCP Terraform's API that the Terraform CLI uses to store states, on loopback.

The `host` block of the CLI configuration names the services of the host, so no discovery or TLS is needed.
Workspaces have execution mode "local": HCP stores the state, and Terraform runs locally. Documents are JSON:API.

Sources
-------
- Paths, attributes and statuses: HCP Terraform API, "Workspaces", "State Versions", "State Version Outputs", "Feature
  Entitlements", "API Stability Policy" (`ping` and its headers).
- A state is uploaded without a token to the URLs in a new state version: "State Versions", `state` is optional. Until
  then the version is pending and is not the current one.
- Creating a state version needs a locked workspace and, unless forced, a higher serial and the same lineage as the last
  one: "State Versions", "Create a State Version".
- Outputs are processed some time after the upload ("State Versions", attribute `resources-processed`). Before the first
  are processed, `current-state-version-outputs` returns 404, which `terraform output` reports as "could not read state
  version outputs: resource not found".
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "tfe.example"
ORGANIZATION = "an-org"
PROCESSING_SECONDS = 5.0
_TYPE = "application/vnd.api+json"
_ALLOWED = ("can-update", "can-queue-run", "can-queue-apply", "can-lock", "can-unlock", "can-force-unlock")


class ApiError(Exception):
    """Returned as a JSON:API error."""

    def __init__(self, status: int, title: str) -> None:
        super().__init__(title)
        self.status = status


@dataclass
class StateVersion:
    """One state. `raw` is None until the upload; `finalized` is the time of the upload on the monotonic clock."""

    serial: int
    lineage: str
    md5: str
    outputs: dict[str, dict[str, Any]]
    raw: bytes | None = None
    finalized: float = 0.0
    id: str = field(default_factory=lambda: f"sv-{secrets.token_hex(8)}")

    @property
    def processed(self) -> bool:
        return self.raw is not None and time.monotonic() - self.finalized >= PROCESSING_SECONDS

    def finalize(self, raw: bytes) -> None:
        if self.raw is not None:
            raise ApiError(409, "the state was already uploaded")
        if hashlib.md5(raw).hexdigest() != self.md5:
            raise ApiError(422, "the md5 of the state does not match")
        self.raw, self.finalized = raw, time.monotonic()


@dataclass
class Workspace:
    """A workspace. Its name is unique in the organization."""

    name: str
    terraform_version: str = "latest"
    locked: bool = False
    versions: list[StateVersion] = field(default_factory=list)
    id: str = field(default_factory=lambda: f"ws-{secrets.token_hex(8)}")

    @property
    def current(self) -> StateVersion:
        """The last version with an uploaded state. Raises ApiError when there is none."""
        for version in reversed(self.versions):
            if version.raw is not None:
                return version
        raise ApiError(404, "not found")

    def lock(self) -> None:
        if self.locked:
            raise ApiError(409, "Workspace already locked")
        self.locked = True

    def unlock(self) -> None:
        if not self.locked:
            raise ApiError(409, "Workspace already unlocked, or locked by a different user")
        self.locked = False

    def add(self, attributes: dict[str, Any]) -> StateVersion:
        """Create a version; it is pending when the attributes do not include the state."""
        if not self.locked:
            raise ApiError(409, "Workspace must be locked")
        outputs = json.loads(base64.b64decode(attributes.get("json-state-outputs") or "") or b"{}")
        version = StateVersion(attributes["serial"], attributes.get("lineage", ""), attributes["md5"], outputs)
        last = next((earlier for earlier in reversed(self.versions) if earlier.raw is not None), None)
        if last is not None and not attributes.get("force"):
            if version.lineage != last.lineage:
                raise ApiError(409, "The lineage does not match")
            if version.serial <= last.serial and version.md5 != last.md5:
                raise ApiError(409, "The serial is not higher than the last one")
        if attributes.get("state"):
            version.finalize(base64.b64decode(attributes["state"]))
        self.versions.append(version)
        return version


class HcpStandIn:
    """The organization and its workspaces. `requests` are the requests so far, as `METHOD path`."""

    def __init__(self) -> None:
        self.url = ""
        self.token = secrets.token_hex(16)
        self.workspaces: dict[str, Workspace] = {}
        self.requests: list[str] = []
        self.guard = threading.Lock()

    def cli_config(self, *, token: bool = True) -> str:
        """The CLI configuration with which Terraform finds this stand-in at HOST."""
        services = f'host "{HOST}" {{\n  services = {{ "tfe.v2" = "{self.url}/api/v2/" }}\n}}\n'
        return services + (f'credentials "{HOST}" {{\n  token = "{self.token}"\n}}\n' if token else "")

    def workspace(self, name: str) -> Workspace:
        """The workspace with this name, created if missing."""
        return self.workspaces.setdefault(name, Workspace(name))

    def states(self) -> Iterator[bytes]:
        """All uploaded states, including old versions."""
        for workspace in self.workspaces.values():
            yield from (version.raw for version in workspace.versions if version.raw is not None)

    def answer(self, method: str, path: str, body: bytes, token: str) -> tuple[int, Any]:
        """The status and the document of the response, or the bytes of a state. Raises ApiError."""
        self.requests.append(f"{method} {path}")
        if path == "/api/v2/ping":
            return 204, None
        for pattern, route in self._routes().items():
            if found := re.fullmatch(pattern, f"{method} {path}"):
                # Hosted URLs are secret, and requests to them have no token.
                if not path.startswith("/hosted/") and token != f"Bearer {self.token}":
                    raise ApiError(401, "unauthorized")
                return route(*found.groups(), body=body)
        raise ApiError(404, "not found")

    def _routes(self) -> dict[str, Callable[..., tuple[int, Any]]]:
        organization, workspace = rf"/api/v2/organizations/{ORGANIZATION}", r"/api/v2/workspaces/([^/]+)"
        return {
            f"GET {organization}/entitlement-set": self._entitlements,
            f"GET {organization}/workspaces/([^/]+)": self._read_workspace,
            f"POST {organization}/workspaces": self._create_workspace,
            f"PATCH {workspace}": self._update_workspace,
            f"POST {workspace}/actions/(lock|unlock|force-unlock)": self._lock,
            f"POST {workspace}/state-versions": self._create_version,
            f"GET {workspace}/current-state-version": self._current,
            f"GET {workspace}/current-state-version-outputs": self._outputs,
            "GET /api/v2/state-versions/([^/]+)": lambda version_id, body: (200, self._version(self._find(version_id))),
            "PUT /hosted/([^/]+)/state": self._upload,
            "PUT /hosted/[^/]+/json": lambda body: (200, b""),
            "GET /hosted/([^/]+)/state": lambda version_id, body: (200, self._find(version_id).raw or b""),
        }

    def _entitlements(self, body: bytes) -> tuple[int, Any]:
        attributes = {"operations": True, "state-storage": True, "private-module-registry": True, "teams": False}
        return 200, _resource("entitlement-sets", ORGANIZATION, attributes)

    def _read_workspace(self, name: str, body: bytes) -> tuple[int, Any]:
        if name not in self.workspaces:
            raise ApiError(404, "not found")
        return 200, _workspace(self.workspaces[name])

    def _create_workspace(self, body: bytes) -> tuple[int, Any]:
        name = _attributes(body)["name"]
        if name in self.workspaces:
            raise ApiError(422, "Name has already been taken")
        return 201, _workspace(self.workspace(name))

    def _update_workspace(self, workspace_id: str, body: bytes) -> tuple[int, Any]:
        workspace = self._by_id(workspace_id)
        workspace.terraform_version = _attributes(body).get("terraform-version", workspace.terraform_version)
        return 200, _workspace(workspace)

    def _lock(self, workspace_id: str, action: str, body: bytes) -> tuple[int, Any]:
        workspace = self._by_id(workspace_id)
        if action == "lock":
            workspace.lock()
        else:
            workspace.unlock()
        return 200, _workspace(workspace)

    def _create_version(self, workspace_id: str, body: bytes) -> tuple[int, Any]:
        return 201, self._version(self._by_id(workspace_id).add(_attributes(body)))

    def _current(self, workspace_id: str, body: bytes) -> tuple[int, Any]:
        return 200, self._version(self._by_id(workspace_id).current)

    def _outputs(self, workspace_id: str, body: bytes) -> tuple[int, Any]:
        versions = reversed(self._by_id(workspace_id).versions)
        version = next((version for version in versions if version.processed), None)
        if version is None:
            raise ApiError(404, "not found")
        return 200, {
            "data": [
                _resource(
                    "state-version-outputs",
                    f"wsout-{version.id}-{name}",
                    {
                        "name": name,
                        "detailed-type": output["type"],
                        "sensitive": output["sensitive"],
                        "value": output["value"],
                    },
                )["data"]
                for name, output in version.outputs.items()
            ]
        }

    def _upload(self, version_id: str, body: bytes) -> tuple[int, Any]:
        self._find(version_id).finalize(body)
        return 200, b""

    def _by_id(self, workspace_id: str) -> Workspace:
        for workspace in self.workspaces.values():
            if workspace.id == workspace_id:
                return workspace
        raise ApiError(404, "not found")

    def _find(self, version_id: str) -> StateVersion:
        for workspace in self.workspaces.values():
            for version in workspace.versions:
                if version.id == version_id:
                    return version
        raise ApiError(404, "not found")

    def _version(self, version: StateVersion) -> dict[str, Any]:
        hosted = f"{self.url}/hosted/{version.id}"
        pending = version.raw is None
        attributes = {
            "created-at": "2026-01-01T00:00:00Z",
            "serial": version.serial,
            "status": "pending" if pending else "finalized",
            "resources-processed": version.processed,
            "hosted-state-upload-url": f"{hosted}/state" if pending else None,
            "hosted-json-state-upload-url": f"{hosted}/json" if pending else None,
            "hosted-state-download-url": None if pending else f"{hosted}/state",
        }
        return _resource("state-versions", version.id, attributes)


def _workspace(workspace: Workspace) -> dict[str, Any]:
    attributes = {
        "name": workspace.name,
        "execution-mode": "local",
        "operations": False,
        "locked": workspace.locked,
        "terraform-version": workspace.terraform_version,
        "permissions": dict.fromkeys(_ALLOWED, True),
    }
    owner = {"organization": {"data": {"type": "organizations", "id": ORGANIZATION}}}
    return _resource("workspaces", workspace.id, attributes, owner)


def _resource(kind: str, identity: str, attributes: Any, relationships: Any = None) -> dict[str, Any]:
    document = {"type": kind, "id": identity, "attributes": attributes, "relationships": relationships or {}}
    return {"data": document}


def _attributes(body: bytes) -> dict[str, Any]:
    attributes: dict[str, Any] = json.loads(body)["data"]["attributes"]
    return attributes


def _handler(stand_in: HcpStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            try:
                with stand_in.guard:
                    status, answer = stand_in.answer(self.command, path, body, self.headers.get("Authorization", ""))
            except ApiError as error:
                status, answer = error.status, {"errors": [{"status": str(error.status), "title": str(error)}]}
            content = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", _TYPE)
            self.send_header("Content-Length", str(len(content)))
            for name, value in (("TFP-API-Version", "2.6"), ("TFP-AppName", "HCP Terraform")):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_PUT = _serve  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing: tests read `requests`."""

    return Handler


@contextmanager
def serving() -> Iterator[HcpStandIn]:
    """Run a stand-in on a free loopback port until the end of the block."""
    stand_in = HcpStandIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(stand_in))
    server.daemon_threads = True
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, name="hcp", daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
