"""The commands refuse what cannot be: one message, exit status 2, no traceback, and no AWS asked."""

import io
import json
import os
from pathlib import Path

import pytest
from invoke import Executor
from invoke.main import program
from invoke.program import Program

import tasks
from commands.command_line import flags

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cb.search", "-d", "abc"], "'abc' is not a whole number"),
        (["cb.search", "-d", "25"], "AWS sells no Capacity Block of 25 hours"),
        (["cb.search", "--count", "-1"], "'-1' is not a whole number"),
        (["cb.search", "-r", "xx-east-9"], "AWS has no region 'xx-east-9'"),
        (["cb.purchase"], "Missing option: --offering-id"),
        (["cb.describe"], "Missing option: --reservation-id"),
        (["cb.extend", "--reservation-id", "cr-0123456789abcdef0"], "Missing option: --duration"),
        (["cb.serch"], "did you mean 'cb.search'"),
        (["cb.serch", "--help"], "Unknown command 'cb.serch'"),
        (["cb.search", "--durtion", "24"], "did you mean '--duration'"),
        (["cb.search", "trn2.3xlarge"], "unexpected argument 'trn2.3xlarge'"),
        (["cb.search", "--type"], "--type needs a value"),
        (["--fast", "cb.list"], "no option --fast."),
        (["cb.load-params", "--output", "xml"], "no --output 'xml'"),
        (["deploy", "-r", "mars-1"], "Region 'mars-1' is not configured"),
        (["deploy", "--volume-size", "big"], "'big' is not a whole number"),
        (["deploy", "--volume-size", "3"], "volumeSize: 3 is less than the minimum"),
        (["deploy", "--allowed-ip", "1.2.3.4/8"], "not a CIDR block"),
        (["deploy"], "There is no state bucket yet"),
        (["deploy", "--show-info", "--destroy"], "--destroy cannot be combined with --show-info"),
        (["deploy", "--show-info", "--closed"], "--show-info cannot be combined with --closed"),
        (["deploy", "--delete-data"], "--delete-data requires --destroy"),
        (["deploy", "--closed", "--allowed-ip", "203.0.113.7"], "--closed and --allowed-ip are both given"),
        (["deploy", "--on-demand", "--use-capacity-block"], "--on-demand and a Capacity Block are both given"),
        (["deploy", "--allowed-ip", "0.0.0.0/0"], "would open the machine to everyone"),
        (["doctor", "--policy", "cb.purchas"], "did you mean 'cb.purchase'"),
        (["doctor", "--policy"], "--policy needs a value"),
        (["doctor", "--output", "xml"], "no output 'xml'"),
        (["setup", "--password", "a", "--random-password"], "Give only one of --secret-arn"),
        (["setup", "-i", "i-1", "--tag", "A=b"], "--instance-id or --tag, not both"),
        (["setup", "--tag", "A"], "is not KEY=VALUE"),
        (["setup", "--mode", "fast"], "Unknown --mode: 'fast'"),
        (["setup", "--output", "xml"], "Unknown --output: 'xml'"),
        (["setup", "--max-concurrency", "many"], "neither a number nor a percentage"),
        (["setup", "--start-from", "01", "--clean-state"], "Give only one of --start-from"),
        (["run-tasks"], "Missing option: --file."),
        (["run-tasks", "--file", "nope.json"], "Cannot read nope.json"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message, tmp_path, monkeypatch, capfd):
    settings = json.loads((ROOT / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "backend": {"type": "s3"}}))
    for name in os.environ:
        if name.startswith(("AWS_", "TORCHNEURON_")):
            monkeypatch.delenv(name)
    # Nothing listens on this port: a request to AWS would fail with another message.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("TORCHNEURON_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        program.run(["invoke", *arguments])
    shown = capfd.readouterr()
    assert message in shown.err
    assert ended.value.code == 2
    assert shown.out == ""


def test_help_explains_each_option(capsys):
    program.run(["invoke", "destroy", "--help"], exit=False)
    assert "Remove the data volumes as well" in capsys.readouterr().out


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


@pytest.fixture
def cannot_run(monkeypatch):
    """The running `invoke`, in this process, with no AWS and every command an error of the test."""

    def ran(self, *commands):
        raise AssertionError(f"ran {commands}")

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(Executor, "execute", ran)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            program.run(["invoke", *arguments])
        return ended.value.code

    return run


