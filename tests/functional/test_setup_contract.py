"""Runs of tasks on machines that execute them, as one document or as a command for each task."""

import json
import threading
import time
from datetime import timedelta

import pytest

from tests.functional.light import HELD, RAN, Laptop, light_fleet, note
from tests.functional.support import eventually
from tests.unit.setup_support import rendered, task
from torchneuron.core.errors import Detached, SetupError
from torchneuron.deploy import machine_setup
from torchneuron.setup import logs
from torchneuron.setup.document import compile_plan
from torchneuron.setup.plan import TaskSelection, make_plan
from torchneuron.setup.run import DispatchOptions
from torchneuron.setup.run_command import CommandTargets
from torchneuron.setup.stale_documents import delete_stale_documents
from torchneuron.setup.steps import CommandStatus, StepState


@pytest.fixture(scope="module")
def fleet():
    with light_fleet(3) as made:
        yield made


@pytest.fixture(params=["document", "step"])
def laptop(request, fleet, tmp_path):
    """A laptop that sends one document or task by task, and machines without marks."""
    fleet.shell(f"rm -rf {RAN} {RAN}-on /var/lib/torchneuron /var/log/torchneuron", *fleet.instance_ids)
    return Laptop(fleet, tmp_path / "laptop", DispatchOptions(request.param))


def ids(*names):
    return [task(f"task-{name}", note(name)) for name in names]


def test_tasks_run_once_in_order_and_a_second_run_has_nothing_to_do(fleet, laptop):
    (outcome,) = laptop.run(ids("a", "b", "c"))
    assert outcome.ran == ("task-a", "task-b", "task-c")
    assert fleet.ran() == ["a", "b", "c"]
    (again,) = laptop.run(ids("a", "b", "c"))
    assert (again.ran, again.skipped) == ((), outcome.ran)
    assert fleet.ran() == []


def test_failing_line_fails_the_task_and_the_next_run_resumes_there(fleet, laptop):
    broken = task("task-b", note("b"), "cat /nowhere", "true")
    (failed,) = laptop.run([*ids("a"), broken, *ids("c")])
    assert "Task task-b failed with status 1" in failed.failure.what
    assert "cat: /nowhere: No such file or directory" in failed.failure.why
    assert fleet.ran() == ["a", "b"]
    (mended,) = laptop.run([*ids("a"), task("task-b", note("b")), *ids("c")])
    assert mended.ran == ("task-b", "task-c")
    assert fleet.ran() == ["b", "c"]


def test_texts_arrive_unchanged(fleet, laptop):
    lines = ["cat >/var/tmp/text <<'END'", "two  blanks, a 'quote', $HOME and {{.Names}}", "  {{{ 1 }}", "END"]
    laptop.run([task("task-a", *lines)])
    assert fleet.shell("cat /var/tmp/text") == "\n".join(lines[1:3]) + "\n"


def test_values_arrive_unchanged_with_any_name(fleet, laptop):
    value = 'it\'s "quoted" $HOME {{x}} `id` \\'
    variables = {"marks": "x", "task": "y", "retries": "0"}
    show = 'printf "%s\\n" "$marks" "$task" "$retries" >/var/tmp/values'
    (outcome,) = laptop.run([task("task-a", show)], variables=variables, marks=value)
    assert outcome.failure is None
    assert fleet.shell("cat /var/tmp/values") == f"{value}\ny\n0\n"


def test_task_whose_test_is_false_is_skipped(fleet, laptop):
    tasks = [
        task("task-a", note("a"), onlyIf="[ -e /nowhere ]"),
        task("task-b", note("b"), onlyIf='[ "$WANTED" = yes ]'),
        *ids("c"),
    ]
    laptop.run(tasks, variables={"WANTED": "yes"})
    assert fleet.ran() == ["b", "c"]
    words = {name: word for (_, name), word in laptop.monitor.states.items()}
    assert words == {"task-a": StepState.SKIPPED, "task-b": StepState.DONE, "task-c": StepState.DONE}


