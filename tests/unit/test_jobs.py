"""The command lines that resume, and what is refused before anything is made."""

import dataclasses
import json
import shlex

import pytest

from tests.unit.setup_support import task, write_task_file
from torchneuron import code_server, config, jobs, passwords
from torchneuron.code_server import RunOptions
from torchneuron.errors import InputError
from torchneuron.jobs import PasswordSource, run_tasks_again, setup_again
from torchneuron.setup import definition

OPTIONS = RunOptions("i-0123456789abcdef0", clean_state=True)
TARGET = "-i i-0123456789abcdef0 -r sa-east-1"
PATTERNS = json.loads(code_server.TASK_FILE.read_text())["variables"]


@pytest.mark.parametrize(
    ("source", "end"),
    [
        (PasswordSource(), ""),
        (PasswordSource(secret_arn="arn:aws:x:secret:y"), " --secret-arn arn:aws:x:secret:y"),
        (PasswordSource(password="not to be shown"), " --password"),
        (PasswordSource(password=True), " --password"),
        (
            PasswordSource(random=True),
            " --password\n(The password it asks for is the one shown above.)",
        ),
    ],
)
def test_a_setup_is_resumed_with_the_password_it_had(source, end):
    assert setup_again(OPTIONS, source, "sa-east-1") == f"invoke setup {TARGET}{end}"


def test_what_was_left_out_stays_out_when_resuming():
    again = setup_again(dataclasses.replace(OPTIONS, start_from="05"), PasswordSource(), "sa-east-1")
    assert again == f"invoke setup {TARGET} --start-from 05"


def test_a_task_file_is_resumed_with_its_variables_and_no_secret(tmp_path):
    (tmp_path / "my tasks").mkdir()
    path = write_task_file(tmp_path / "my tasks", [task("01-a")], {"NAME": "x", "TOKEN": {"secret": True}})
    given = {"NAME": "it's two words", "TOKEN": "hush"}
    again = run_tasks_again(OPTIONS, definition.load(path), given, "sa-east-1")
    line, note = again.splitlines()
    assert shlex.split(line)[2:4] == ["--file", str(path)]
    assert shlex.split(line)[-4:] == ["--var", "NAME=it's two words", "--var", "TOKEN=…"]
    assert TARGET in line
    assert "hush" not in again
    assert "secret" in note


def test_a_dry_run_makes_no_password(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(config.CONFIG_VARIABLE, str(write_settings(tmp_path)))
    monkeypatch.setattr(passwords, "random_password", lambda: pytest.fail("a password was made"))
    jobs.set_up("sa-east-1", RunOptions("i-0123456789abcdef0", dry_run=True), PasswordSource(random=True))
    told = capsys.readouterr()
    assert "A dry run makes no password" in told.err
    assert "17-verify-installation: would run" in told.out
    assert "shown this once" not in told.out + told.err


@pytest.mark.parametrize(
    "refused",
    [{"home_folder": "/home"}, {"home_folder": "/data//x"}, {"code_server_user": "root"}],
)
def test_the_setups_own_refusals_are_known_before_there_is_a_machine(refused):
    settings = config.load(config.PROJECT_ROOT / "config.json")
    code_server.check(settings)
    with pytest.raises(InputError, match=r"variables for code-server-setup\.json are refused"):
        code_server.check(dataclasses.replace(settings, **refused))


def test_deploy_asks_the_setup_before_terraform(tmp_path, monkeypatch):
    """The way there: a task file that wants more than there is, and no Terraform to be found."""
    monkeypatch.setenv(config.CONFIG_VARIABLE, str(write_settings(tmp_path)))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(code_server, "TASK_FILE", write_task_file(tmp_path, [task("01-a")], {**PATTERNS, "MORE": {}}))
    with pytest.raises(InputError, match="MORE: has no value"):
        jobs.deploy_and_set_up({"region": "sa-east-1"}, skip_setup=False, allow_replace=False, release_data=False)
    assert not (tmp_path / "cdktf.out").exists()


def write_settings(folder):
    document = json.loads((config.PROJECT_ROOT / "config.json").read_text())
    document.update(backend={"type": "local"}, stateDir="state")
    path = folder / "config.json"
    path.write_text(json.dumps(document))
    return path
