"""A login to code-server as a browser makes it, over plain HTTP."""

from __future__ import annotations

import http.client
import urllib.parse
from dataclasses import dataclass


@dataclass(frozen=True)
class Login:
    """The response to a login. `session` is the session cookie, empty when the password was refused."""

    status: int
    session: str

    @property
    def accepted(self) -> bool:
        return self.status == 302 and bool(self.session)


def log_in(port: int, password: str) -> Login:
    """Send `password` to the login page on 127.0.0.1:`port`. Raises OSError when nothing answers.

    code-server allows two attempts a minute and twelve an hour.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = urllib.parse.urlencode({"password": password, "base": ".", "href": f"http://127.0.0.1:{port}/login"})
        connection.request("POST", "/login", body, {"Content-Type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        response.read()
        cookie = response.getheader("Set-Cookie") or ""
        return Login(response.status, cookie.split(";")[0] if "=" in cookie else "")
    finally:
        connection.close()


def upgrade_to_websocket(port: int, session: str) -> int:
    """The HTTP status of a websocket upgrade on 127.0.0.1:`port` with a session cookie: 101 when it works."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(
            "GET",
            "/?type=Management&reconnectionToken=00000000-0000-4000-8000-000000000000&skipWebSocketFrames=false",
            headers={
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dG9yY2huZXVyb24tY29kZQ==",
                "Origin": f"http://127.0.0.1:{port}",
                "Cookie": session,
            },
        )
        return connection.getresponse().status
    finally:
        connection.close()
