"""A setup that is killed at any moment loses no task and runs none twice.

The process gets SIGKILL before or after a call to AWS or a write of the state, or at a random time, while the machine
continues. The command is repeated, and may be killed again, until it succeeds. Then the records on the machine are
checked.
"""

import contextlib
import functools
import os
import signal
import threading
from collections import Counter

import pytest

from tests.faults.tally import THOROUGH, RunResult, random_for, run_numbers
from tests.faults.workers import do_runs
from tests.functional.light import dies, light_fleet, note
from tests.unit.setup_support import WORDS, Recorder, rendered, task
from torchneuron.setup.run import DispatchOptions, Member, Runner
from torchneuron.setup.run_command import RunCommand
from torchneuron.setup.state import StateStore

TASKS = "abcd" if THOROUGH else "ab"
# Long enough to poll each task several times, with kills in between.
TASK_SECONDS = 0.3
SETUPS = 60 if THOROUGH else 4
WORKERS = 3 if THOROUGH else 2


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """Kills this process at step `last`, counted from 0; never when that is None."""

    def __init__(self, last):
        self.left, self.steps = last, 0

    def step(self):
        self.steps += 1
        if self.left == 0:
            die()
        self.left = None if self.left is None else self.left - 1


class DyingCommands(RunCommand):
    """A Run Command client that may kill the process before or after each call."""

    def __init__(self, ssm, countdown):
        super().__init__(ssm, ssm, "tests")
        for name in (
            "create_document",
            "delete_document",
            "send",
            "history",
            "under_way",
            "invocations",
            "tasks_of",
            "output",
        ):
            setattr(self, name, around(getattr(self, name), countdown))


def briefly(seconds):
    """Sleep for a fixed short time, whatever the argument."""
    threading.Event().wait(0.1)


class DyingStore(StateStore):
    """A state store that may kill the process before or after each write."""

    def __init__(self, folder, instance_id, countdown):
        super().__init__(folder, instance_id)
        self.save = around(self.save, countdown)


def around(call, countdown):
    def called(*args, **kwargs):
        countdown.step()
        result = call(*args, **kwargs)
        countdown.step()
        return result

    return called


@pytest.fixture(scope="module")
def fleets():
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(light_fleet(1)) for _ in range(WORKERS)]
        for fleet in made:
            unused_client(fleet)
        yield made


@functools.cache
def unused_client(fleet):
    """A cached client for child processes only, since processes must not share a connection."""
    return fleet.client("ssm")


class Trial:
    """One setup with its own tasks, repeated until it succeeds."""

    def __init__(self, fleet, folder, mode, name):
        self.fleet, self.folder, self.mode = fleet, folder / name, mode
        self.folder.mkdir()
        tasks = [task(f"{name}-{part}", note(f"{name}-{part}"), f"sleep {TASK_SECONDS}") for part in TASKS]
        self.tasks = rendered(self.folder, tasks)
        self.expected = [task.id for task in self.tasks]

    def run(self, countdown):
        """Run the setup in this process; `countdown` may kill it."""
        commands = DyingCommands(unused_client(self.fleet), countdown)
        (instance_id,) = self.fleet.instance_ids
        store = DyingStore(self.folder, instance_id, countdown)
        runner = Runner(commands, Recorder(), WORDS, DispatchOptions(self.mode), sleep=briefly)
        (outcome,) = runner.run([Member(instance_id, self.tasks, store)])
        assert outcome.failure is None, outcome.failure

    def dies_at(self, last):
        """Run with a kill at step `last`; returns whether the run reached it."""
        status = dies(lambda: self.run(Countdown(last)))
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the run failed"
        return os.WIFSIGNALED(status)

    def steps(self):
        """The number of steps of an undisturbed run."""
        path = self.folder / "steps"

        def child():
            countdown = Countdown(None)
            self.run(countdown)
            path.write_text(str(countdown.steps))

        assert dies(child) == 0
        return int(path.read_text())

    def dies_after(self, seconds):
        """Run with a kill after some seconds; returns whether the run was killed."""

        def child():
            threading.Timer(seconds, die).start()
            self.run(Countdown(None))
            os._exit(0)

        status = dies(child)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the run failed"
        return os.WIFSIGNALED(status)

    def violations(self):
        """Count violations: each task must have run once, in order, and be finished in the state."""
        ran = self.fleet.ran()
        (instance_id,) = self.fleet.instance_ids
        state = StateStore(self.folder, instance_id).load()
        known = {task.id: task.digest for task in self.tasks}
        return {
            "ran twice": len(ran) - len(set(ran)),
            "lost": len(set(self.expected) - set(ran)),
            "out of order": int(list(dict.fromkeys(ran)) != self.expected),
            "not finished by the state": int(state.running is not None or state.digests != known),
        }


@pytest.fixture
def counted(tally):
    """Creates the tally of a test."""
    violations = ("ran twice", "lost", "out of order", "not finished by the state")
    return lambda what: tally("kills", violations=violations, what=what)


@pytest.mark.parametrize("mode", ["document", "step"])
def test_setup_killed_at_each_call_or_write_resumes(fleets, tmp_path, mode, counted):
    """One setup per call and write (a sample unless thorough), killed once."""
    counts, rng = counted(f"at calls, by {mode}"), random_for(f"kills at calls {mode}", 0)
    steps = Trial(fleets[0], tmp_path, mode, f"{mode}-counted").steps()
    fleets[0].ran()
    assert steps > 25

    def one_run(fleet, number):
        trial = Trial(fleet, tmp_path, mode, f"{mode}-{number}")
        # The number of polls varies, so the last steps may not be reached.
        died = trial.dies_at(number - 1)
        assert not trial.dies_at(None)
        done = Counter({"kill -9 before or after a call or write": int(died)})
        return RunResult(done, violations=Counter(trial.violations()), retries=int(died))

    played = run_numbers(steps) if THOROUGH else sorted(rng.sample(range(1, steps + 1), 12))
    do_runs(counts, played, fleets, one_run)
    counts.check()


@pytest.mark.parametrize("mode", ["document", "step"])
def test_setup_killed_repeatedly_resumes(fleets, tmp_path, mode, counted):
    """Up to five processes of a setup are killed, at random calls and times."""
    counts = counted(f"at random, by {mode}")

    def one_run(fleet, number):
        rng, result = random_for(f"kills at random {mode}", number), RunResult()
        trial = Trial(fleet, tmp_path, mode, f"again-{mode}-{number}")
        for _ in range(rng.randrange(1, 6)):
            by_time = rng.random() < 0.5
            died = trial.dies_after(rng.uniform(0, 0.8)) if by_time else trial.dies_at(rng.randrange(40))
            result.retries += died
            result.injected["kill -9 at a time" if by_time else "kill -9 at a call or write"] += died
        assert not trial.dies_at(None)
        result.violations.update(trial.violations())
        return result

    do_runs(counts, run_numbers(SETUPS), fleets, one_run)
    counts.check()


def test_killed_setup_without_saved_state_resumes_from_ssm_and_the_machine(fleets, tmp_path):
    """As when the setup is resumed on another laptop."""
    fleet = fleets[0]
    for number, last in enumerate((8, 9, 10, 11, 12)):
        trial = Trial(fleet, tmp_path, "document", f"laptop-{number}")
        trial.dies_at(last)
        for path in trial.folder.glob("task-state-*"):
            path.unlink()
        assert not trial.dies_at(None)
        assert fleet.ran() == trial.expected
