"""What the main job leaves: a machine with code-server, secrets nowhere they should not be, state that resumes."""

import json
import re
from pathlib import Path

from rehearsal.scenarios.login import log_in, upgrade_to_websocket
from tests.e2e.conftest import client

TASK_FILE = Path(__file__).resolve().parents[2] / "setup_tasks" / "code-server-setup.json"


def test_all_17_tasks_ran_and_are_remembered(machine):
    ids = [task["id"] for task in json.loads(TASK_FILE.read_text())["tasks"]]
    assert len(ids) == 17
    assert re.findall(r"(\S+) +done ", machine.told) == ids
    state = json.loads((machine.sandbox.folder / "state" / f"task-state-{machine.instance_id}.json").read_text())
    assert list(state["finished"]) == ids
    assert state["running"] is None


def test_the_machine_is_the_suite_it_should_be(machine):
    assert f"VERSION_CODENAME={machine.suite}" in machine.on_host("cat /etc/os-release")


def test_the_instance_is_on_the_block(machine):
    instances = client(machine.sandbox, "ec2").describe_instances(InstanceIds=[machine.instance_id])
    instance = instances["Reservations"][0]["Instances"][0]
    assert instance["InstanceLifecycle"] == "capacity-block"
    assert instance["CapacityReservationId"].startswith("cr-")
    assert instance["MetadataOptions"]["HttpTokens"] == "required"


def test_a_second_setup_has_nothing_to_do_and_a_second_deploy_changes_nothing(machine):
    assert "17 already finished" in machine.invoke("setup")
    assert "Nothing to change." in machine.invoke("deploy", "--use-capacity-block", "--skip-setup")


def test_setup_can_start_from_a_prefix(machine):
    told = machine.invoke("setup", "--start-from", "17")
    assert re.findall(r"(\S+) +done ", told) == ["17-verify-installation"]


def test_a_dry_run_shows_the_scripts_and_no_secret(machine):
    told = machine.invoke("setup", "--dry-run", "--clean-state")
    assert "17 scripts checked with bash -n: no syntax error." in told
    assert "nothing was sent" in told
    assert "$argon2id$" not in told
    assert machine.password not in told
    assert re.search(r"^  secret PASSWORD secretsmanager:arn:aws:\S+ \S+ \|\| return$", told, re.MULTILINE)


def test_the_users_own_task_runs(machine, tmp_path):
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
    told = machine.invoke("run-tasks", "--file", str(path))
    assert "Running custom task for user: coder" in told


def test_a_failing_task_ends_with_its_output_and_the_way_on(machine, tmp_path):
    path = tmp_path / "failing.json"
    commands = ["echo looking", "ls /nowhere", "echo never"]
    path.write_text(json.dumps({"tasks": [{"id": "broken", "name": "Broken", "commands": commands}]}))
    told = machine.invoke_failing("run-tasks", "--file", str(path))
    assert "Task broken failed with status 2" in told
    assert "cannot access '/nowhere'" in told
    assert f"--instance-id {machine.instance_id} --plugin-name broken" in told
    assert f"invoke run-tasks --file {path} -i {machine.instance_id}" in told
    assert "Traceback" not in told


def test_the_login_takes_the_password_and_refuses_another(machine):
    assert log_in(machine.port, machine.password).accepted
    assert not log_in(machine.port, "not-the-password").accepted


def test_a_websocket_passes_nginx(machine):
    session = log_in(machine.port, machine.password).session
    assert upgrade_to_websocket(machine.port, session) == 101


def test_nothing_runs_after_a_task_that_ran_out_of_time(machine, tmp_path):
    """SSM's own `onFailure: exit` would let it: it answers failures, not time-outs."""
    path = tmp_path / "slow.json"
    tasks = [
        {"id": "slow-task", "name": "Slow", "commands": ["sleep 60"], "timeoutSeconds": 5},
        {"id": "next-task", "name": "Next", "commands": ["touch /tmp/next-task-ran"]},
    ]
    path.write_text(json.dumps({"tasks": tasks}))
    told = machine.invoke_failing("run-tasks", "--file", str(path))
    assert "Task slow-task timed out" in told
    assert "absent" in machine.on_host("ls /tmp/next-task-ran 2>/dev/null || echo absent")


def test_an_exit_status_that_means_something_to_the_agent_is_a_plain_failure(machine, tmp_path):
    """168 would tell the agent to call the rest of the run a success."""
    path = tmp_path / "words.json"
    tasks = [
        {"id": "word-task", "name": "Word", "commands": ["exit 168"]},
        {"id": "last-task", "name": "Last", "commands": ["true"]},
    ]
    path.write_text(json.dumps({"tasks": tasks}))
    told = machine.invoke_failing("run-tasks", "--file", str(path))
    assert "Task word-task failed with status 1" in told
    assert "the task ended with status 168" in told
    assert "last-task" not in re.findall(r"(\S+) +done ", told)
