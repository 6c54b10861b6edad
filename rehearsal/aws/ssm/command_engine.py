"""Run Command's own side: who gets a command and when, how many run at once, what is heard of it.

Sources
-------
- MaxConcurrency, MaxErrors, and that a command goes to one instance, then to two more, then to ever more of them:
  Systems Manager user guide, "Run commands at scale".
- Delayed, and that an agent out of reach leaves a command as it is until the total time-out: the same, "Understanding
  command statuses". A command not taken up within TimeoutSeconds doesn't run: SSM API reference, SendCommand.
- An invocation can be unknown just after SendCommand: SSM API reference, GetCommandInvocation (InvocationDoesNotExist,
  and that Run Command is eventually consistent).
- What was under way goes on, and its results are sent later, while an agent can't reach Systems Manager:
  amazon-ssm-agent, agent/runcommand (failed replies are kept and sent again).
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial

from rehearsal.aws.ssm import agent
from rehearsal.aws.ssm.agent import Job, StepRecord
from rehearsal.aws.ssm.command_history import CommandHistory
from rehearsal.aws.ssm.invocations import Command, Invocation, Request, Seen, rate
from rehearsal.errors import AwsError
from rehearsal.faults.latency import Latency
from rehearsal.hosts.fleet import Fleet
from rehearsal.hosts.host import Host, Rebootable
from rehearsal.links import Links

_LOOK_EVERY = 0.1


class CommandCentre:
    """All commands of a rehearsal. Safe to use from any thread."""

    def __init__(
        self,
        fleet: Fleet,
        links: Links,
        latency: Latency,
        now: Callable[[], datetime],
        history: CommandHistory | None = None,
    ) -> None:
        """`now`: the rehearsal's clock, by which commands expire. `history`: where they outlive this process."""
        self._fleet = fleet
        self._links = links
        self._latency = latency
        self._now = now
        self._changed = threading.Condition(threading.RLock())
        self._commands: dict[str, Command] = {}
        self._history = history or CommandHistory()

    def send(self, request: Request) -> Command:
        """Take a command on; it runs in the background."""
        now = datetime.now(timezone.utc)
        visible = now + timedelta(seconds=self._latency.now.visible)
        pending = Seen("Pending", "Pending", tuple(StepRecord(step.name) for step in request.steps))
        invocations = [
            Invocation(instance_id, now, visible, [(time.monotonic(), pending)]) for instance_id in request.instance_ids
        ]
        command = Command(str(uuid.uuid4()), request, now, self._now(), invocations)
        with self._changed:
            self._history.begin(command)
            self._commands[command.command_id] = command
        self._dispatch_in_background(command)
        return command

    def take_up(self) -> None:
        """Know the commands of the rehearsal before this one. Nothing happens to them until `go_on`."""
        with self._changed:
            self._commands = {command.command_id: command for command in self._history.read()}

    def go_on(self) -> None:
        """Deliver what has not been delivered yet. What was under way is what a reboot leaves of it."""
        hosts = self._fleet.states()
        self.lose({one.instance_id for _, one in self._open()} - hosts.keys())
        for command in list(self._commands.values()):
            if any(not one.now.ended for one in command.invocations):
                self._dispatch_in_background(command)

    def close(self, instance_ids: Iterable[str]) -> None:
        """End all that runs on these instances. It is kept as under way: nobody has heard of its end."""
        with self._changed:
            self._history.close()
            self.lose(instance_ids)

    def erase(self) -> None:
        """Nothing outlives this process any more. For after `close`."""
        self._history.clear()

    def commands(self, region: str) -> list[Command]:
        """A region's commands, newest first."""
        with self._changed:
            return [one for one in reversed(self._commands.values()) if one.request.region == region]

    def command(self, region: str, command_id: str) -> Command:
        """AwsError (InvalidCommandId) when there is none of that id."""
        with self._changed:
            command = self._commands.get(command_id)
        if command is None or command.request.region != region:
            raise AwsError("InvalidCommandId", f"Invalid command id {command_id}.")
        return command

    def visible(self, command: Command) -> list[tuple[Invocation, Seen]]:
        """The command's invocations, as far as they can be seen yet, and what can be seen of them."""
        now, instant = datetime.now(timezone.utc), time.monotonic() - self._latency.now.lag
        return [(one, one.as_of(instant)) for one in command.invocations if one.visible_at <= now]

    def seen(self, command: Command) -> list[Seen]:
        """What can be seen of all its invocations."""
        instant = time.monotonic() - self._latency.now.lag
        return [one.as_of(instant) for one in command.invocations]

    def cancel(self, command: Command, instance_ids: Sequence[str]) -> None:
        """Cancel on the instances named, or on all; what has ended stays as it ended."""
        with self._changed:
            named = [one for one in command.invocations if not instance_ids or one.instance_id in instance_ids]
            open_ones = [one for one in named if not one.now.ended]
            command.cancelled |= bool(open_ones) and not instance_ids
            self._history.note_command(command)
            for one in open_ones:
                if one.now.status in ("Pending", "Delayed"):
                    one.end_unreported(time.monotonic(), "Cancelled", "Cancelled")
                else:
                    one.cancelling = True
                    self._note(command, one, "Cancelling")
                if one.now.ended or self._links.connected(one.instance_id):
                    one.cancelled.set()
                self._history.note(command, one)
            self._changed.notify_all()

    def lose(self, instance_ids: Iterable[str], *, pending: bool = True) -> None:
        """Stop what runs on instances that are going. Nobody is left to report: what was last known stays.

        `pending`: what has not been delivered will not be tried again either.
        """
        gone = set(instance_ids)
        with self._changed:
            for _, one in self._open():
                if one.instance_id in gone and (pending or one.now.status not in ("Pending", "Delayed")):
                    one.lost = True
                    one.cancelled.set()
            self._changed.notify_all()

    def reached(self, instance_id: str) -> None:
        """An instance's agent is in reach again: it tells what it could not, and hears what it did not."""
        with self._changed:
            for command, one in self._open():
                if one.instance_id != instance_id:
                    continue
                if one.unsent is not None:
                    one.note(time.monotonic(), _unless_cancelling(one, one.unsent))
                    one.unsent = None
                    self._history.note(command, one)
                if one.cancelling:
                    one.cancelled.set()
            self._changed.notify_all()

    def expire(self) -> None:
        """End what has not been heard of by the time the command expires."""
        with self._changed:
            for command in self._commands.values():
                if self._now() < command.sent + command.request.total_timeout:
                    continue
                for one in command.invocations:
                    if not one.now.ended:
                        one.end_unreported(time.monotonic(), "TimedOut", "DeliveryTimedOut")
                        self._history.note(command, one)
            self._changed.notify_all()

    def _open(self) -> list[tuple[Command, Invocation]]:
        return [
            (command, one) for command in self._commands.values() for one in command.invocations if not one.now.ended
        ]

    def _dispatch_in_background(self, command: Command) -> None:
        threading.Thread(
            target=self._dispatch, args=(command,), name=f"command {command.command_id}", daemon=True
        ).start()

    def _dispatch(self, command: Command) -> None:
        """Hand the command to its instances: ever more of them at a time, and no more after too many errors."""
        slots = threading.Semaphore(max(1, rate(command.request.max_concurrency, len(command.invocations))))
        left = [one for one in command.invocations if not one.now.ended]
        for one in left:
            if one.now.taken_up:
                slots.acquire()
                threading.Thread(target=self._after_restart, args=(command, one, slots), daemon=True).start()
        waiting, wave = [one for one in left if not one.now.taken_up], 1
        while waiting:
            sent, waiting = waiting[:wave], waiting[wave:]
            for one in sent:
                slots.acquire()
                if command.errors > command.errors_allowed:
                    with self._changed:
                        one.end_unreported(time.monotonic(), "Cancelled", "Terminated")
                        self._history.note(command, one)
                    slots.release()
                    continue
                threading.Thread(target=self._deliver, args=(command, one, slots), daemon=True).start()
            if waiting:
                time.sleep(self._latency.now.wave)
            wave *= 2

    def _deliver(self, command: Command, invocation: Invocation, slots: threading.Semaphore) -> None:
        try:
            invocation.cancelled.wait(self._latency.now.delivery)
            machine = self._taken_up(command, invocation)
            if machine is not None:
                self._run(command, invocation, machine)
        finally:
            slots.release()

    def _taken_up(self, command: Command, invocation: Invocation) -> Host | None:
        """The machine, once its agent has the command; None when it never will."""
        with self._changed:
            while not invocation.now.ended and not invocation.lost:
                in_time = self._now() < command.sent + timedelta(seconds=command.request.timeout)
                machine = self._fleet.ready(invocation.instance_id)
                if machine is not None and in_time and self._links.connected(invocation.instance_id):
                    self._note(command, invocation, "InProgress")
                    return machine
                if invocation.now.status != "Delayed":
                    self._note(command, invocation, "Delayed")
                self._changed.wait(_LOOK_EVERY)
        return None

    def _run(self, command: Command, invocation: Invocation, machine: Host) -> None:
        request, instance_id = command.request, invocation.instance_id
        records = [StepRecord(step.name) for step in request.steps]
        job = Job(
            command.command_id,
            instance_id,
            request.region,
            request.steps,
            boots=lambda: self._fleet.boots(instance_id),
            reboot=(lambda: self._fleet.reboot(instance_id)) if isinstance(machine, Rebootable) else None,
        )

        report = partial(self._report, command, invocation, records)
        ended = agent.run(job, machine, records, cancelled=invocation.cancelled, report=report)
        if ended == "interrupted":
            self._interrupted(command, invocation, records)
        elif ended == "ended":
            report(agent.merged(records))

    def _after_restart(self, command: Command, invocation: Invocation, slots: threading.Semaphore) -> None:
        """End what was under way when the rehearsal before this one ended; its result may be waiting for the link."""
        try:
            last = invocation.unsent or invocation.now
            if not last.ended:
                self._interrupted(command, invocation, [replace(one) for one in last.records])
        finally:
            slots.release()

    def _interrupted(self, command: Command, invocation: Invocation, records: Sequence[StepRecord]) -> None:
        if self._up_again(invocation):
            agent.give_up(records)
            self._report(command, invocation, records, "Failed")

    def _report(
        self, command: Command, invocation: Invocation, records: Sequence[StepRecord], status: str = "InProgress"
    ) -> None:
        details = "ExecutionTimedOut" if status == "TimedOut" else status
        self._hear(command, invocation, Seen(status, details, tuple(replace(one) for one in records)))

    def _up_again(self, invocation: Invocation) -> bool:
        """Wait until the instance has rebooted and its agent has given up on the command; False if it never does."""
        with self._changed:
            while self._fleet.ready(invocation.instance_id) is None:
                if invocation.lost or invocation.now.ended:
                    return False
                self._changed.wait(_LOOK_EVERY)
        time.sleep(self._latency.now.given_up)
        return not invocation.lost

    def _note(self, command: Command, invocation: Invocation, status: str) -> None:
        invocation.note(time.monotonic(), replace(invocation.now, status=status, details=status))
        self._history.note(command, invocation)

    def _hear(self, command: Command, invocation: Invocation, seen: Seen) -> None:
        """An agent reports; what it can't send is kept, the latest of it."""
        with self._changed:
            seen = _unless_cancelling(invocation, seen)
            if invocation.lost:
                return
            if self._links.connected(invocation.instance_id):
                invocation.note(time.monotonic(), seen)
            else:
                invocation.unsent = seen
            self._history.note(command, invocation)


def _unless_cancelling(invocation: Invocation, seen: Seen) -> Seen:
    """What an agent reports that is still at work; it may not have heard that the command is being cancelled."""
    if invocation.cancelling and not seen.ended:
        return replace(seen, status="Cancelling", details="Cancelling")
    return seen
