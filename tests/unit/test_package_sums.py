"""The sum of code-server's package is that of the first installation, on every machine set up from here."""

import dataclasses
import json

import pytest

from torchneuron.core import config
from torchneuron.core.errors import InputError, SetupError
from torchneuron.setup import code_server
from torchneuron.setup.steps import Outcome

FIRST, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def settings(tmp_path):
    return dataclasses.replace(config.load(config.PROJECT_ROOT / "config.json"), state_dir=tmp_path / "state")


def installed(sum_, instance_id="i-1", architecture="amd64", version="4.139.1"):
    said = f"code-server {version} is installed ({architecture}, SHA-256 {sum_})"
    return Outcome(instance_id, last_lines={code_server.INSTALL_TASK: said})


def values(settings):
    return code_server.variables(settings, code_server.NO_PASSWORD)


def test_later_machines_get_the_first_sum(settings):
    assert values(settings)["FIRST_SHA256"] == ""
    code_server.record_sums(settings, [installed(FIRST), installed(OTHER, architecture="arm64")])
    assert values(settings)["FIRST_SHA256"] == f"amd64={FIRST} arm64={OTHER}"
    code_server.check(settings)
    code_server.record_sums(settings, [installed(OTHER, version="4.140.0")])
    assert code_server.known_sums(settings) == {"amd64": FIRST, "arm64": OTHER}
    assert values(dataclasses.replace(settings, code_server_version="4.140.0"))["FIRST_SHA256"] == f"amd64={OTHER}"


@pytest.mark.attack("serves a later machine a different package of code-server")
def test_different_sum_is_an_error_and_not_recorded(settings):
    code_server.record_sums(settings, [installed(FIRST)])
    with pytest.raises(SetupError, match="i-2 has a different code-server") as refused:
        code_server.record_sums(settings, [installed(FIRST, "i-3"), installed(OTHER, "i-2")])
    assert {FIRST, OTHER} <= set(refused.value.why.replace(";", " ").replace(".", " ").split())
    assert code_server.known_sums(settings) == {"amd64": FIRST}


@pytest.mark.attack("serves the machines of one fleet different packages of code-server")
def test_machines_of_one_run_are_compared(settings):
    with pytest.raises(SetupError, match="i-2 has a different code-server"):
        code_server.record_sums(settings, [installed(FIRST), installed(OTHER, "i-2")])


@pytest.mark.parametrize("said", ["", "code-server 4.139.1 is installed", f"code-server is installed {FIRST}"])
def test_output_without_a_sum_is_ignored(settings, said):
    code_server.record_sums(settings, [Outcome("i-1", last_lines={code_server.INSTALL_TASK: said}), Outcome("i-2")])
    assert not settings.state_dir.exists()


@pytest.mark.parametrize("held", ["[]", json.dumps({"4.139.1": FIRST}), "{"])
def test_damaged_file_is_refused(settings, held):
    settings.state_dir.mkdir()
    (settings.state_dir / "code-server-packages.json").write_text(held)
    with pytest.raises(InputError, match=r"code-server-packages\.json"):
        code_server.known_sums(settings)