PURCHASE = ("cb.purchase", "--offering-id", "cb-0123456789abcdef0", "--yes")
VALUES = {
    "collection": "tasks",
    "command-timeout": "5",
    "config": "tasks.py",
    "hide": "both",
    "list-depth": "1",
    "list-format": "flat",
    "print-completion-script": "bash",
    "search-root": str(ROOT),
}
# Each ends without running a command. Before one, the first two take its name as their value.
BEFORE = {"help": ["cb.purchase"], "list": ["cb"], "complete": [], "version": [], "print-completion-script": ["bash"]}
AFTER = {"help", "list", "complete"}
OWN = {"-d", "-r"}
"""Letters that mean an option of cb.purchase behind it."""
CORE = [(argument.name, flag) for argument in program.initial_context.args.values() for flag in flags(argument)]


def with_value(option, flag):
    return [flag, VALUES[option]] if option in VALUES else [flag]


@pytest.mark.attack("A newcomer puts --dry, -e or another option of Invoke's before a purchase, and it is bought")
@pytest.mark.parametrize(("option", "flag"), CORE)
def test_an_option_of_invoke_s_own_before_a_command_works_or_is_refused(option, flag, cannot_run, capsys):
    if option in BEFORE:
        assert cannot_run(flag, *BEFORE[option], *([] if option in ("help", "list") else PURCHASE)) == 0
        return
    assert cannot_run(*with_value(option, flag), *PURCHASE) == 2
    assert f"invoke cb.purchase has no option {flag}. Nothing was run." in capsys.readouterr().err


@pytest.mark.attack("A newcomer adds --dry, -R, -c or another option of Invoke's to a purchase, and it is bought")
@pytest.mark.parametrize(("option", "flag"), [(option, flag) for option, flag in CORE if flag not in OWN])
def test_an_option_of_invoke_s_own_behind_a_command_works_or_is_refused(option, flag, cannot_run, capsys):
    assert cannot_run(*PURCHASE, *with_value(option, flag)) == (0 if option in AFTER else 2)
    assert option in AFTER or f"cb.purchase has no option {flag}. Nothing was run." in capsys.readouterr().err


@pytest.mark.attack("A newcomer hides --dry or --dry-run where Invoke ignores it")
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-yR"], "invoke cb.purchase has no option"),
        (["--yes", "--", "--dry-run"], "Unexpected arguments after --"),
        (["--yes", "--subnet-id", "--dry"], "has no option --subnet-id"),
        (["--yes", "--max-price", "--dry"], "--max-price needs a value; --dry is an option of Invoke"),
        (["--yes", "-T", "soon"], "Invalid command line"),
        (["--yes", "--dry", "cb.list"], "has no option --dry"),
        (["cb.list", "--dry"], "has no option --dry"),
        (["--list", "nothing"], "Sub-collection 'nothing' not found"),
    ],
)
def test_an_option_that_invoke_would_ignore_is_refused(more, message, cannot_run, capsys):
    assert cannot_run("cb.purchase", "--offering-id", "cb-0123456789abcdef0", *more) == 2
    assert message in capsys.readouterr().err


def test_a_refused_option_says_what_to_run(cannot_run, capsys):
    cannot_run("cb.purchase", "--dry")
    assert "invoke cb.purchase --dry-run" in capsys.readouterr().err
    cannot_run("-r", str(ROOT), "cb.list")
    assert "Put options after the command: invoke cb.list -r …" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--list"], "cb.purchase"),
        (["--list", "cb", "--list-format", "json"], '"name"'),
        (["--help", "deploy"], "--use-capacity-block"),
        (["deploy", "--help"], "--use-capacity-block"),
        (["--version"], "Invoke "),
        (["--complete", "--", "invoke", "cb.search", "--dur"], "--duration"),
        (["--complete", "--", "invoke"], "cb.search"),
        (["--print-completion-script", "bash"], "complete"),
        ([], "Usage: inv"),
    ],
)
def test_what_ends_without_running_a_command_still_works(arguments, message, cannot_run, capsys):
    assert cannot_run(*arguments) == 0
    assert message in capsys.readouterr().out
