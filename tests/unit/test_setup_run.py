import json

import pytest

from tests.unit.setup_support import FakeCommands, Recorder, rendered, task
from torchneuron.errors import Detached, InputError, SetupError, TorchNeuronError
from torchneuron.setup.commands import StepStatus
from torchneuron.setup.plan import make_plan
from torchneuron.setup.run import Runner, in_order
from torchneuron.setup.state import StateStore

INSTANCE = "i-0123456789abcdef0"


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


def make_runner(tmp_path, commands):
    store, monitor, clock = StateStore(tmp_path, INSTANCE), Recorder(), Clock()
    runner = Runner(
        commands,
        store,
        monitor,
        instance_id=INSTANCE,
        region="sa-east-1",
        again="invoke setup",
        sleep=clock.sleep,
        clock=clock,
    )
    return runner, store, monitor


def ids(document):
    return [one.id for one in document.tasks]


def test_all_tasks_go_as_one_command_and_nothing_is_left_for_a_second_run(tmp_path, tasks):
    commands = FakeCommands()
    runner, store, _ = make_runner(tmp_path, commands)
    assert runner.run(tasks).ran == ("01-a", "02-b", "03-c")
    assert [ids(document) for document in commands.sent] == [["01-a", "02-b", "03-c"]]
    assert store.load().digests == {one.id: one.digest for one in tasks}
    assert runner.run(tasks).skipped == ("01-a", "02-b", "03-c")
    assert len(commands.sent) == 1


def test_a_failure_names_task_output_command_and_way_on_and_the_next_run_takes_up_there(tmp_path, tasks):
    commands = FakeCommands(fails=["02-b"])
    runner, _, _ = make_runner(tmp_path, commands)
    with pytest.raises(SetupError) as failed:
        runner.run(tasks)
    told = str(failed.value)
    for part in ("02-b", "status 7", "02-b is broken", "command-1", "--plugin-name 02-b", "invoke setup"):
        assert part in told
    commands.fails.clear()
    assert runner.run(tasks).ran == ("02-b", "03-c")


def test_the_command_id_is_kept_before_anything_waits_on_it(tmp_path, tasks):
    commands = FakeCommands(interrupt_at=1)
    runner, store, _ = make_runner(tmp_path, commands)
    with pytest.raises(Detached, match="the setup goes on"):
        runner.run(tasks)
    running = store.load().running
    assert running is not None
    assert running.command_id == "command-1"
    assert running.tasks == {one.id: one.digest for one in tasks}


def test_a_run_that_lost_its_watcher_is_attached_to_not_sent_again(tmp_path, tasks):
    commands = FakeCommands(watched=2, interrupt_at=2)
    runner, store, monitor = make_runner(tmp_path, commands)
    with pytest.raises(Detached, match="the setup goes on"):
        runner.run(tasks)
    assert store.load().digests == {"01-a": tasks[0].digest}
    commands.interrupt_at = None
    assert runner.run(tasks).skipped == ("01-a", "02-b", "03-c")
    assert len(commands.sent) == 1
    assert monitor.commands == [("command-1", False), ("command-1", True)]


def test_a_run_of_someone_elses_is_watched_to_its_end_first(tmp_path, tasks):
    commands = FakeCommands()
    commands.foreign = ("theirs", "torchneuron-setup-x")
    runner, _, monitor = make_runner(tmp_path, commands)
    runner.run(tasks)
    assert monitor.commands == [("theirs", True), ("command-1", False)]


def test_a_second_run_on_this_machine_is_refused(tmp_path, tasks):
    runner, store, _ = make_runner(tmp_path, FakeCommands())
    with store.locked(), pytest.raises(TorchNeuronError, match=f"at work on the setup of {INSTANCE}"):
        runner.run(tasks)


def test_a_changed_task_and_all_after_it_run_again(tmp_path, tasks):
    runner, _, _ = make_runner(tmp_path, FakeCommands())
    runner.run(tasks)
    changed = rendered(tmp_path, [task("01-a", "echo a"), task("02-b", "echo B"), task("03-c", "echo c")])
    assert runner.run(changed).ran == ("02-b", "03-c")


def test_clean_state_begins_again(tmp_path, tasks):
    runner, _, _ = make_runner(tmp_path, FakeCommands())
    runner.run(tasks)
    assert runner.run(tasks, clean=True).ran == ("01-a", "02-b", "03-c")


def test_start_from_takes_an_id_or_an_unambiguous_prefix(tasks):
    assert [one.id for one in make_plan(tasks, {}, start_from="02").pending] == ["02-b", "03-c"]
    assert [one.id for one in make_plan(tasks, {}, start_from="03-c").pending] == ["03-c"]
    with pytest.raises(InputError, match=r"start of 3 tasks(.|\n)*01-a(.|\n)*03-c"):
        make_plan(tasks, {}, start_from="0")
    with pytest.raises(InputError, match="No task starts with '9'"):
        make_plan(tasks, {}, start_from="9")


def test_a_damaged_state_file_is_set_aside_not_trusted_not_deleted(tmp_path):
    store = StateStore(tmp_path, INSTANCE)
    store.path.write_text('{"version": 1, "finished": {"01-a"')
    assert store.load().digests == {}
    (aside,) = tmp_path.glob("*.damaged-*")
    assert aside.read_text().startswith('{"version": 1')


def test_the_state_file_is_the_users_alone(tmp_path, tasks):
    runner, store, _ = make_runner(tmp_path, FakeCommands())
    runner.run(tasks)
    assert store.path.name == f"task-state-{INSTANCE}.json"
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert json.loads(store.path.read_text())["instanceId"] == INSTANCE


def test_what_ssm_calls_a_success_after_a_failure_is_not_taken_for_done():
    def step(name, status):
        return StepStatus(name, status, 0, 0.1, "skipped due to prior step with an exit condition")

    reported = [step("03-c", "Success"), step("01-a", "Success"), step("02-b", "TimedOut")]
    arranged = in_order(reported, ["01-a", "02-b", "03-c"])
    assert [(one.task, one.status) for one in arranged] == [
        ("01-a", "Success"),
        ("02-b", "TimedOut"),
        ("03-c", "Skipped"),
    ]


def test_a_command_that_ssm_does_not_show_yet_is_waited_for_when_attaching(tmp_path, tasks):
    commands = FakeCommands(watched=2, interrupt_at=1)
    runner, _, _ = make_runner(tmp_path, commands)
    with pytest.raises(Detached):
        runner.run(tasks)
    commands.interrupt_at, commands.polls, commands.unknown_polls = None, 0, 5
    runner.run(tasks)
    assert len(commands.sent) == 1


def test_a_machine_that_is_gone_is_not_waited_for_for_ever(tmp_path, tasks):
    commands = FakeCommands(watched=10**9)
    commands.alive = False
    runner, _, _ = make_runner(tmp_path, commands)
    with pytest.raises(SetupError, match=r"has lost i-.* in the middle"):
        runner.run(tasks)


def test_a_long_step_is_waited_for_as_long_as_the_machine_is_there(tmp_path, tasks):
    commands = FakeCommands(watched=5000)
    runner, _, _ = make_runner(tmp_path, commands)
    assert runner.run(tasks).ran == ("01-a", "02-b", "03-c")