def test_invalid_shell_in_a_test_fails_the_task(fleet, laptop):
    (outcome,) = laptop.run([task("task-a", note("a"), onlyIf="[ -e /nowhere")])
    assert outcome.failure is None  # `[` is a program: a false one
    (outcome,) = laptop.run([task("task-b", note("b"), onlyIf="if then")])
    assert "Task task-b failed" in outcome.failure.what
    assert fleet.ran() == []


def test_task_is_retried_up_to_its_limit(fleet, laptop):
    twice = ["echo try >>/var/tmp/tries", "[ $(wc -l </var/tmp/tries) -ge 2 ]"]
    (outcome,) = laptop.run([task("task-a", "rm -f /var/tmp/tries"), task("task-b", *twice, retries=1), *ids("c")])
    assert outcome.failure is None
    assert fleet.ran() == ["c"]
    (outcome,) = laptop.run([task("task-d", note("d"), "false", retries=1)])
    assert outcome.failure is not None
    assert "try 2 of 2 in 1 s" in outcome.failure.why
    assert fleet.ran() == ["d", "d"]


def test_failed_optional_task_does_not_stop_the_run(fleet, laptop):
    tasks = [*ids("a"), task("task-b", note("b"), "exit 3", optional=True), *ids("c")]
    (outcome,) = laptop.run(tasks)
    assert (outcome.failure, outcome.failed_optional) == (None, ("task-b",))
    assert fleet.ran() == ["a", "b", "c"]
    laptop.run(tasks)
    assert fleet.ran() == ["b"]


def test_nothing_runs_after_a_task_that_timed_out(fleet, laptop):
    (outcome,) = laptop.run([task("task-a", "sleep 60", timeoutSeconds=5), *ids("b")])
    assert "Task task-a timed out" in outcome.failure.what
    assert fleet.ran() == []


@pytest.mark.parametrize("status", [137, 168, 169])
def test_exit_status_with_a_meaning_for_the_agent_is_a_failure(fleet, laptop, status):
    (outcome,) = laptop.run([task("task-a", f"exit {status}"), *ids("b")])
    assert "Task task-a failed with status 1" in outcome.failure.what
    assert f"the task ended with status {status}" in outcome.failure.why
    assert fleet.ran() == []


def test_background_job_does_not_block_later_tasks(fleet, laptop):
    (outcome,) = laptop.run([task("task-a", "nohup sleep 30 >/dev/null 2>&1 &"), *ids("b")])
    assert outcome.failure is None
    assert fleet.ran() == ["b"]


def test_another_laptop_reads_finished_tasks_from_ssm(fleet, laptop, tmp_path):
    name = f"{laptop.dispatch.mode}-{tmp_path.name}"[-40:].replace("_", "-")
    tasks = [task(f"{name}-{part}", note(part)) for part in "abc"]
    laptop.run([tasks[0], task(tasks[1]["id"], "false"), tasks[2]])
    other = Laptop(fleet, tmp_path / "other", laptop.dispatch, new_itself=True)
    (outcome,) = other.run([tasks[0], tasks[1], tasks[2]])
    assert outcome.skipped == (tasks[0]["id"],)
    assert "According to SSM's history" in other.monitor.notes[0]
    assert fleet.ran() == ["a", "b", "c"]


def test_marks_on_the_machine_count_without_state_or_history(fleet, laptop, tmp_path):
    """A fleet's history is not read: a task that finds its own mark ends at once."""
    machines = fleet.instance_ids[:2]
    laptop.run(ids("a", "b"), on=machines[:1])
    other = Laptop(fleet, tmp_path / "other", laptop.dispatch)
    known, new = other.run(ids("a", "b", "c"), on=machines)
    assert (known.skipped, known.ran) == (("task-a", "task-b"), ("task-c",))
    assert (new.skipped, new.ran) == ((), ("task-a", "task-b", "task-c"))
    assert [fleet.ran(one) for one in machines] == [["a", "b", "c"], ["a", "b", "c"]]
    assert other.monitor.states[machines[0], "task-a"] is StepState.FINISHED_BEFORE
    assert other.monitor.states[machines[1], "task-a"] is StepState.DONE


