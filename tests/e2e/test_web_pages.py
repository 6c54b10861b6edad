"""A web page in a developer's browser must not be able to use a running rehearsal."""

import json
import shutil
import threading
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from playwright.sync_api import sync_playwright

from tests.functional.light import REGION, light_fleet

OWN_MACHINE_ONLY = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
SCOPE = f"20260131/{REGION}/ssm/aws4_request"
PAGE = """<!doctype html><title>A page</title><script>
const results = [];
async function send(name, path, options) {
  try {
    const answer = await fetch(ENDPOINT + path, {method: "POST", ...options});
    results.push([name, answer.type === "opaque" ? "sent" : answer.status]);
  } catch (error) {
    results.push([name, "blocked"]);
  }
}
async function attack() {
  const plain = {mode: "no-cors", headers: {"Content-Type": "text/plain"}};
  const clock = JSON.stringify({advance_seconds: 864000});
  await send("clock, no-cors", "/_rehearsal/clock", {...plain, body: clock});
  await send("clock, cors", "/_rehearsal/clock", {headers: {"Authorization": "Bearer x"}, body: clock});
  await send("status", "/_rehearsal/status", {method: "GET"});
  const headers = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAREHEARSAL0000000/SCOPE, SignedHeaders=host, Signature=SUM",
    "X-Amz-Target": "AmazonSSM.SendCommand",
    "Content-Type": "application/x-amz-json-1.1",
  };
  await send("command, no-cors", "/", {...plain, body: COMMAND});
  await send("command, cors", "/", {headers, body: COMMAND});
  return results;
}
</script>"""


@pytest.fixture(scope="module")
def fleet():
    with light_fleet(1) as fleet:
        yield fleet


@pytest.fixture
def page_url(fleet):
    """The URL of the page, served from another origin on this machine."""
    send = {"DocumentName": "AWS-RunShellScript", "InstanceIds": fleet.instance_ids}
    send["Parameters"] = {"commands": ["touch /var/tmp/attacked"]}
    script = PAGE.replace("COMMAND", json.dumps(json.dumps(send))).replace("SCOPE", SCOPE).replace("SUM", "0" * 64)
    text = script.replace("ENDPOINT", json.dumps(fleet.sandbox.endpoint)).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.attack("uses the rehearsal from a web page of another origin, in Chromium")
def test_web_page_cannot_change_or_read_the_rehearsal(fleet, page_url):
    before = datetime.fromisoformat(fleet.sandbox.control("status")["clock"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=OWN_MACHINE_ONLY)
        try:
            page = browser.new_page()
            page.goto(page_url)
            results = dict(page.evaluate("attack()"))
        finally:
            browser.close()
    assert results == {
        "clock, no-cors": "sent",
        "clock, cors": "blocked",
        "status": "blocked",
        "command, no-cors": "sent",
        "command, cors": "blocked",
    }
    assert datetime.fromisoformat(fleet.sandbox.control("status")["clock"]) - before < timedelta(days=1)
    assert fleet.client("ssm").list_commands()["Commands"] == []
    assert fleet.shell("ls /var/tmp").split() == []
