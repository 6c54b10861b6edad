"""What the runner sends, remembers, attaches to and says, against a Run Command that the test scripts."""

import dataclasses
import json

import pytest

from tests.unit.setup_support import INSTANCE, OTHER, WORDS, FakeRunCommand, Recorder, member, rendered, task
from torchneuron.core.errors import Detached, SetupError, TorchNeuronError
from torchneuron.setup.document import NAME_PREFIX, RUN_SHELL_SCRIPT
from torchneuron.setup.plan import TaskSelection
from torchneuron.setup.run import DispatchOptions, Runner
from torchneuron.setup.run_command import SentCommand
from torchneuron.setup.state import Running, State, StateStore
from torchneuron.setup.steps import StepState, StepStatus, in_order


@pytest.fixture
def tasks(tmp_path):
    return rendered(tmp_path, [task("01-a", "echo a"), task("02-b", "echo b"), task("03-c", "echo c")])


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self):
        self.now = 0.0

    def sleep(self, seconds):
        self.now += seconds

    def __call__(self):
        return self.now


class Run:
    """Runs on one instance or several, and what was reported."""

    def __init__(self, folder, commands, dispatch=None):
        self.folder, self.commands = folder, commands
        self.monitor, clock = Recorder(), Clock()
        self.runner = Runner(commands, self.monitor, WORDS, dispatch, sleep=clock.sleep, clock=clock)

    def on(self, tasks, *instance_ids, selection=None):
        """The outcomes; a single machine's failure is raised."""
        ids = instance_ids or (INSTANCE,)
        outcomes = self.runner.run([member(self.folder, tasks, instance_id) for instance_id in ids], selection)
        if len(ids) == 1:
            if outcomes[0].failure:
                raise outcomes[0].failure
            return outcomes[0]
        return outcomes

    def state(self, instance_id=INSTANCE):
        return StateStore(self.folder, instance_id).load()


@pytest.fixture
def commands():
    return FakeRunCommand()


@pytest.fixture
def run(tmp_path, commands):
    return Run(tmp_path, commands)


def test_all_tasks_are_one_command_and_a_second_run_has_nothing_to_do(run, commands, tasks):
    assert run.on(tasks).ran == ("01-a", "02-b", "03-c")
    assert [sent.tasks for sent in commands.commands] == [["01-a", "02-b", "03-c"]]
    assert run.state().digests == {task.id: task.digest for task in tasks}
    assert run.on(tasks).skipped == ("01-a", "02-b", "03-c")
    assert len(commands.commands) == 1


def test_failure_shows_output_and_commands_and_the_next_run_resumes_there(run, commands, tasks):
    commands.fails = {"02-b"}
    with pytest.raises(SetupError) as failed:
        run.on(tasks)
    message = str(failed.value)
    for part in ("02-b", "status 7", "02-b is broken", "command-1", "--plugin-name 02-b", "invoke setup"):
        assert part in message
    assert "invoke setup.logs 02-b" in message
    commands.fails = set()
    assert run.on(tasks).ran == ("02-b", "03-c")


def test_failure_after_start_from_is_resumed_at_the_failed_task(tmp_path, commands, tasks):
    commands.fails = {"03-c"}
    words = dataclasses.replace(WORDS, start_from="02-b")
    runner = Runner(commands, Recorder(), words)
    (outcome,) = runner.run([member(tmp_path, tasks)], TaskSelection(start_from="02-b"))
    assert outcome.failure.do.endswith("resume with: invoke setup 03-c")


def test_failed_optional_task_does_not_stop_the_run_and_is_retried_alone(tmp_path, run, commands):
    tasks = rendered(tmp_path, [task("01-a"), task("02-b", optional=True), task("03-c")])
    commands.fails = {"02-b"}
    outcome = run.on(tasks)
    assert (outcome.ran, outcome.failed_optional) == (("01-a", "02-b", "03-c"), ("02-b",))
    assert run.monitor.states[INSTANCE, "03-c"] is StepState.DONE
    commands.fails = set()
    assert run.on(tasks).ran == ("02-b",)