def test_selected_tasks_run_again_despite_marks_on_the_machine(fleet, laptop):
    laptop.run(ids("a", "b", "c"))
    laptop.run(ids("a", "b", "c"), selection=TaskSelection(clean=True))
    assert fleet.ran() == ["a", "b", "c"] * 2
    laptop.run(ids("a", "b", "c"), selection=TaskSelection(start_from="task-b"))
    assert fleet.ran() == ["b", "c"]
    laptop.run(ids("a", "b", "c"), selection=TaskSelection(only="task-b"))
    assert fleet.ran() == ["b"]


def test_concurrent_laptops_do_not_interleave_or_run_tasks_twice(fleet, laptop, tmp_path):
    """Both send before either can see the other's command, so the machine's lock and marks decide."""
    slow = [
        task(f"task-{part}", f"echo '{part}<' >>{RAN}", "sleep 0.5", f"echo '{part}>' >>{RAN}") for part in ("a", "b")
    ]
    laptops = [Laptop(fleet, tmp_path / name, laptop.dispatch) for name in ("one", "other")]
    outcomes = []
    threads = [threading.Thread(target=lambda one=one: outcomes.extend(one.run(slow))) for one in laptops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.failure for outcome in outcomes] == [None, None]
    assert fleet.ran() == ["a<", "a>", "b<", "b>"]


def test_cancelled_run_stops_and_the_next_run_resumes(fleet, laptop):
    tasks = [*ids("a"), task("task-b", note("b"), "sleep 600"), *ids("c")]
    (instance_id,) = fleet.instance_ids[:1]
    commands = laptop.commands()

    def cancel():
        # A deadline, so that a test that fails does not hang.
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and fleet.shell(f"cat {RAN} 2>/dev/null || true").split()[-1:] != ["b"]:
            time.sleep(0.1)
        commands.cancel(commands.under_way([instance_id])[instance_id].command_id, [instance_id])

    canceller = threading.Thread(target=cancel)
    canceller.start()
    (outcome,) = laptop.run(tasks)
    canceller.join()
    assert "was cancelled" in outcome.failure.what
    (outcome,) = laptop.run([*ids("a"), task("task-b", note("b")), *ids("c")])
    assert outcome.skipped == ("task-a",)
    assert fleet.ran() == ["a", "b", "b", "c"]


@pytest.fixture
def agent(fleet):
    """Controls the SSM agent of the first machine. Restores it at the end, and deletes what dead laptops left."""

    def do(action):
        fleet.sandbox.control("host", {"instance_id": fleet.instance_ids[0], "do": action})

    yield do
    do("restore-agent")
    delete_stale_documents(fleet.client("ssm"), "tests", unsent=timedelta(0))


def send(laptop, tasks):
    """Send the tasks to the first machine, as a laptop that dies right after; returns the command's id."""
    laptop.folder.mkdir(exist_ok=True)
    run_command = laptop.commands()
    (request,) = compile_plan(make_plan(rendered(laptop.folder, tasks), {}), laptop.dispatch.mode)
    document = run_command.create_document(request)
    return run_command.send(request, document, CommandTargets((laptop.fleet.instance_ids[0],)))


def status(laptop, command_id):
    invocations = laptop.commands().invocations(command_id, ())
    return invocations[laptop.fleet.instance_ids[0]].status if invocations else None


