"""Killed anywhere, a run loses nothing and does nothing twice: the watching process dies, the machine goes on.

A process is killed outright (SIGKILL) at a moment of its own choosing: before or after any call to AWS, before or after
any write of the state, or at a random time. Then the same command is run again, and may be killed again, until one run
gets to its end. What tasks noted on the machine decides.
"""

import contextlib
import functools
import os
import signal
import threading
from collections import Counter

import pytest

from tests.faults.lanes import play
from tests.faults.tally import THOROUGH, Found, chance_of, numbers
from tests.functional.light import dies, light_fleet, note
from tests.unit.setup_support import WORDS, Recorder, rendered, task
from torchneuron.setup.run import DispatchOptions, Member, Runner
from torchneuron.setup.run_command import RunCommand
from torchneuron.setup.state import StateStore

TASKS = "abcd" if THOROUGH else "ab"
# Long enough for some looks at each, between which a process can die.
TASK_SECONDS = 0.3
SETUPS = 60 if THOROUGH else 4
LANES = 3 if THOROUGH else 2


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """Kills this process at its `last` step, counted from 0; never when that is None."""

    def __init__(self, last):
        self.left, self.steps = last, 0

    def step(self):
        self.steps += 1
        if self.left == 0:
            die()
        self.left = None if self.left is None else self.left - 1


class DyingCommands(RunCommand):
    """Run Command for a process that may die before or after each call."""

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
    """A sleep of the same length whatever the runner asks for."""
    threading.Event().wait(0.1)


class DyingStore(StateStore):
    """A state file whose process may die before or after each write."""

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
        made = [stack.enter_context(light_fleet(1)) for _ in range(LANES)]
        for one in made:
            unused_client(one)
        yield made


@functools.cache
def unused_client(fleet):
    """Made once, and used in child processes only: what a connection is in is not shared between processes."""
    return fleet.client("ssm")


class Trial:
    """One setup of tasks of its own, run until it is done."""

    def __init__(self, fleet, folder, mode, name):
        self.fleet, self.folder, self.mode = fleet, folder / name, mode
        self.folder.mkdir()
        tasks = [task(f"{name}-{part}", note(f"{name}-{part}"), f"sleep {TASK_SECONDS}") for part in TASKS]
        self.tasks = rendered(self.folder, tasks)
        self.expected = [one.id for one in self.tasks]

    def run(self, countdown):
        """A run in this process, that ends as `countdown` says."""
        commands = DyingCommands(unused_client(self.fleet), countdown)
        (instance_id,) = self.fleet.instance_ids
        store = DyingStore(self.folder, instance_id, countdown)
        runner = Runner(commands, Recorder(), WORDS, DispatchOptions(self.mode), sleep=briefly)
        (outcome,) = runner.run([Member(instance_id, self.tasks, store)])
        assert outcome.failure is None, outcome.failure

    def dies_at(self, last):
        """Whether a run that is to die at step `last` did, rather than get to its end."""
        status = dies(lambda: self.run(Countdown(last)))
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the run failed"
        return os.WIFSIGNALED(status)

    def steps(self):
        """How many steps there are to die at: those of a run that does not die."""
        told = self.folder / "steps"

        def child():
            countdown = Countdown(None)
            self.run(countdown)
            told.write_text(str(countdown.steps))

        assert dies(child) == 0
        return int(told.read_text())

    def dies_after(self, seconds):
        """The same with a time."""

        def child():
            threading.Timer(seconds, die).start()
            self.run(Countdown(None))
            os._exit(0)

        status = dies(child)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the run failed"
        return os.WIFSIGNALED(status)

    def harms(self):
        """What of it is not so: it is done, each task has run once, in order, and the state says so."""
        ran = self.fleet.ran()
        (instance_id,) = self.fleet.instance_ids
        state = StateStore(self.folder, instance_id).load()
        known = {one.id: one.digest for one in self.tasks}
        return {
            "ran twice": len(ran) - len(set(ran)),
            "lost": len(set(self.expected) - set(ran)),
            "in the wrong order": int(list(dict.fromkeys(ran)) != self.expected),
            "not finished by the state": int(state.running is not None or state.digests != known),
        }


@pytest.fixture
def counted(tally):
    """Makes the tally of one of the tests."""
    harms = ("ran twice", "lost", "in the wrong order", "not finished by the state")
    return lambda what: tally("kills", harms=harms, what=what)


@pytest.mark.parametrize("mode", ["document", "step"])
def test_killed_at_calls_and_writes(fleets, tmp_path, mode, counted):
    """One setup for each call and write to die at (for some, where not thorough); the next process lives."""
    counts, chance = counted(f"at calls, by {mode}"), chance_of(f"kills at calls {mode}", 0)
    steps = Trial(fleets[0], tmp_path, mode, f"{mode}-counted").steps()
    fleets[0].ran()
    assert steps > 25

    def one_run(fleet, number):
        trial = Trial(fleet, tmp_path, mode, f"{mode}-{number}")
        # How often it looks for the end of a task is not the same each time, so the last may not be reached.
        died = trial.dies_at(number - 1)
        assert not trial.dies_at(None)
        done = Counter({"kill -9 before or after a call or write": int(died)})
        return Found(done, harms=Counter(trial.harms()), again=int(died))

    played = numbers(steps) if THOROUGH else sorted(chance.sample(range(1, steps + 1), 12))
    play(counts, played, fleets, one_run)
    counts.check()


@pytest.mark.parametrize("mode", ["document", "step"])
def test_killed_again_and_again(fleets, tmp_path, mode, counted):
    """Each process of a setup dies, at random calls and times, until one has nothing left to die at."""
    counts = counted(f"at random, by {mode}")

    def one_run(fleet, number):
        chance, found = chance_of(f"kills at random {mode}", number), Found()
        trial = Trial(fleet, tmp_path, mode, f"again-{mode}-{number}")
        for _ in range(chance.randrange(1, 6)):
            by_time = chance.random() < 0.5
            died = trial.dies_after(chance.uniform(0, 0.8)) if by_time else trial.dies_at(chance.randrange(40))
            found.again += died
            found.did["kill -9 at a time" if by_time else "kill -9 at a call or write"] += died
        assert not trial.dies_at(None)
        found.harms.update(trial.harms())
        return found

    play(counts, numbers(SETUPS), fleets, one_run)
    counts.check()


def test_one_that_dies_without_ever_having_kept_a_state_is_known_to_ssm_and_the_machine(fleets, tmp_path):
    """Another laptop, each time."""
    fleet = fleets[0]
    for number, last in enumerate((8, 9, 10, 11, 12)):
        trial = Trial(fleet, tmp_path, "document", f"laptop-{number}")
        trial.dies_at(last)
        for path in trial.folder.glob("task-state-*"):
            path.unlink()
        assert not trial.dies_at(None)
        assert fleet.ran() == trial.expected