def test_command_id_is_saved_before_anything_waits_for_the_command(run, commands, tasks):
    commands.interrupt_at = 1
    with pytest.raises(Detached, match="The setup goes on") as detached:
        run.on(tasks)
    assert "invoke setup --cancel" in detached.value.do
    running = run.state().running
    assert running is not None
    assert running.command_id == "command-1"
    assert running.tasks == {task.id: task.digest for task in tasks}


def test_interrupted_run_is_attached_to_and_not_sent_again(run, commands, tasks):
    commands.watched = commands.interrupt_at = 2
    with pytest.raises(Detached, match="The setup goes on"):
        run.on(tasks)
    assert run.state().digests == {"01-a": tasks[0].digest}
    commands.interrupt_at = None
    assert run.on(tasks).skipped == ("01-a", "02-b", "03-c")
    assert run.monitor.commands == [("command-1", False), ("command-1", True)]


def test_attaching_with_start_from_does_not_run_tasks_twice(run, commands, tasks):
    commands.interrupt_at = 1
    with pytest.raises(Detached):
        run.on(tasks, selection=TaskSelection(start_from="02"))
    commands.interrupt_at = None
    assert run.on(tasks, selection=TaskSelection(start_from="02")).ran == ()
    assert len(commands.commands) == 1
    assert run.on(tasks, selection=TaskSelection(start_from="02")).ran == ("02-b", "03-c")


def test_run_of_another_laptop_is_watched_to_its_end_first(run, commands, tasks):
    commands.foreign = {INSTANCE: SentCommand("theirs", "torchneuron-setup-x")}
    run.on(tasks)
    assert run.monitor.commands == [("theirs", True), ("command-1", False)]


def test_second_run_on_the_same_machine_is_refused(tmp_path, run, tasks):
    with (
        StateStore(tmp_path, INSTANCE).locked(),
        pytest.raises(TorchNeuronError, match=f"at work on the setup of {INSTANCE}"),
    ):
        run.on(tasks)


def test_changed_task_and_all_after_it_run_again(tmp_path, run, tasks):
    run.on(tasks)
    changed = rendered(tmp_path, [task("01-a", "echo a"), task("02-b", "echo B"), task("03-c", "echo c")])
    assert run.on(changed).ran == ("02-b", "03-c")


def test_outcome_has_the_last_lines_of_tasks_that_succeeded(run, commands, tasks):
    commands.fails = {(INSTANCE, "03-c")}
    broken, well = run.on(tasks, INSTANCE, OTHER)
    assert broken.last_lines == {"01-a": "01-a is well", "02-b": "02-b is well"}
    assert well.last_lines == {**broken.last_lines, "03-c": "03-c is well"}
    commands.fails = set()
    assert run.on(tasks).last_lines == {"03-c": "03-c is well"}


def test_clean_state_also_removes_marks_on_the_machine(run, commands, tasks):
    run.on(tasks)
    assert run.on(tasks, selection=TaskSelection(clean=True)).ran == ("01-a", "02-b", "03-c")
    first, again = (json.loads(sent.request.content)["mainSteps"][0]["inputs"] for sent in commands.commands)
    assert not any("forget='01-a" in line for line in first["runCommand"])
    assert any("forget='01-a 02-b 03-c'" in line for line in again["runCommand"])


def test_only_runs_one_task_and_others_stay_finished(run, tasks):
    run.on(tasks)
    assert run.on(tasks, selection=TaskSelection(only="02")).ran == ("02-b",)
    assert run.on(tasks).ran == ()


def test_tasks_are_sent_one_by_one_without_permission_to_create_documents(run, commands, tasks):
    commands.may_document = False
    assert run.on(tasks).ran == ("01-a", "02-b", "03-c")
    assert [sent.tasks for sent in commands.commands] == [["01-a"], ["02-b"], ["03-c"]]
    assert {sent.document.name for sent in commands.commands} == {RUN_SHELL_SCRIPT}
    assert commands.deleted == []
    assert "one by one" in run.monitor.notes[0]


