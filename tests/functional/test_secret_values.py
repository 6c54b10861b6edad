"""Secret variables on machines: read by the machine's role, or given by the operator and sent encrypted."""

import base64
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from tests.functional.light import REGION, light_fleet
from tests.functional.test_rehearsal_role_sessions import ROLE
from tests.unit.setup_support import task

VALUE = 'it\'s "quoted" $HOME `id` ö \\ end'
GIVEN = "/run/torchneuron/given"


@pytest.fixture(scope="module")
def fleet():
    with light_fleet(2) as fleet:
        yield fleet


@pytest.fixture
def invoke(fleet, tmp_path):
    """Runs a command as a person would; its standard output and error."""

    def run(*words, status=0, **environment):
        settings = {**fleet.sandbox.settings(), "stateDir": str(tmp_path / "state")}
        (tmp_path / "config.json").write_text(json.dumps(settings))
        own = {"TORCHNEURON_CONFIG": str(tmp_path / "config.json"), **environment}
        done = subprocess.run(
            ["invoke", *words],
            cwd=Path(__file__).parents[2],
            env={**fleet.sandbox.environment, **own},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def use(tmp_path, invoke, fleet):
    """Runs tasks with a secret TOKEN on machines: `use(tasks, "--var", "TOKEN=@file")`; the first, unless named."""

    def use(tasks, *words, variables=None, on=None, **more):
        file = tmp_path / "secret.json"
        file.write_text(json.dumps({"variables": variables or {"TOKEN": {"secret": True}}, "tasks": tasks}))
        where = [word for one in on or fleet.instance_ids[:1] for word in ("-i", one)]
        return invoke("run-tasks", "--file", str(file), "-r", REGION, *where, *words, **more)

    return use


SAVE = [task("01-save", 'printf %s "$TOKEN" >/var/tmp/token')]


def everything_in_ssm(fleet):
    """All that SSM keeps and whoever may look can read: commands, parameters, output, documents."""
    ssm = fleet.client("ssm")
    found = []
    for page in ssm.get_paginator("list_commands").paginate():
        found.append(page["Commands"])
    for page in ssm.get_paginator("list_command_invocations").paginate(Details=True):
        for one in page["CommandInvocations"]:
            found.append(one)
            for step in one["CommandPlugins"]:
                which = {name: one[name] for name in ("CommandId", "InstanceId")}
                found.append(ssm.get_command_invocation(**which, PluginName=step["Name"]))
    own = [{"Key": "Owner", "Values": ["Self"]}]
    for page in ssm.get_paginator("list_documents").paginate(Filters=own):
        found += [ssm.get_document(Name=one["Name"])["Content"] for one in page["DocumentIdentifiers"]]
    return json.dumps(found, default=str, ensure_ascii=False)


@pytest.mark.attack("read a secret given by the operator in SSM's commands, outputs and documents")
@pytest.mark.parametrize("mode", ["document", "step"])
def test_secret_value_arrives_on_each_machine_and_ssm_never_sees_it(fleet, use, tmp_path, mode):
    (tmp_path / "value").write_text(f"{VALUE}\n")
    use(SAVE, "--var", f"TOKEN=@{tmp_path / 'value'}", "--mode", mode, on=fleet.instance_ids)
    # A checksum, for reading the value by a command would itself put it into SSM's history.
    sums = fleet.shell("sha256sum </var/tmp/token; rm /var/tmp/token", *fleet.instance_ids).split()[::2]
    assert sums == [hashlib.sha256(VALUE.encode()).hexdigest()] * 2
    seen = everything_in_ssm(fleet)
    assert "01-save" in seen
    assert "receive TOKEN" in seen
    assert "seen by nobody" not in seen
    for skipped in range(3):
        encoded = base64.b64encode(b"\0" * skipped + VALUE.encode()).decode()[4:40]
        assert encoded not in seen


@pytest.mark.attack("open the messages that SSM keeps with what is left on the machine")
def test_key_and_value_are_gone_after_the_run(fleet, use):
    use(SAVE, "--var", "TOKEN=env:MINE", MINE="some value")
    assert fleet.shell(f"find {GIVEN} -mindepth 1 2>/dev/null; cat /var/tmp/token") == "some value"
    broken = [*SAVE, task("02-fails", "exit 7"), task("03-never", ': "$TOKEN"')]
    use(broken, "--var", "TOKEN=env:MINE", MINE="some value", status=1)
    assert fleet.shell(f"find {GIVEN} -mindepth 1 2>/dev/null; echo none").strip() == "none"


@pytest.mark.attack("list the arguments of processes while a task with a secret runs")
def test_value_is_not_an_argument_of_a_process(fleet, use):
    watch = "until [ -e /var/tmp/stop ]; do cat /proc/[0-9]*/cmdline; sleep 0.02; done"
    fleet.shell(f"rm -f /var/tmp/stop; nohup sh -c '{watch}' >/var/tmp/arguments 2>/dev/null &")
    tasks = [task("01-use", 'printf %s "$TOKEN" >/var/tmp/token', "sleep 1"), task("02-end", ': "$TOKEN"')]
    use(tasks, "--var", "TOKEN=env:MINE", MINE="seldom-seen-value")
    seen = fleet.shell("touch /var/tmp/stop; tr '\\0' '\\n' </var/tmp/arguments | sort -u").split("\n")
    assert not any("seldom-seen-value" in one for one in seen)
    assert {"sleep", "1"} <= set(seen)


def test_value_on_the_command_line_works_with_a_warning(use, fleet):
    told = use(SAVE, "--var", "TOKEN=plain-value")
    assert "other users of this machine can see the value of TOKEN on the command line" in told
    assert fleet.shell("cat /var/tmp/token") == "plain-value"


def test_secret_without_a_value_is_refused_without_a_terminal(use):
    told = use(SAVE, status=2)
    assert "TOKEN: has no value" in told
    told = use(SAVE, "--var", "TOKEN=@/nowhere", status=2)
    assert "Cannot read the file with the value of TOKEN." in told
    told = use(SAVE, "--var", "TOKEN=env:NOT_SET", status=2)
    assert "The secret TOKEN has no value." in told


@pytest.fixture(scope="module")
def stored(fleet):
    """A secret that the machines' role may read, and one it may not."""
    client = fleet.client("secretsmanager")
    made = {name: client.create_secret(Name=name, SecretString=VALUE)["ARN"] for name in ("own", "foreign")}
    statements = [
        {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": made["own"]},
        {"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": "*"},
    ]
    policy = {"Version": "2012-10-17", "Statement": statements}
    fleet.client("iam").put_role_policy(RoleName=ROLE, PolicyName="secret", PolicyDocument=json.dumps(policy))
    fleet.client("ssm").put_parameter(Name="/team/token", Value="of a parameter", Type="SecureString")
    return made


def test_machine_reads_a_reference_and_a_new_version_runs_its_tasks_again(fleet, use, stored):
    variables = {
        "TOKEN": {"secret": True, "value": f"secretsmanager:{stored['own']}"},
        "KEPT": {"secret": True, "value": "ssm:/team/token"},
    }
    tasks = [task("01-save", 'printf "%s|%s" "$TOKEN" "$KEPT" >/var/tmp/token'), task("02-rest")]
    use(tasks, variables=variables)
    assert fleet.shell("cat /var/tmp/token") == f"{VALUE}|of a parameter"
    assert "Nothing to do" in use(tasks, variables=variables) or "2 already finished" in use(tasks, variables=variables)
    fleet.client("secretsmanager").put_secret_value(SecretId=stored["own"], SecretString="another")
    use(tasks, variables=variables)
    assert fleet.shell("cat /var/tmp/token") == "another|of a parameter"


@pytest.mark.attack("name a secret in a task file that the machine's role may not read")
def test_secret_that_the_role_may_not_read_fails_the_task(use, stored):
    told = use(SAVE, "--var", f"TOKEN=secretsmanager:{stored['foreign']}", status=1)
    assert "no value for TOKEN" in told
    assert "is not authorized to perform: secretsmanager:GetSecretValue" in told
    skipped = [task("01-save", "true", onlyIf='[ "$TOKEN" ]')]
    told = use(skipped, "--var", f"TOKEN=secretsmanager:{stored['foreign']}", status=1)
    assert "no value for TOKEN" in told


def test_digests_and_state_files_do_not_depend_on_a_secret_value(use, tmp_path):
    first, second = (use(SAVE, "--var", "TOKEN=env:MINE", MINE="the same") for _ in range(2))
    assert "01-save" in first
    assert " done " in second
    (state,) = (tmp_path / "state").rglob("task-state-*.json")
    assert "the same" not in state.read_text()
    assert state.stat().st_mode & 0o077 == 0
