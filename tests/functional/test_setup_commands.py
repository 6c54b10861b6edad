"""`invoke run-tasks` and `setup.logs` on machines that execute the tasks."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.functional.invoking import ROOT
from tests.functional.light import HELD, RAN, light_fleet, note
from tests.functional.support import eventually
from tests.unit.setup_support import task, write_task_file


@pytest.fixture(scope="module")
def fleet():
    with light_fleet(2) as made:
        yield made


@pytest.fixture
def invoke(fleet, tmp_path):
    """Runs `invoke …` in a process of its own, from a laptop without state files."""
    fleet.shell(f"rm -rf {RAN} {RAN}-on /var/lib/torchneuron /var/log/torchneuron", *fleet.instance_ids)
    settings = json.loads((fleet.sandbox.folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "stateDir": str(tmp_path / "state")}))
    environment = {**fleet.sandbox.environment, "TORCHNEURON_CONFIG": str(tmp_path / "config.json")}

    def start(*words):
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(*words, status=0):
        process = start(*words)
        out, err = process.communicate(timeout=600)
        assert process.returncode == status, err
        assert "Traceback" not in err
        return out, err

    run.start = start  # type: ignore[attr-defined]
    return run


@pytest.fixture
def faults(fleet):
    def set_(*rules):
        fleet.sandbox.control("faults", {"faults": list(rules)})

    yield set_
    set_()


@pytest.fixture
def file(tmp_path, request):
    """Writes a task file with ids that are unique to the test, because SSM keeps the history."""
    unique = re.sub(r"\W+", "-", request.node.name)[-30:]

    def write(*tasks, variables=None):
        named = [{**one, "id": f"{one['id']}-{unique}"} for one in tasks]
        return str(write_task_file(tmp_path, named, variables))

    return write


def where(fleet, number=0):
    return ["-i", fleet.instance_ids[number], "-r", "sa-east-1"]


def until_ran(fleet, what):
    eventually(lambda: what in fleet.shell(f"cat {RAN} 2>/dev/null || true").split())


def attach(fleet, invoke, *words):
    """Run a command that attaches to a run whose task is held, and then release that task."""
    process = invoke.start(*words)
    told = ""
    while "Attached to the setup under way" not in told:
        line = process.stderr.readline()
        assert line, told
        told += line
    fleet.release()
    _, rest = process.communicate(timeout=300)
    assert process.returncode == 0, told + rest


def test_standard_output_has_only_json_events(fleet, invoke, file):
    tasks = [task("01", note("a")), task("02", "false", optional=True), task("03", note("c"))]
    out, _ = invoke("run-tasks", "--file", file(*tasks), *where(fleet), "-o", "json")
    events = [json.loads(line) for line in out.splitlines()]
    assert [one["event"] for one in events if one["event"] != "task"] == ["planned", "sent", "ended"]
    last = {one["task"][:2]: one["status"] for one in events if one["event"] == "task"}
    assert last == {"01": "done", "02": "failed", "03": "done"}
    assert (events[-1]["succeeded"], len(events[-1]["failedOptional"])) == (True, 1)


def test_tasks_are_sent_one_by_one_without_permission_to_create_documents(fleet, invoke, file, faults):
    faults({"operation": "CreateDocument", "kind": "error", "code": "AccessDeniedException", "times": 10})
    _, err = invoke("run-tasks", "--file", file(task("01", note("a")), task("02", note("b"))), *where(fleet))
    assert "sending tasks one by one" in err
    assert fleet.ran() == ["a", "b"]
    _, err = invoke("run-tasks", "--file", file(task("03")), *where(fleet), "--mode", "document", status=2)
    assert "ssm:CreateDocument" in err or "CreateDocument is missing" in err


def test_lost_responses_do_not_stop_the_run(fleet, invoke, file, faults):
    faults(
        {"operation": "ListCommandInvocations", "kind": "lost-after", "times": 3, "skip": 3},
        {"operation": "SendCommand", "kind": "lost-after", "times": 1},
    )
    invoke("run-tasks", "--file", file(task("01", note("a"), "sleep 1"), task("02", note("b"))), *where(fleet))
    assert fleet.ran() == ["a", "b"]


def test_expired_credentials_end_the_watching_and_not_the_run(fleet, invoke, file, faults):
    written = file(task("01", note("a"), HELD), task("02", note("b")))
    process = invoke.start("run-tasks", "--file", written, *where(fleet))
    until_ran(fleet, "a")
    faults({"operation": "ListCommandInvocations", "kind": "error", "code": "ExpiredTokenException", "times": 1})
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "credentials have expired" in err
    assert f"The setup goes on, on {fleet.instance_ids[0]}" in err
    attach(fleet, invoke, "run-tasks", "--file", written, *where(fleet))
    assert fleet.ran() == ["a", "b"]


def test_ctrl_c_detaches_and_the_same_command_attaches_again(fleet, invoke, file):
    written = file(task("01", note("a"), HELD), task("02", note("b")))
    process = invoke.start("run-tasks", "--file", written, *where(fleet))
    until_ran(fleet, "a")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Stopped watching. The setup goes on" in err
    again = re.search(r"To watch it again: invoke (.*)", err)[1].split()
    attach(fleet, invoke, *again)
    assert fleet.ran() == ["a", "b"]


def test_run_cancelled_from_elsewhere_stops(fleet, invoke, file):
    written = file(task("01", note("a")), task("02", note("b"), HELD))
    process = invoke.start("run-tasks", "--file", written, *where(fleet))
    until_ran(fleet, "b")
    _, err = invoke("run-tasks", "--cancel", *where(fleet))
    assert "Cancelled. Finished tasks stay finished" in err
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "was cancelled" in err
    _, err = invoke("setup", "--cancel", *where(fleet))
    assert "Nothing is under way" in err


def test_command_that_waits_for_a_lost_agent_is_cancelled_and_does_not_run(fleet, invoke, file):
    control = {"instance_id": fleet.instance_ids[0]}
    fleet.sandbox.control("host", {**control, "do": "lose-agent"})
    process = invoke.start("run-tasks", "--file", file(task("01", note("a"))), *where(fleet))
    delayed = {"Filters": [{"key": "Status", "value": "Delayed"}]}
    eventually(lambda: fleet.client("ssm").list_command_invocations(**delayed)["CommandInvocations"])
    _, err = invoke("setup", "--cancel", *where(fleet))
    assert "Cancelled. Finished tasks stay finished" in err
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "was cancelled" in err
    fleet.sandbox.control("host", {**control, "do": "restore-agent"})
    assert fleet.ran() == []


def test_dry_run_sends_nothing_hides_secrets_and_knows_what_has_finished(fleet, invoke, file, tmp_path):
    variables = {"TOKEN": {"secret": True}}
    written = file(task("01", note("a")), task("02", '[ -n "$TOKEN" ]', note("b")), variables=variables)
    words = ["run-tasks", "--file", written, *where(fleet), "--var", "TOKEN=ssm:/team/token"]
    invoke(*words, "--only", "01")
    (tmp_path / "state" / "tasks" / f"task-state-{fleet.instance_ids[0]}.json").unlink()
    before = fleet.client("ssm").list_commands()["Commands"]
    out, _ = invoke(*words, "--dry-run")
    assert re.search(r"----- 01\S+: would be skipped \(finished\)", out)
    assert "secret TOKEN ssm:/team/token" in out
    assert "CreateDocument, SendCommand to" in out
    assert fleet.client("ssm").list_commands()["Commands"] == before
    step, _ = invoke(*words, "--dry-run", "--mode", "step")
    assert "(AWS-RunShellScript) for each task" in step


def test_fleet_by_tag_reports_which_machine_failed(fleet, invoke, file):
    broken = fleet.instance_ids[1]
    tasks = [task("01", note("a")), task("02", f'[ "$AWS_SSM_INSTANCE_ID" != {broken} ]', note("b"))]
    written = file(*tasks)
    _, err = invoke("run-tasks", "--file", written, "--tag", "Team=ml", "-r", "sa-east-1", status=1)
    assert "The setup failed on 1 of 2 machines." in err
    assert f"on {broken}." in err
    assert [fleet.ran(one) for one in fleet.instance_ids] == [["a", "b"], ["a"]]
    out, _ = invoke("setup.logs", "01", *where(fleet, 1))
    assert re.match(r"==> \S+ 01\S+ <==\n", out)
    _, err = invoke("setup.logs", "-i", ",".join(fleet.instance_ids), "-r", "sa-east-1", status=2)
    assert "There are several machines." in err


def test_logs_of_a_task_that_never_ran(fleet, invoke):
    _, err = invoke("setup.logs", "nothing", *where(fleet), status=2)
    assert "No task has run" in err


@pytest.mark.parametrize("mode", ["document", "step"])
def test_run_is_resumed_after_a_reboot(fleet, invoke, file, mode):
    once = f"if mkdir {RAN}-on 2>/dev/null; then sleep 600; fi"
    written = file(task("01", note("a")), task("02", note("b"), once), task("03", note("c")))
    words = ["run-tasks", "--file", written, *where(fleet), "--mode", mode]
    process = invoke.start(*words)
    until_ran(fleet, "b")
    fleet.sandbox.control("host", {"instance_id": fleet.instance_ids[0], "do": "reboot"})
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert f"{fleet.instance_ids[0]}, or its SSM agent, was restarted during the setup" in err
    invoke(*words, "--wait")
    assert fleet.ran() == ["a", "b", "b", "c"]


def test_machine_out_of_reach_for_a_while_finishes_and_reports_later(fleet, invoke, file):
    written = file(task("01", note("a"), "sleep 2"), task("02", note("b")))
    process = invoke.start("run-tasks", "--file", written, *where(fleet))
    until_ran(fleet, "a")
    fleet.sandbox.control("host", {"instance_id": fleet.instance_ids[0], "do": "lose-agent"})
    time.sleep(4)
    fleet.sandbox.control("host", {"instance_id": fleet.instance_ids[0], "do": "restore-agent"})
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert fleet.ran() == ["a", "b"]
