"""main.py as a program: what it reads, where it writes, how it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from stacks import one_off
from torchneuron.core.config import PROJECT_ROOT
from torchneuron.core.errors import InputError


@pytest.fixture
def run_main(tmp_path):
    """Runs main.py on a copy of the settings, with nothing of AWS in its environment."""
    shutil.copy(PROJECT_ROOT / "config.json", tmp_path / "config.json")

    def run(context=None, code=None, **variables):
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "PYTHONPATH": str(PROJECT_ROOT),
            "TORCHNEURON_CONFIG": str(tmp_path / "config.json"),
            **variables,
        }
        if context is not None:
            environment["CDKTF_CONTEXT_JSON"] = context if isinstance(context, str) else json.dumps(context)
        program = ["-c", code] if code else [str(PROJECT_ROOT / "main.py")]
        return subprocess.run(
            [sys.executable, *program],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


OFFLINE = """
import sys

def refuse(event, _):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise RuntimeError(f"synth went to the network: {event}")

sys.addaudithook(refuse)
import main
status = main.main()
loaded = {name.partition(".")[0] for name in sys.modules}
provider = {name.split(".")[1] for name in sys.modules if name.startswith("cdktf_cdktf_provider_aws.")}
print(sorted(loaded & {"boto3", "botocore", "invoke"}), len(provider))
sys.exit(status)
"""


def test_synth_is_offline_and_imports_little(run_main, tmp_path):
    """No credentials, no connection, no AWS client, and a dozen of the provider's modules, not 1,400."""
    run = run_main({"useCapacityBlock": True}, code=OFFLINE)
    assert run.returncode == 0, run.stderr
    clients, modules = run.stdout.strip().rsplit(" ", 1)
    assert clients == "[]"
    assert 10 < int(modules) < 20
    # Without CDKTF_OUTDIR it writes beside the settings, as their outputDir says.
    written = tmp_path / "cdktf.out" / "stacks" / "torchneuron-code-server" / "cdk.tf.json"
    assert "capacity-block" in written.read_text()
    # jsii's banner about Node versions would come before everything else.
    assert "end-of-life" not in run.stderr


def test_outdir_of_cdktf_is_honoured(run_main, tmp_path):
    run = run_main({"region": "us-east-2", "volumeSize": 800}, CDKTF_OUTDIR=str(tmp_path / "a" / "b"))
    assert run.returncode == 0, run.stderr
    text = (tmp_path / "a" / "b" / "stacks" / "torchneuron-code-server" / "cdk.tf.json").read_text()
    assert json.loads(text)["provider"]["aws"][0]["region"] == "us-east-2"
    assert '"volume_size": 800' in text


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"volumSize": 600}, "did you mean 'volumeSize'"),
        ({"region": "us-mars-1"}, "'us-mars-1' is not configured"),
        ({"volumeSize": "600"}, "volumeSize"),
        ({"allowedIps": ["300.1.2.3/32"]}, "'300.1.2.3/32' is not a CIDR block"),
        ({"capacityReservationId": "cr-0123456789abcdef0"}, "useCapacityBlock"),
        ({"allowedIps": ["0.0.0.0/0"], "openToWorld": True}, "--open-to-world needs HTTPS"),
        ("{useCapacityBlock: true}", "CDKTF_CONTEXT_JSON is not JSON"),
        ("[]", "not a JSON object"),
    ],
)
def test_bad_input_is_one_message_and_status_2(run_main, tmp_path, context, said):
    run = run_main(context)
    assert run.returncode == 2
    assert said in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "cdktf.out").exists()


def test_missing_settings_are_named(run_main, tmp_path):
    run = run_main(TORCHNEURON_CONFIG=str(tmp_path / "absent.json"))
    assert run.returncode == 2
    assert "absent.json" in run.stderr
    assert "Traceback" not in run.stderr


def test_keys_of_cdktf_itself_are_passed_over():
    context = {
        "cdktfRelativeModules": ["./"],
        "cdktfStaticModuleAssetHash": "x",
        "excludeStackIdFromLogicalIds": "true",
        "allowSepCharsInLogicalIds": "true",
        "volumeSize": 600,
    }
    assert one_off.read(json.dumps(context)) == {"volumeSize": 600}


@pytest.mark.parametrize("nothing", [None, "", "{}"])
def test_no_context_is_no_settings(nothing):
    assert one_off.read(nothing) == {}


def test_context_that_is_not_an_object_says_how_to_write_it():
    with pytest.raises(InputError) as refused:
        one_off.read("true")
    assert "useCapacityBlock" in refused.value.do