def test_step_mode_stops_at_a_failure_and_shows_a_command_without_plugin(tmp_path, commands, tasks):
    commands.fails = {"02-b"}
    run = Run(tmp_path, commands, DispatchOptions("step"))
    with pytest.raises(SetupError) as failed:
        run.on(tasks)
    assert [sent.tasks for sent in commands.commands] == [["01-a"], ["02-b"]]
    assert "get-command-invocation" in failed.value.why
    assert "--plugin-name" not in failed.value.why


RUNNING = {"commandId": "c", "document": "d", "tasks": {}}


@pytest.mark.attack("leaves a state file with other content")
@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1, "finished": {"01-a"',
        "[]",
        json.dumps({"version": 2, "finished": {}, "running": None}),
        json.dumps({"version": 1, "finished": {"01-a": {"digest": 7, "commandId": "c", "at": ""}}, "running": None}),
        *(json.dumps({"version": 1, "finished": {}, "running": RUNNING | {name: 7}}) for name in RUNNING),
    ],
)
def test_damaged_state_file_is_renamed(tmp_path, text, capsys):
    store = StateStore(tmp_path, INSTANCE)
    store.path.write_text(text)
    assert store.load().digests == {}
    (aside,) = tmp_path.glob("*.damaged-*")
    assert aside.read_text() == text
    assert f"{store.path.name} cannot be read. It was renamed to {aside.name}" in capsys.readouterr().err


def test_only_the_user_can_read_the_state_file(tmp_path, run, tasks):
    run.on(tasks)
    path = StateStore(tmp_path, INSTANCE).path
    assert path.name == f"task-state-{INSTANCE}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["instanceId"] == INSTANCE


def test_success_after_a_failed_step_counts_as_not_run():
    def step(name, word):
        return StepStatus(name, word, 0, 0.1, "skipped due to prior step with an exit condition")

    reported = [step("03-c", StepState.DONE), step("01-a", StepState.DONE), step("02-b", StepState.TIMED_OUT)]
    arranged = in_order(reported, ["01-a", "02-b", "03-c"])
    assert [(step.task, step.state) for step in arranged] == [
        ("01-a", StepState.DONE),
        ("02-b", StepState.TIMED_OUT),
        ("03-c", StepState.NOT_RUN),
    ]


def test_attaching_waits_for_a_command_that_ssm_does_not_list_yet(run, commands, tasks):
    commands.interrupt_at = 1
    with pytest.raises(Detached):
        run.on(tasks)
    commands.interrupt_at, commands.unknown_polls = None, 5
    run.on(tasks)
    assert len(commands.commands) == 1


@pytest.mark.attack("leaves a state file with a command that SSM does not know")
def test_state_file_with_a_command_unknown_to_ssm_is_renamed(tmp_path, run, tasks, capsys):
    store = StateStore(tmp_path, INSTANCE)
    finished = State().with_finished("01-a", tasks[0].digest, "long-ago")
    store.save(finished.with_running(Running("long-ago", "torchneuron-setup-x", {})))
    assert run.on(tasks).ran == ("01-a", "02-b", "03-c")
    (aside,) = tmp_path.glob("*.unknown-command-*")
    assert json.loads(aside.read_text())["finished"].keys() == {"01-a"}
    assert f"does not know, long-ago. It was renamed to {aside.name}" in capsys.readouterr().err
    assert run.on(tasks).ran == ()


def test_watching_ends_when_the_machine_is_gone(run, commands, tasks):
    commands.watched, commands.alive = 10**9, False
    with pytest.raises(SetupError, match=r"Lost contact with i-.* during the setup"):
        run.on(tasks)
    assert run.state().running is not None


def test_long_step_is_waited_for_while_the_machine_is_online(run, commands, tasks):
    commands.watched = 5000
    assert run.on(tasks).ran == ("01-a", "02-b", "03-c")


def test_fleet_shares_one_command_and_a_failure_on_one_machine_stops_no_other(run, commands, tasks):
    commands.fails = {(OTHER, "02-b")}
    well, broken = run.on(tasks, INSTANCE, OTHER)
    assert well.failure is None
    assert "Task 02-b failed" in broken.failure.what
    (sent,) = commands.commands
    assert sent.targets.instance_ids == (INSTANCE, OTHER)
    commands.fails = set()
    again = run.on(tasks, INSTANCE, OTHER)
    assert [outcome.ran for outcome in again] == [(), ("02-b", "03-c")]
    assert commands.commands[-1].targets.instance_ids == (OTHER,)


