"""The commands refuse what cannot be: one message, exit status 2, no traceback, and no AWS asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.program import Program

import tasks

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["cb.search", "-d", "abc"], "'abc' is not a whole number"),
        (["cb.search", "-d", "25"], "AWS sells no Capacity Block of 25 hours"),
        (["cb.search", "--count", "-1"], "'-1' is not a whole number"),
        (["cb.search", "-r", "xx-east-9"], "AWS has no region 'xx-east-9'"),
        (["cb.purchase"], "--offering-id is missing"),
        (["cb.describe"], "--reservation-id is missing"),
        (["cb.extend", "--reservation-id", "cr-0123456789abcdef0"], "--duration is missing"),
        (["cb.serch"], "did you mean 'cb.search'"),
        (["cb.serch", "--help"], "There is no command 'cb.serch'"),
        (["cb.search", "--durtion", "24"], "did you mean '--duration'"),
        (["cb.search", "trn2.3xlarge"], "'trn2.3xlarge' is neither the value of an option nor a command"),
        (["cb.search", "--type"], "--type needs a value"),
        (["--fast", "cb.list"], "no option --fast of its own"),
        (["cb.load-params", "--output", "xml"], "no output 'xml'"),
        (["deploy", "-r", "mars-1"], "Region 'mars-1' is not configured"),
        (["deploy", "--volume-size", "big"], "'big' is not a whole number"),
        (["deploy", "--volume-size", "3"], "volumeSize: 3 is less than the minimum"),
        (["deploy", "--allowed-ip", "1.2.3.4/8"], "not a CIDR block"),
        (["deploy"], "There is no state bucket yet"),
        (["deploy", "--show-info", "--destroy"], "--destroy has no use for --show-info"),
        (["deploy", "--show-info", "--closed"], "--show-info has no use for --closed"),
        (["deploy", "--delete-data"], "without --destroy has no use for --delete-data"),
        (["deploy", "--closed", "--allowed-ip", "203.0.113.7"], "--closed and --allowed-ip are both given"),
        (["deploy", "--on-demand", "--use-capacity-block"], "--on-demand and a Capacity Block are both given"),
        (["deploy", "--allowed-ip", "0.0.0.0/0"], "would open the machine to everyone"),
        (["doctor", "--policy", "cb.purchas"], "did you mean 'cb.purchase'"),
        (["doctor", "--policy"], "--policy needs a value"),
        (["doctor", "--output", "xml"], "no output 'xml'"),
        (["setup", "--password", "a", "--random-password"], "not several"),
        (["setup", "-i", "i-1", "--tag", "A=b"], "--instance-id or --tag, not both"),
        (["setup", "--tag", "A"], "is not KEY=VALUE"),
        (["setup", "--mode", "fast"], "no --mode 'fast'"),
        (["setup", "--output", "xml"], "no --output 'xml'"),
        (["setup", "--max-concurrency", "many"], "neither a number nor a percentage"),
        (["setup", "--start-from", "01", "--clean-state"], "not several"),
        (["run-tasks"], "--file is missing"),
        (["run-tasks", "--file", "nope.json"], "Cannot read nope.json"),
    ],
)
def test_what_cannot_be_is_refused(arguments, told, tmp_path):
    settings = json.loads((ROOT / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "backend": {"type": "s3"}}))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TORCHNEURON_"))}
    # Nobody listens there: an AWS that is asked all the same would be an error of another kind.
    environment.update(AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
    environment["TORCHNEURON_CONFIG"] = str(tmp_path / "config.json")
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told in done.stderr
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", sorted(tasks.namespace.task_names))
def test_every_command_explains_itself(name, capsys):
    """An option without a default would take `--help` for its value."""
    Program(namespace=tasks.namespace).run(["invoke", name, "--help"], exit=False)
    shown = capsys.readouterr()
    assert "Docstring:" in shown.out
    assert shown.err == ""


def test_a_letter_means_the_same_option_everywhere_or_nothing():
    given = {
        "r": "region",
        "t": "type",
        "d": "duration",
        "i": "instance-id",
        "s": "secret-arn",
        "y": "yes",
        "o": "output",
    }
    for name in tasks.namespace.task_names:
        for argument in tasks.namespace[name].get_arguments():
            for letter in argument.names[1:]:
                assert (name, given[letter]) == (name, argument.names[0])
