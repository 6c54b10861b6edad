"""The password is nowhere but in Secrets Manager, after the whole main job: everything it wrote or sent is searched."""

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

NASTY = "p\"a<ss & 'wö/rd+="


@pytest.fixture(scope="module")
def places(machine):
    """All of it, by where it is."""
    found = {"what deploy printed": machine.told.encode(), **machine.seen}
    found.update(leaks.on_aws(machine.sandbox, REGION))
    found.update(leaks.in_files(machine.sandbox.folder))
    found.update(leaks.on_machine(machine.on_host("hostname").strip()))
    return found


@pytest.fixture(scope="module")
def hashes(places):
    """Both hashes of the password, as they are on the machine: code-server's is a login."""
    config = places["on the machine: /work/.config/code-server/config.yaml"].decode()
    shadow = places["on the machine: /etc/shadow"].decode()
    return {
        "code-server's": re.search(r"^hashed-password: '(.+)'$", config, re.MULTILINE)[1],
        "the account's": re.search(r"^coder:([^:]+):", shadow, re.MULTILINE)[1],
    }


def test_the_password_is_nowhere_it_should_not_be(machine, places):
    assert leaks.search(places, machine.password) == []


@pytest.mark.attack("takes code-server's hash, which is a login, from a document, a command, a log or a state")
def test_the_hashes_are_in_their_files_on_the_machine_alone(places, hashes):
    own = {
        "on the machine: /etc/shadow",
        "on the machine: /etc/shadow-",
        "on the machine: /work/.config/code-server/config.yaml",
    }
    for one in hashes.values():
        found = {where.rpartition(": ")[0] for where in leaks.search(places, one)}
        assert found - own == set()
        # Nor the part that the salt and the password make.
        assert {where.rpartition(": ")[0] for where in leaks.search(places, one.rpartition("$")[2])} - own == set()


@pytest.mark.attack("logs in with a cookie made from what ssm get-document and list-commands show")
def test_nothing_that_ssm_keeps_opens_the_editor(machine, places):
    told = b"\n".join(text for place, text in places.items() if place.startswith(("SSM document", "SSM command")))
    assert b"05-create-user" in told
    for cookie in re.findall(rb"\$argon2[a-z]*\$[A-Za-z0-9+/=,$]+", told) or [machine.password.encode()]:
        assert upgrade_to_websocket(machine.port, f"code-server-session={quote(cookie)}") != 101


def test_all_of_it_was_searched(machine, places):
    for one in (
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
        assert any(place.startswith(one) for place in places), one
    assert any(place.endswith("torchneuron.tfplan: tfplan") for place in places)
    for program in (b"terraform apply", b"invoke deploy", b"nginx: master process", b"useradd", b"code-server"):
        assert program in places["process arguments"]
    # The account and the editor have it, as hashes.
    assert b"coder:$" in places["on the machine: /etc/shadow"]
    assert b"$argon2id$" in places["on the machine: /work/.config/code-server/config.yaml"]


@pytest.mark.parametrize(
    "written",
    [
        NASTY.encode(),
        base64.b64encode(NASTY.encode()),
        base64.b64encode(b'{"password": "' + NASTY.encode() + b'", "user": "coder"}'),
        base64.urlsafe_b64encode(b"x:" + NASTY.encode() + b"."),
        urllib.parse.quote(NASTY).replace("/", "%2F").encode(),
        urllib.parse.urlencode({"password": NASTY}).encode(),
        json.dumps({"password": NASTY}).encode(),
        json.dumps({"commands": json.dumps([NASTY])}).encode(),
        b'{"password":"p\\"a\\u003css \\u0026 \'w\\u00f6/rd+="}',
        html.escape(NASTY).encode(),
    ],
)
def test_every_form_of_it_is_found(written):
    assert leaks.search({"there": b"before " + written + b" after"}, NASTY)
    assert leaks.search({"there": b"before " + written + b" after"}, "another secret") == []


def test_what_is_packed_in_a_plan_is_found(tmp_path):
    with zipfile.ZipFile(tmp_path / "torchneuron.tfplan", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("tfplan", f"x{NASTY}x")
    found = leaks.search(dict(leaks.in_files(tmp_path)), NASTY)
    assert any(one.startswith(f"{tmp_path}/torchneuron.tfplan: tfplan: plain") for one in found)