@pytest.mark.parametrize("machines", [1, 2])
def test_command_delayed_by_a_lost_agent_is_under_way_and_not_sent_twice(fleet, laptop, agent, machines, tmp_path):
    instance_ids = fleet.instance_ids[:machines]
    agent("lose-agent")
    command_id = send(laptop, ids("a"))
    eventually(lambda: status(laptop, command_id) is CommandStatus.DELAYED)
    other = Laptop(fleet, tmp_path / "other", laptop.dispatch)
    commands = other.commands()
    assert commands.under_way(instance_ids)[instance_ids[0]].command_id == command_id
    look = commands.invocations

    def restore_and_look(*arguments):
        commands.invocations = look
        agent("restore-agent")
        return look(*arguments)

    commands.invocations = restore_and_look
    other.commands = lambda: commands
    outcomes = other.run(ids("a"), on=instance_ids)
    assert [outcome.failure for outcome in outcomes] == [None] * machines
    assert other.monitor.commands[0] == (command_id, True)
    assert [fleet.ran(instance_id) for instance_id in instance_ids] == [["a"]] * machines


def test_cancelling_command_is_under_way_until_the_agent_confirms_it(fleet, laptop, agent, monkeypatch):
    instance_ids = fleet.instance_ids[:1]
    command_id = send(laptop, [task("task-a", note("a"), HELD)])
    eventually(lambda: "a" in fleet.shell(f"cat {RAN} 2>/dev/null || true").split())
    agent("lose-agent")
    commands = laptop.commands()
    commands.cancel(command_id, instance_ids)
    assert status(laptop, command_id) is CommandStatus.CANCELLING
    for listed in (instance_ids, fleet.instance_ids[:2]):
        assert commands.under_way(listed)[instance_ids[0]].command_id == command_id
    monkeypatch.setattr(machine_setup, "_CANCEL_SECONDS", 1)
    sent = {commands.under_way(instance_ids)[instance_ids[0]]: instance_ids}
    with pytest.raises(SetupError, match="has not stopped"):
        machine_setup._await_end(commands, sent)
    agent("restore-agent")
    monkeypatch.setattr(machine_setup, "_CANCEL_SECONDS", 120)
    machine_setup._await_end(commands, sent)
    assert status(laptop, command_id) is CommandStatus.CANCELLED
    assert commands.under_way(instance_ids) == {}


def test_fleet_shares_one_command_a_document_with_an_outcome_for_each_machine(fleet, laptop):
    tasks = [*ids("a"), task("task-b", '[ "$AWS_SSM_INSTANCE_ID" != "$BROKEN" ]'), *ids("c")]
    broken = fleet.instance_ids[1]
    outcomes = laptop.run(tasks, on=fleet.instance_ids, variables={"BROKEN": broken})
    assert [outcome.failure is None for outcome in outcomes] == [True, False, True]
    assert [fleet.ran(one) for one in fleet.instance_ids] == [["a", "c"], ["a"], ["a", "c"]]
    sent = [command for command, _ in laptop.monitor.commands]
    assert len(sent) == {"document": 1, "step": 3}[laptop.dispatch.mode]


def test_fleet_is_targeted_by_tag_at_the_given_rate(fleet, laptop):
    laptop.dispatch = DispatchOptions(laptop.dispatch.mode, ("tag:Team", "ml"), "1", "0")
    failing = [task("task-a", note("a"), "false")]
    outcomes = laptop.run(failing, on=fleet.instance_ids)
    assert all(outcome.failure for outcome in outcomes)
    assert sum(len(fleet.ran(one)) for one in fleet.instance_ids) == 1
    command = fleet.client("ssm").list_commands(CommandId=laptop.monitor.commands[0][0])["Commands"][0]
    assert (command["Targets"], command["MaxConcurrency"]) == ([{"Key": "tag:Team", "Values": ["ml"]}], "1")


def test_whole_output_is_read_from_the_machine(fleet, laptop):
    (instance_id,) = fleet.instance_ids[:1]
    noise = "for i in $(seq 4000); do echo line $i $RANDOM; done; echo end >&2"
    laptop.run([task("task-noise", noise), *ids("b")])
    text = b"".join(logs.read(fleet.client("ssm"), instance_id, "task-n")).decode()
    assert text.count("line ") == 4_000
    assert "\nend\n" in text
    everything = b"".join(logs.read(fleet.client("ssm"), instance_id, logs.EVERYTHING)).decode()
    assert everything.index("task-noise <==") < everything.index("task-b <==")


