"""The command lines that resume, and what is refused before anything is made."""

import dataclasses
import json
import shlex

import pytest

from tests.unit.setup_support import task, write_task_file
from torchneuron.core import config
from torchneuron.core.errors import InputError
from torchneuron.deploy import lifecycle
from torchneuron.deploy.machine_setup import Targets, resume_run_tasks, resume_setup
from torchneuron.deploy.options import DeployOptions
from torchneuron.setup import code_server, definition
from torchneuron.setup.passwords import PasswordSource
from torchneuron.setup.plan import TaskSelection
from torchneuron.setup.run import DispatchOptions
from torchneuron.setup.task_runs import RunOptions

MACHINES = Targets(("i-0123456789abcdef0",), region="sa-east-1")
CLEAN = RunOptions(TaskSelection(clean=True))
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
            " --password\n(At the prompt, enter the password shown above.)",
        ),
    ],
)
def test_a_setup_is_resumed_with_the_password_it_had(source, end):
    assert resume_setup(MACHINES, CLEAN, source, own=False).again == f"invoke setup {TARGET}{end}"


def test_a_password_that_the_deployments_secret_has_is_not_asked_for_again():
    for source in (PasswordSource(password=True), PasswordSource(random=True)):
        assert resume_setup(MACHINES, CLEAN, source, own=True).again == f"invoke setup {TARGET}"


def test_what_was_left_out_stays_out_when_resuming():
    words = resume_setup(MACHINES, RunOptions(TaskSelection(start_from="05")), PasswordSource())
    assert words.again == f"invoke setup {TARGET} --start-from 05"
    assert words.after_failure("07-create-home-dir") == f"invoke setup {TARGET} --start-from 07-create-home-dir"
    assert words.cancel == f"invoke setup {TARGET} --cancel"


def test_a_fleet_is_resumed_as_it_was_named():
    options = RunOptions(dispatch=DispatchOptions("step", ("tag:Team", "ml ops"), "10", "5%"))
    words = resume_setup(Targets(tag="Team=ml ops", region="sa-east-1"), options, PasswordSource())
    rates = "--mode step --max-concurrency 10 --max-errors 5%"
    assert words.again == f"invoke setup --tag 'Team=ml ops' -r sa-east-1 {rates}"


def test_a_task_file_is_resumed_with_its_variables_and_no_secret(tmp_path):
    (tmp_path / "my tasks").mkdir()
    path = write_task_file(tmp_path / "my tasks", [task("01-a")], {"NAME": "x", "TOKEN": {"secret": True}})
    given = {"NAME": "it's two words", "TOKEN": "hush"}
    again = resume_run_tasks(MACHINES, RunOptions(), definition.load(path), given).again
    line, note = again.splitlines()
    assert shlex.split(line)[2:4] == ["--file", str(path)]
    assert shlex.split(line)[-4:] == ["--var", "NAME=it's two words", "--var", "TOKEN=…"]
    assert TARGET in line
    assert "hush" not in again
    assert "secret" in note


@pytest.mark.parametrize(
    "refused",
    [{"home_folder": "/home"}, {"home_folder": "/data//x"}, {"code_server_user": "root"}],
)
def test_the_setups_own_refusals_are_known_before_there_is_a_machine(refused):
    settings = config.load(config.PROJECT_ROOT / "config.json")
    code_server.check(settings)
    with pytest.raises(InputError, match=r"variables for code-server-setup\.json are invalid"):
        code_server.check(dataclasses.replace(settings, **refused))


def test_deploy_asks_the_setup_before_terraform(tmp_path, monkeypatch):
    """The way there: a task file that wants more than there is, and no Terraform to be found."""
    monkeypatch.setenv(config.CONFIG_VARIABLE, str(write_settings(tmp_path)))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(code_server, "TASK_FILE", write_task_file(tmp_path, [task("01-a")], {**PATTERNS, "MORE": {}}))
    with pytest.raises(InputError, match="MORE: has no value"):
        lifecycle.deploy(DeployOptions(region="sa-east-1"))
    assert not (tmp_path / "cdktf.out").exists()


def write_settings(folder):
    document = json.loads((config.PROJECT_ROOT / "config.json").read_text())
    document.update(backend={"type": "local"}, stateDir="state")
    path = folder / "config.json"
    path.write_text(json.dumps(document))
    return path
