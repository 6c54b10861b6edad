"""The output of invoke info, as text and as JSON."""

import dataclasses
import json
from typing import Any

import pytest

from tests.unit import golden
from tests.unit.capacity_fakes import NOW, REGION, ZONE, reservation
from torchneuron.aws.ec2 import Instance
from torchneuron.capacity_blocks import reservations
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.core import config
from torchneuron.deploy import view
from torchneuron.deploy.inventory import Deployed
from torchneuron.setup.state import Finished, State, StateStore

RAW: Any = reservation("cr-0123456789abcdef0", "active", StartDate=NOW, TotalInstanceCount=3)
BLOCK = reservations.from_aws(RAW, REGION, seen=NOW)
ON_BLOCK = Instance(
    "i-00000000000000001", "trn2.3xlarge", "running", zone=ZONE, public_dns="ec2-1.example", reservation_id=BLOCK.id
)
UNREADABLE = dataclasses.replace(ON_BLOCK, instance_id="i-00000000000000002", reservation_id="cr-0123456789abcdef1")
ON_DEMAND = Instance("i-00000000000000003", "inf2.xlarge", "pending", zone=ZONE)
BLOCKS: dict[str, Reservation | str] = {
    BLOCK.id: BLOCK,
    UNREADABLE.reservation_id: "Could not look up cr-0123456789abcdef1.",
}
DEPLOYMENTS = {
    "on-a-block": Deployed(
        REGION, (ON_BLOCK,), "sg-1", "arn:secret", ("vol-1",), open_to=("203.0.113.7/32",), blocks=BLOCKS
    ),
    "several": Deployed(
        REGION, (ON_BLOCK, UNREADABLE), "sg-1", "arn:secret", lost=("i-00000000000000009",), blocks=BLOCKS
    ),
    "by-tags": Deployed(REGION, (ON_DEMAND,), "", "", from_state=False),
}


@pytest.fixture
def settings(tmp_path):
    """Settings, with a local record of a setup of the first instance that finished two tasks."""
    settings = dataclasses.replace(
        config.load(config.PROJECT_ROOT / "config.json"), state_dir=tmp_path, nginx_port=8443
    )
    done = Finished("digest", "command", "2026-01-10T09:00:00+00:00")
    tasks = ("01-configure-needrestart", "02-cleanup-neuron-repo", "a-task-of-an-older-version")
    StateStore(tmp_path, ON_BLOCK.instance_id).save(State(finished=dict.fromkeys(tasks, done)))
    return settings


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_text_output(name, settings, in_zone):
    in_zone("BRT+3")
    printed = golden.printed(lambda: view.show(DEPLOYMENTS[name], settings))
    golden.check(f"info-{name}.txt", printed, folder="deployment")


def test_https_changes_the_url_and_not_the_port_forwarding(settings):
    encrypted = dataclasses.replace(settings, tls="self-signed")
    printed = golden.printed(lambda: view.show(DEPLOYMENTS["on-a-block"], encrypted))
    plain = golden.printed(lambda: view.show(DEPLOYMENTS["on-a-block"], settings))
    as_https = plain.replace("http://ec2-1.example:8443", "https://ec2-1.example")
    assert as_https.replace("at port 8443", "at port 8443 and 443") == printed != plain
    as_json = golden.printed(lambda: view.show_json(DEPLOYMENTS["on-a-block"], encrypted))
    assert json.loads(as_json)["instances"][0]["url"] == "https://ec2-1.example"


@pytest.mark.parametrize(
    ("open_to", "shown"),
    [
        (("203.0.113.7/32", "2001:db8::/64"), "203.0.113.7/32, 2001:db8::/64, at port 8443"),
        (("0.0.0.0/0",), "everyone on the internet: 0.0.0.0/0, at port 8443"),
        (("0.0.0.0/1", "128.0.0.0/1", "sg-2"), "everyone on the internet: 0.0.0.0/1, 128.0.0.0/1, sg-2, at port 8443"),
    ],
)
def test_sources_are_listed_with_a_warning_over_plain_http(settings, open_to, shown, capsys):
    opened = dataclasses.replace(DEPLOYMENTS["several"], open_to=open_to)
    view.show(opened, settings)
    output = capsys.readouterr()
    assert f"open to         {shown}\n" in output.out
    assert "open over plain HTTP: anyone on the network path can read the password" in output.err
    view.show(opened, dataclasses.replace(settings, tls="self-signed"))
    output = capsys.readouterr()
    assert f"{shown} and 443\n" in output.out
    assert output.err == ""
    view.show(DEPLOYMENTS["several"], settings)
    output = capsys.readouterr()
    assert "open to" not in output.out + output.err


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_json_output(name, settings):
    printed = golden.printed(lambda: view.show_json(DEPLOYMENTS[name], settings))
    golden.check(f"info-{name}.json", printed, folder="deployment")