def test_following_a_log_ends_with_the_run(fleet, laptop):
    (instance_id,) = fleet.instance_ids[:1]
    commands = laptop.commands()
    slow = [task("task-slow", "echo line 1", HELD, "echo line 2")]
    run = threading.Thread(target=lambda: laptop.run(slow), daemon=True)
    run.start()
    log = "ls /var/log/torchneuron 2>/dev/null || true"
    eventually(lambda: bool(commands.under_way([instance_id])) and "slow" in fleet.shell(log))
    goes_on = lambda: bool(commands.under_way([instance_id]))  # noqa: E731
    pieces = []
    for piece in logs.follow(fleet.client("ssm"), instance_id, "task-slow", goes_on=goes_on, sleep=time.sleep):
        pieces.append(piece)
        if b"line 1" in piece:
            fleet.release()
    run.join()
    assert len(pieces) > 1
    assert b"".join(pieces).decode().splitlines()[1:] == ["line 1", "line 2"]


def test_large_log_is_rotated_when_a_task_starts(fleet, laptop):
    folder = "/var/log/torchneuron"
    laptop.run(ids("a"))
    fleet.shell(f"for log in task-a all; do head -c 11000000 /dev/zero >>{folder}/$log.log; done")
    laptop.run(ids("b"))
    laptop.run(ids("a"), selection=TaskSelection(clean=True))
    sizes = fleet.shell(f"cd {folder}; find . -name '*.log*' -size +10M | sort; find . -name '*.log' | sort").split()
    assert sizes == ["./all.log.1", "./task-a.log.1", "./all.log", "./task-a.log", "./task-b.log"]
    everything = b"".join(logs.read(fleet.client("ssm"), fleet.instance_ids[0], logs.EVERYTHING)).decode()
    assert [line.split()[2] for line in everything.splitlines()] == ["task-b", "task-a"]


def test_log_that_is_rotated_while_followed_is_read_from_its_start(fleet, laptop):
    instance_id, log = fleet.instance_ids[0], "/var/log/torchneuron/all.log"
    laptop.run([task("task-a", "echo before, and long enough")])
    looks = iter([True, False])

    def rotate(seconds):
        fleet.shell(f"mv {log} {log}.1; echo after >{log}")

    pieces = logs.follow(fleet.client("ssm"), instance_id, logs.EVERYTHING, goes_on=lambda: next(looks), sleep=rotate)
    assert b"".join(pieces).decode().splitlines()[-2:] == ["before, and long enough", "after"]


@pytest.mark.attack("reads the output of tasks as another account of the machine")
def test_other_accounts_cannot_read_logs(fleet, laptop):
    laptop.run(ids("a"))
    modes = fleet.shell("stat -c '%U %a' /var/log/torchneuron /var/log/torchneuron/*").splitlines()
    assert modes == ["root 2750", "root 640", "root 640"]


def own_documents(fleet):
    names = fleet.client("ssm").list_documents(Filters=[{"Key": "Owner", "Values": ["Self"]}], MaxResults=50)
    return [one["Name"] for one in names["DocumentIdentifiers"]]


@pytest.mark.attack("reads what a run did from its documents, after it has ended")
def test_run_that_has_ended_leaves_no_document(fleet, laptop):
    laptop.run(ids("a"))
    assert own_documents(fleet) == []
    laptop.run([task("task-a", "false")], selection=TaskSelection(clean=True))
    assert own_documents(fleet) == []
    (outcome,) = laptop.run([task("task-a", "sleep 60", timeoutSeconds=5)])
    assert "timed out" in outcome.failure.what
    assert own_documents(fleet) == []