def test_machines_with_different_progress_share_one_command(run, commands, tasks):
    run.on(tasks[:1], INSTANCE)
    run.on(tasks, INSTANCE, OTHER)
    assert commands.commands[-1].tasks == ["01-a", "02-b", "03-c"]
    assert commands.commands[-1].targets.instance_ids == (INSTANCE, OTHER)


def test_fleet_with_a_tag_is_targeted_by_tag_with_its_rates(tmp_path, commands, tasks):
    run = Run(tmp_path, commands, DispatchOptions("document", ("tag:Team", "a"), "10", "25%"))
    run.on(tasks, INSTANCE, OTHER)
    assert commands.commands[0].targets.as_arguments() == {
        "Targets": [{"Key": "tag:Team", "Values": ["a"]}],
        "MaxConcurrency": "10",
        "MaxErrors": "25%",
    }


def test_more_than_50_instances_are_several_commands_that_share_the_rates(tmp_path, commands, tasks):
    ids = [f"i-{number:017x}" for number in range(120)]
    Run(tmp_path, commands, DispatchOptions("document", None, "30", "10%")).on(tasks, *ids)
    assert [len(sent.targets.instance_ids) for sent in commands.commands] == [50, 50, 20]
    assert {(sent.targets.max_concurrency, sent.targets.max_errors) for sent in commands.commands} == {("10", "10%")}
    assert len({sent.document.name for sent in commands.commands}) == 1


def test_machines_with_different_values_have_concurrent_commands(tmp_path, commands):
    first, second = (rendered(tmp_path, [task("01-a", "echo $V")], {"V": "x"}, V=value) for value in "ab")
    members = [member(tmp_path, first, INSTANCE), member(tmp_path, second, OTHER)]
    Run(tmp_path, commands).runner.run(members)
    assert [sent.targets.instance_ids for sent in commands.commands] == [(INSTANCE,), (OTHER,)]
    assert [sent.polls for sent in commands.commands] == [2, 2]


def test_no_command_is_sent_after_too_many_errors(tmp_path, commands):
    one, two = (rendered(tmp_path, [task("01-a", "echo $V")], {"V": "x"}, V=value) for value in "ab")
    commands.fails = {"01-a"}
    members = [member(tmp_path, one, INSTANCE), member(tmp_path, two, OTHER)]
    failed, not_sent = Run(tmp_path, commands, DispatchOptions("auto", None, "1", "0")).runner.run(members)
    assert len(commands.commands) == 1
    assert "Nothing was sent" in not_sent.failure.what
    assert "Task 01-a failed" in failed.failure.what


def test_documents_are_deleted_when_the_run_succeeds_or_fails(run, commands, tasks):
    run.on(tasks)
    assert commands.deleted == commands.documents != []
    commands.fails = {"01-a"}
    with pytest.raises(SetupError):
        run.on(tasks, selection=TaskSelection(clean=True))
    assert commands.deleted == commands.documents
    assert len(commands.documents) == 2


def test_detached_run_keeps_only_the_document_under_way(run, commands, tmp_path):
    large = [task(f"{number}-task", "#" + "x" * 40_000) for number in range(3)]
    commands.interrupt_at = 1
    with pytest.raises(Detached):
        run.on(rendered(tmp_path, large))
    under_way, *unsent = commands.documents
    assert len(unsent) == 2
    assert commands.deleted == unsent
    assert commands.commands[0].document.name == under_way


def test_document_of_an_attached_run_is_deleted(run, commands, tasks):
    commands.foreign = {INSTANCE: SentCommand("theirs", f"{NAME_PREFIX}theirs")}
    run.on(tasks)
    assert f"{NAME_PREFIX}theirs" in commands.deleted


def test_document_that_may_still_be_delivered_is_kept(run, commands, tasks):
    commands.alive, commands.watched = False, 10**9
    with pytest.raises(SetupError, match="Lost contact"):
        run.on(tasks)
    assert commands.deleted == []
