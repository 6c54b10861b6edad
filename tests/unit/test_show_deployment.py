"""What invoke info prints, whole, for a person and for a program."""

import dataclasses
import json
from typing import Any

import pytest

from tests.unit import golden
from tests.unit.capacity_fakes import NOW, REGION, ZONE, reservation
from torchneuron.capacity_blocks import reservations
from torchneuron.core import config
from torchneuron.deploy import view
from torchneuron.deploy.inventory import Deployed, Machine
from torchneuron.setup.state import Finished, State, StateStore

RAW: Any = reservation("cr-0123456789abcdef0", "active", StartDate=NOW, TotalInstanceCount=3)
BLOCK = reservations.from_aws(RAW, REGION, seen=NOW)
ON_BLOCK = Machine("i-00000000000000001", "trn2.3xlarge", "running", ZONE, "ec2-1.example", block=BLOCK)
UNREADABLE = dataclasses.replace(
    ON_BLOCK, instance_id="i-00000000000000002", block=None, block_unreadable="Could not look up cr-0123456789abcdef0."
)
ON_DEMAND = Machine("i-00000000000000003", "inf2.xlarge", "pending", ZONE, "")
DEPLOYMENTS = {
    "on-a-block": Deployed(REGION, (ON_BLOCK,), "sg-1", "arn:secret", ("vol-1",), open_to=("203.0.113.7/32",)),
    "several": Deployed(REGION, (ON_BLOCK, UNREADABLE), "sg-1", "arn:secret", lost=("i-00000000000000009",)),
    "by-tags": Deployed(REGION, (ON_DEMAND,), "", "", from_state=False),
}


@pytest.fixture
def settings(tmp_path):
    """Settings, and on this machine a setup of the first instance that has got to its second task."""
    settings = dataclasses.replace(
        config.load(config.PROJECT_ROOT / "config.json"), state_dir=tmp_path, nginx_port=8443
    )
    done = Finished("digest", "command", "2026-01-10T09:00:00+00:00")
    tasks = ("01-configure-needrestart", "02-cleanup-neuron-repo", "a-task-of-an-older-version")
    StateStore(tmp_path, ON_BLOCK.instance_id).save(State(finished=dict.fromkeys(tasks, done)))
    return settings


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_for_a_person(name, settings, in_zone):
    in_zone("BRT+3")
    printed = golden.printed(lambda: view.show(DEPLOYMENTS[name], settings))
    golden.check(f"info-{name}.txt", printed, folder="deployment")


def test_with_https_the_address_is_one_and_the_way_through_session_manager_stays(settings):
    encrypted = dataclasses.replace(settings, tls="self-signed")
    printed = golden.printed(lambda: view.show(DEPLOYMENTS["on-a-block"], encrypted))
    plain = golden.printed(lambda: view.show(DEPLOYMENTS["on-a-block"], settings))
    as_https = plain.replace("http://ec2-1.example:8443", "https://ec2-1.example")
    assert as_https.replace("at port 8443", "at port 8443 and 443") == printed != plain
    as_json = golden.printed(lambda: view.show_json(DEPLOYMENTS["on-a-block"], encrypted))
    assert json.loads(as_json)["instances"][0]["url"] == "https://ec2-1.example"


@pytest.mark.parametrize(
    ("open_to", "said"),
    [
        (("203.0.113.7/32", "2001:db8::/64"), "203.0.113.7/32, 2001:db8::/64, at port 8443"),
        (("0.0.0.0/0",), "everyone on the internet: 0.0.0.0/0, at port 8443"),
        (("0.0.0.0/1", "128.0.0.0/1", "sg-2"), "everyone on the internet: 0.0.0.0/1, 128.0.0.0/1, sg-2, at port 8443"),
    ],
)
def test_to_whom_it_is_open_is_said_with_a_warning_while_it_is_plain_http(settings, open_to, said, capsys):
    opened = dataclasses.replace(DEPLOYMENTS["several"], open_to=open_to)
    view.show(opened, settings)
    told = capsys.readouterr()
    assert f"open to         {said}\n" in told.out
    assert "open over plain HTTP: anyone on the way can read the password" in told.err
    view.show(opened, dataclasses.replace(settings, tls="self-signed"))
    told = capsys.readouterr()
    assert f"{said} and 443\n" in told.out
    assert told.err == ""
    view.show(DEPLOYMENTS["several"], settings)
    told = capsys.readouterr()
    assert "open to" not in told.out + told.err


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_for_a_program(name, settings):
    printed = golden.printed(lambda: view.show_json(DEPLOYMENTS[name], settings))
    golden.check(f"info-{name}.json", printed, folder="deployment")
