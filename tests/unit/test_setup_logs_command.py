"""`invoke setup.logs` takes its task without a name, wherever it stands."""

import pytest
from invoke.main import program

from torchneuron.core.config import PROJECT_ROOT
from torchneuron.deploy import machine_setup
from torchneuron.setup.options import LogsOptions

ID = "i-0123456789abcdef0"


@pytest.fixture
def shown(monkeypatch):
    calls: list[LogsOptions] = []
    monkeypatch.chdir(PROJECT_ROOT)
    monkeypatch.setattr(machine_setup, "show_logs", calls.append)

    def run(*words):
        program.run(["invoke", "setup.logs", *words], exit=False)
        (options,) = calls
        return options.instance_id, options.region, options.task, options.follow

    return run


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ((), "", "", False)),
        (("09",), ((), "", "09", False)),
        (("09", "-i", ID), ((ID,), "", "09", False)),
        (("-i", ID, "09"), ((ID,), "", "09", False)),
        (("-r", "sa-east-1", "09"), ((), "sa-east-1", "09", False)),
        (("--region=sa-east-1", "--follow", "09", "-i", ID), ((ID,), "sa-east-1", "09", True)),
        (("--task", "09", "-r", "sa-east-1"), ((), "sa-east-1", "09", False)),
        (("--task=09", "-r", "sa-east-1"), ((), "sa-east-1", "09", False)),
    ],
)
def test_task_is_read_before_and_after_options(shown, words, expected):
    assert shown(*words) == expected


def test_second_task_is_refused(shown, capfd):
    with pytest.raises(SystemExit):
        program.run(["invoke", "setup.logs", "09", "10"])
    assert "unexpected argument '10'" in capfd.readouterr().err
