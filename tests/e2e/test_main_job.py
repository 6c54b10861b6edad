"""The result of the main job: a machine with code-server, no exposed secrets, and state to resume from."""

import json
import re
from pathlib import Path

from rehearsal.scenarios.login import log_in, upgrade_to_websocket
from tests.e2e.conftest import client

TASK_FILE = Path(__file__).resolve().parents[2] / "setup_tasks" / "code-server-setup.json"


def test_all_17_tasks_ran_and_are_in_the_state(machine):
    ids = [task["id"] for task in json.loads(TASK_FILE.read_text())["tasks"]]
    assert len(ids) == 17
    assert re.findall(r"(\S+) +done ", machine.output) == ids
    state = json.loads((machine.sandbox.folder / "state" / f"task-state-{machine.instance_id}.json").read_text())
    assert list(state["finished"]) == ids
    assert state["running"] is None


def test_machine_has_the_requested_debian_release(machine):
    assert f"VERSION_CODENAME={machine.suite}" in machine.on_host("cat /etc/os-release")


def test_instance_runs_on_the_block(machine):
    instances = client(machine.sandbox, "ec2").describe_instances(InstanceIds=[machine.instance_id])
    instance = instances["Reservations"][0]["Instances"][0]
    assert instance["InstanceLifecycle"] == "capacity-block"
    assert instance["CapacityReservationId"].startswith("cr-")
    assert instance["MetadataOptions"]["HttpTokens"] == "required"


def test_second_setup_and_second_deploy_change_nothing(machine):
    assert "17 already finished" in machine.invoke("setup")
    assert "Nothing to change." in machine.invoke("deploy", "--use-capacity-block", "--skip-setup")


def test_setup_can_start_from_a_prefix(machine):
    output = machine.invoke("setup", "--start-from", "17")
    assert re.findall(r"(\S+) +done ", output) == ["17-verify-installation"]


def test_dry_run_shows_the_scripts_and_no_secret(machine):
    output = machine.invoke("setup", "--dry-run", "--clean-state")
    assert "17 scripts checked with bash -n: no syntax errors." in output
    assert "nothing was sent" in output
    assert "$argon2id$" not in output
    assert machine.password not in output
    assert re.search(r"^  secret PASSWORD secretsmanager:arn:aws:\S+ \S+ \|\| return$", output, re.MULTILINE)


def test_custom_task_runs(machine, tmp_path):
    custom = {
        "variables": {"USER": "coder", "PASSWORD": "", "HOME_DIR": "/work"},
        "tasks": [
            {
                "id": "18-custom-task",
                "name": "Custom Task",
                "description": "…",
                "commands": ["echo 'Running custom task for user: {{USER}}'"],
            }
        ],
    }
    path = tmp_path / "custom.json"
    path.write_text(json.dumps(custom))
    output = machine.invoke("run-tasks", "--file", str(path))
    assert "Running custom task for user: coder" in output


def test_failing_task_is_reported_with_output_and_resume_command(machine, tmp_path):
    path = tmp_path / "failing.json"
    commands = ["echo looking", "ls /nowhere", "echo never"]
    path.write_text(json.dumps({"tasks": [{"id": "broken", "name": "Broken", "commands": commands}]}))
    output = machine.invoke_failing("run-tasks", "--file", str(path))
    assert "Task broken failed with status 2" in output
    assert "cannot access '/nowhere'" in output
    assert f"--instance-id {machine.instance_id} --plugin-name broken" in output
    assert f"invoke run-tasks --file {path} -i {machine.instance_id}" in output
    assert "Traceback" not in output


def test_login_accepts_only_the_password(machine):
    assert log_in(machine.port, machine.password).accepted
    assert not log_in(machine.port, "not-the-password").accepted


def test_nginx_forwards_websockets(machine):
    session = log_in(machine.port, machine.password).session
    assert upgrade_to_websocket(machine.port, session) == 101


def test_no_task_runs_after_a_timeout(machine, tmp_path):
    """SSM's `onFailure: exit` only stops at failures, not at time-outs."""
    path = tmp_path / "slow.json"
    tasks = [
        {"id": "slow-task", "name": "Slow", "commands": ["sleep 60"], "timeoutSeconds": 5},
        {"id": "next-task", "name": "Next", "commands": ["touch /tmp/next-task-ran"]},
    ]
    path.write_text(json.dumps({"tasks": tasks}))
    output = machine.invoke_failing("run-tasks", "--file", str(path))
    assert "Task slow-task timed out" in output
    assert "absent" in machine.on_host("ls /tmp/next-task-ran 2>/dev/null || echo absent")


def test_exit_status_with_a_meaning_for_the_agent_is_a_failure(machine, tmp_path):
    """The agent treats 168 as an order to skip the other steps and report success."""
    path = tmp_path / "words.json"
    tasks = [
        {"id": "word-task", "name": "Word", "commands": ["exit 168"]},
        {"id": "last-task", "name": "Last", "commands": ["true"]},
    ]
    path.write_text(json.dumps({"tasks": tasks}))
    output = machine.invoke_failing("run-tasks", "--file", str(path))
    assert "Task word-task failed with status 1" in output
    assert "the task ended with status 168" in output
    assert "last-task" not in re.findall(r"(\S+) +done ", output)