def before_sending(laptop, change):
    """Call `change` with SSM, the document and its content after its creation and before the first command."""
    commands, ssm = laptop.commands(), laptop.fleet.client("ssm")
    create = commands.create_document

    def created_and_changed(request):
        document = create(request)
        if request.content:
            commands.create_document = create
            change(ssm, document.name, request.content)
        return document

    commands.create_document = created_and_changed
    laptop.commands = lambda: commands


EVIL = {
    "schemaVersion": "2.2",
    "parameters": {"Tasks": {"type": "StringList"}},
    "mainSteps": [{"action": "aws:runShellScript", "name": "task-a", "inputs": {"runCommand": [f"echo evil >>{RAN}"]}}],
}


@pytest.mark.attack("updates a run's document and its default version before the command is sent")
def test_updated_document_does_not_run(fleet, laptop):
    def update(ssm, name, content):
        made = ssm.update_document(Name=name, Content=json.dumps(EVIL), DocumentVersion="$LATEST")
        version = made["DocumentDescription"]["DocumentVersion"]
        ssm.update_document_default_version(Name=name, DocumentVersion=version)

    before_sending(laptop, update)
    (outcome,) = laptop.run(ids("a"))
    assert outcome.failure is None
    assert fleet.ran() == ["a"]
    assert own_documents(fleet) == []


@pytest.mark.attack("replaces a run's document by another with its name before the command is sent")
def test_replaced_document_does_not_run(fleet, laptop):
    def replace(ssm, name, content):
        ssm.delete_document(Name=name)
        ssm.create_document(Name=name, Content=json.dumps(EVIL), DocumentType="Command")

    before_sending(laptop, replace)
    (outcome,) = laptop.run(ids("a"))
    assert outcome.failure is None
    assert fleet.ran() == ["a"]


@pytest.mark.attack("creates documents with predicted names before a run")
def test_document_names_cannot_be_predicted(fleet, laptop):
    names = []
    for _ in range(2):
        before_sending(laptop, lambda ssm, name, content: names.append(name))
        laptop.run(ids("a"), selection=TaskSelection(clean=True))
    assert len(set(names)) == len(names)
    assert fleet.ran() == ["a", "a"]


def test_document_that_was_deleted_is_recreated(fleet, laptop):
    before_sending(laptop, lambda ssm, name, content: ssm.delete_document(Name=name))
    (outcome,) = laptop.run(ids("a"))
    assert outcome.failure is None
    assert fleet.ran() == ["a"]


def test_attaching_from_another_laptop_deletes_the_document(fleet, laptop, tmp_path):
    """The first laptop dies while the command is under way."""
    name = f"{laptop.dispatch.mode}-{tmp_path.name}"[-40:].replace("_", "-")
    slow = [task(f"{name}-a", note("a"), "sleep 5"), task(f"{name}-b", note("b"))]
    commands, (instance_id,) = laptop.commands(), fleet.instance_ids[:1]

    def close(*_):
        raise KeyboardInterrupt

    commands.invocations = close
    laptop.commands = lambda: commands
    with pytest.raises(Detached):
        laptop.run(slow)
    assert len(own_documents(fleet)) == {"document": 1, "step": 0}[laptop.dispatch.mode]
    other = Laptop(fleet, tmp_path / "other", laptop.dispatch, new_itself=True)
    (outcome,) = other.run(slow)
    assert outcome.failure is None
    assert fleet.ran() == ["a", "b"]
    # On a busy machine it has ended before anybody attached.
    delete_stale_documents(fleet.client("ssm"), "tests")
    assert own_documents(fleet) == []
    assert other.commands().under_way([instance_id]) == {}


def test_failure_shows_where_to_read_the_whole_output(fleet, laptop):
    (outcome,) = laptop.run([task("task-a", "echo out", "echo err >&2", "false")])
    assert isinstance(outcome.failure, SetupError)
    for part in ("err\n", "Its standard output ended with:\nout", "invoke setup.logs task-a", "get-command-invocation"):
        assert part in outcome.failure.why
