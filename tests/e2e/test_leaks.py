"""After the main job, the password is only in Secrets Manager: all that the job wrote or sent is searched."""

import base64
import html
import json
import re
import urllib.parse
import zipfile
from urllib.parse import quote

import pytest

from rehearsal.scenarios.login import upgrade_to_websocket
from tests.e2e import leaks
from tests.e2e.conftest import REGION

DIFFICULT_PASSWORD = "p\"a<ss & 'wö/rd+="


@pytest.fixture(scope="module")
def places(machine):
    """All content that was written or sent, by place."""
    found = {"what deploy printed": machine.output.encode(), **machine.transient}
    found.update(leaks.on_aws(machine.sandbox, REGION))
    found.update(leaks.in_files(machine.sandbox.folder))
    found.update(leaks.on_machine(machine.on_host("hostname").strip()))
    return found


@pytest.fixture(scope="module")
def hashes(places):
    """The two hashes of the password on the machine. The one of code-server is sufficient to log in."""
    config = places["on the machine: /work/.config/code-server/config.yaml"].decode()
    shadow = places["on the machine: /etc/shadow"].decode()
    return {
        "code-server's": re.search(r"^hashed-password: '(.+)'$", config, re.MULTILINE)[1],
        "the account's": re.search(r"^coder:([^:]+):", shadow, re.MULTILINE)[1],
    }


def test_password_is_in_no_place(machine, places):
    assert leaks.search(places, machine.password) == []


@pytest.mark.attack(
    "takes code-server's hash, which is sufficient to log in, from a document, a command, a log or a state"
)
def test_hashes_are_only_in_their_files_on_the_machine(places, hashes):
    own = {
        "on the machine: /etc/shadow",
        "on the machine: /etc/shadow-",
        "on the machine: /work/.config/code-server/config.yaml",
    }
    for secret in hashes.values():
        found = {match.rpartition(": ")[0] for match in leaks.search(places, secret)}
        assert found - own == set()
        # The digest without its parameters and salt is not there either.
        digest = secret.rpartition("$")[2]
        assert {match.rpartition(": ")[0] for match in leaks.search(places, digest)} - own == set()


@pytest.mark.attack("logs in with a cookie made from the output of ssm get-document and list-commands")
def test_data_stored_in_ssm_does_not_log_in(machine, places):
    stored = b"\n".join(text for place, text in places.items() if place.startswith(("SSM document", "SSM command")))
    assert b"05-create-user" in stored
    for cookie in re.findall(rb"\$argon2[a-z]*\$[A-Za-z0-9+/=,$]+", stored) or [machine.password.encode()]:
        assert upgrade_to_websocket(machine.port, f"code-server-session={quote(cookie)}") != 101


def test_all_places_are_searched(machine, places):
    for prefix in (
        "SSM command ",
        "SSM invocation ",
        "SSM output of 05-create-user ",
        "SSM document torchneuron-",
        "SSM parameter /capacity-block/",
        "s3 torchneuron-code-server/sa-east-1/terraform.tfstate ",
        "EC2 template ",
        str(machine.sandbox.folder / "rehearsal.log"),
        str(machine.sandbox.folder / "state" / f"task-state-{machine.instance_id}.json"),
        "on the machine: /work/.config/code-server/config.yaml",
        "on the machine: /var/log/torchneuron/",
        "on the machine: /var/lib/amazon/ssm/",
    ):
        assert any(place.startswith(prefix) for place in places), prefix
    assert any(place.endswith("torchneuron.tfplan: tfplan") for place in places)
    for program in (b"terraform apply", b"invoke deploy", b"nginx: master process", b"useradd", b"code-server"):
        assert program in places["process arguments"]
    # The hashes of the account and the editor are found.
    assert b"coder:$" in places["on the machine: /etc/shadow"]
    assert b"$argon2id$" in places["on the machine: /work/.config/code-server/config.yaml"]


@pytest.mark.parametrize(
    "written",
    [
        DIFFICULT_PASSWORD.encode(),
        base64.b64encode(DIFFICULT_PASSWORD.encode()),
        base64.b64encode(b'{"password": "' + DIFFICULT_PASSWORD.encode() + b'", "user": "coder"}'),
        base64.urlsafe_b64encode(b"x:" + DIFFICULT_PASSWORD.encode() + b"."),
        urllib.parse.quote(DIFFICULT_PASSWORD).replace("/", "%2F").encode(),
        urllib.parse.urlencode({"password": DIFFICULT_PASSWORD}).encode(),
        json.dumps({"password": DIFFICULT_PASSWORD}).encode(),
        json.dumps({"commands": json.dumps([DIFFICULT_PASSWORD])}).encode(),
        b'{"password":"p\\"a\\u003css \\u0026 \'w\\u00f6/rd+="}',
        html.escape(DIFFICULT_PASSWORD).encode(),
    ],
)
def test_every_encoding_is_found(written):
    assert leaks.search({"there": b"before " + written + b" after"}, DIFFICULT_PASSWORD)
    assert leaks.search({"there": b"before " + written + b" after"}, "another secret") == []


def test_secret_inside_a_plan_is_found(tmp_path):
    with zipfile.ZipFile(tmp_path / "torchneuron.tfplan", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("tfplan", f"x{DIFFICULT_PASSWORD}x")
    found = leaks.search(dict(leaks.in_files(tmp_path)), DIFFICULT_PASSWORD)
    assert any(place.startswith(f"{tmp_path}/torchneuron.tfplan: tfplan: plain") for place in found)
