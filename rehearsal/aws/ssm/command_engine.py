"""Run Command's delivery: which instances get a command and when, how many at a time, and the agents' reports.

Sources
-------
- MaxConcurrency, MaxErrors, and that a command goes to one instance, then to two more, then to ever more: Systems
  Manager user guide, "Run commands at scale".
- Delayed, and that a command whose agent is unreachable stays as it is until the total timeout: the same,
  "Understanding command statuses". A command not delivered within TimeoutSeconds does not run: SSM API reference,
  SendCommand.
- An invocation may not exist yet just after SendCommand: SSM API reference, GetCommandInvocation
  (InvocationDoesNotExist, and that Run Command is eventually consistent).
- While an agent can't reach Systems Manager, running commands continue and their results are sent later:
  amazon-ssm-agent, agent/runcommand (failed replies are stored and sent again).
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
from rehearsal.aws.ssm.invocations import Command, Invocation, InvocationState, Request, rate
from rehearsal.errors import AwsError
from rehearsal.faults.latency import Latency
from rehearsal.hosts.fleet import Fleet
from rehearsal.hosts.host import Host, Rebootable
from rehearsal.links import Links

_POLL_SECONDS = 0.1
_UNDELIVERED = ("Pending", "Delayed")


class CommandEngine:
    """All commands of a rehearsal. Thread-safe."""

    def __init__(
        self,
        fleet: Fleet,
        links: Links,
        latency: Latency,
        now: Callable[[], datetime],
        history: CommandHistory | None = None,
    ) -> None:
        """`now`: the rehearsal's clock, by which commands expire. `history`: where commands outlive this process."""
        self._fleet = fleet
        self._links = links
        self._latency = latency
        self._now = now
        self._changed = threading.Condition(threading.RLock())
        self._commands: dict[str, Command] = {}
        self._history = history or CommandHistory()

    def send(self, request: Request) -> Command:
        """Accept a command and run it in the background."""
        now = datetime.now(timezone.utc)
        visible_at = now + timedelta(seconds=self._latency.now.visible)
        pending = InvocationState("Pending", "Pending", tuple(StepRecord(step.name) for step in request.steps))
        invocations = [
            Invocation(instance_id, now, visible_at, [(time.monotonic(), pending)])
            for instance_id in request.instance_ids
        ]
        command = Command(str(uuid.uuid4()), request, now, self._now(), invocations)
        with self._changed:
            self._history.add(command)
            self._commands[command.command_id] = command
        self._dispatch_in_background(command)
        return command

    def load(self) -> None:
        """Load the commands of the previous rehearsal; nothing runs until `resume`."""
        with self._changed:
            self._commands = {command.command_id: command for command in self._history.read()}

    def resume(self) -> None:
        """Deliver undelivered commands. Commands that were running end as after a reboot."""
        hosts = self._fleet.states()
        self.abandon({invocation.instance_id for _, invocation in self._open()} - hosts.keys())
        for command in list(self._commands.values()):
            if any(not invocation.state.ended for invocation in command.invocations):
                self._dispatch_in_background(command)

    def close(self, instance_ids: Iterable[str]) -> None:
        """Stop everything on these instances. The history still has it as running: nobody reported an end."""
        with self._changed:
            self._history.close()
            self.abandon(instance_ids)

    def erase(self) -> None:
        """Delete the history. Call after `close`."""
        self._history.clear()

    def commands(self, region: str) -> list[Command]:
        """A region's commands, newest first."""
        with self._changed:
            return [command for command in reversed(self._commands.values()) if command.request.region == region]

    def command(self, region: str, command_id: str) -> Command:
        """AwsError (InvalidCommandId) when the command does not exist."""
        with self._changed:
            command = self._commands.get(command_id)
        if command is None or command.request.region != region:
            raise AwsError("InvalidCommandId", f"Invalid command id {command_id}.")
        return command

    def visible_invocations(self, command: Command) -> list[tuple[Invocation, InvocationState]]:
        """The command's invocations that clients can see by now, with the states that clients see."""
        now, moment = datetime.now(timezone.utc), time.monotonic() - self._latency.now.lag
        return [
            (invocation, invocation.state_at(moment))
            for invocation in command.invocations
            if invocation.visible_at <= now
        ]

    def visible_states(self, command: Command) -> list[InvocationState]:
        """The states that clients see of all the command's invocations."""
        moment = time.monotonic() - self._latency.now.lag
        return [invocation.state_at(moment) for invocation in command.invocations]

    def cancel(self, command: Command, instance_ids: Sequence[str]) -> None:
        """Cancel the command on the named instances, or on all; ended invocations stay as they are."""
        with self._changed:
            cancelled = [
                invocation
                for invocation in command.invocations
                if not invocation.state.ended and (not instance_ids or invocation.instance_id in instance_ids)
            ]
            command.cancelled |= bool(cancelled) and not instance_ids
            self._history.update_command(command)
            for invocation in cancelled:
                if invocation.state.status in _UNDELIVERED:
                    invocation.end_unreported(time.monotonic(), "Cancelled", "Cancelled")
                else:
                    invocation.cancelling = True
                    self._set_status(command, invocation, "Cancelling")
                if invocation.state.ended or self._links.connected(invocation.instance_id):
                    invocation.cancelled.set()
                self._history.update(command, invocation)
            self._changed.notify_all()

    def abandon(self, instance_ids: Iterable[str], *, undelivered: bool = True) -> None:
        """Stop commands on instances that go away. Nobody reports an end: their last known state stays.

        `undelivered`: give up the delivery of commands, too.
        """
        gone = set(instance_ids)
        with self._changed:
            for _, invocation in self._open():
                is_affected = undelivered or invocation.state.status not in _UNDELIVERED
                if invocation.instance_id in gone and is_affected:
                    invocation.lost = True
                    invocation.cancelled.set()
            self._changed.notify_all()

    def reconnect(self, instance_id: str) -> None:
        """Send the reports of an agent that is reachable again, and pass it the cancellations it missed."""
        with self._changed:
            for command, invocation in self._open():
                if invocation.instance_id != instance_id:
                    continue
                if invocation.unsent is not None:
                    invocation.change(time.monotonic(), _with_cancelling(invocation, invocation.unsent))
                    invocation.unsent = None
                    self._history.update(command, invocation)
                if invocation.cancelling:
                    invocation.cancelled.set()
            self._changed.notify_all()

    def expire(self) -> None:
        """End the invocations of commands whose total timeout has passed."""
        with self._changed:
            for command, invocation in self._open():
                if self._now() >= command.sent + command.request.total_timeout:
                    invocation.end_unreported(time.monotonic(), "TimedOut", "DeliveryTimedOut")
                    self._history.update(command, invocation)
            self._changed.notify_all()

    def _open(self) -> list[tuple[Command, Invocation]]:
        return [
            (command, invocation)
            for command in self._commands.values()
            for invocation in command.invocations
            if not invocation.state.ended
        ]

    def _dispatch_in_background(self, command: Command) -> None:
        threading.Thread(
            target=self._dispatch, args=(command,), name=f"command {command.command_id}", daemon=True
        ).start()

    def _dispatch(self, command: Command) -> None:
        """Deliver the command in growing waves, within MaxConcurrency, until it has more errors than MaxErrors."""
        slots = threading.Semaphore(max(1, rate(command.request.max_concurrency, len(command.invocations))))
        waiting: list[Invocation] = []
        for invocation in command.invocations:
            if invocation.state.is_running:
                slots.acquire()
                threading.Thread(target=self._end_after_restart, args=(command, invocation, slots), daemon=True).start()
            elif not invocation.state.ended:
                waiting.append(invocation)
        wave = 1
        while waiting:
            sent, waiting = waiting[:wave], waiting[wave:]
            for invocation in sent:
                slots.acquire()
                if command.errors > command.errors_allowed:
                    with self._changed:
                        invocation.end_unreported(time.monotonic(), "Cancelled", "Terminated")
                        self._history.update(command, invocation)
                    slots.release()
                    continue
                threading.Thread(target=self._deliver, args=(command, invocation, slots), daemon=True).start()
            if waiting:
                time.sleep(self._latency.now.wave)
            wave *= 2

    def _deliver(self, command: Command, invocation: Invocation, slots: threading.Semaphore) -> None:
        try:
            invocation.cancelled.wait(self._latency.now.delivery)
            host = self._wait_for_agent(command, invocation)
            if host is not None:
                self._run(command, invocation, host)
        finally:
            slots.release()

    def _wait_for_agent(self, command: Command, invocation: Invocation) -> Host | None:
        """The host, once its agent has received the command; None when it never will."""
        with self._changed:
            while not invocation.state.ended and not invocation.lost:
                in_time = self._now() < command.sent + timedelta(seconds=command.request.timeout)
                host = self._fleet.ready(invocation.instance_id)
                if host is not None and in_time and self._links.connected(invocation.instance_id):
                    self._set_status(command, invocation, "InProgress")
                    return host
                if invocation.state.status != "Delayed":
                    self._set_status(command, invocation, "Delayed")
                self._changed.wait(_POLL_SECONDS)
        return None

    def _run(self, command: Command, invocation: Invocation, host: Host) -> None:
        request, instance_id = command.request, invocation.instance_id
        records = [StepRecord(step.name) for step in request.steps]
        job = Job(
            command.command_id,
            instance_id,
            request.region,
            request.steps,
            boots=lambda: self._fleet.boots(instance_id),
            reboot=(lambda: self._fleet.reboot(instance_id)) if isinstance(host, Rebootable) else None,
        )

        report = partial(self._report, command, invocation, records)
        outcome = agent.run(job, host, records, cancelled=invocation.cancelled, report=report)
        if outcome == "interrupted":
            self._end_interrupted(command, invocation, records)
        elif outcome == "ended":
            report(agent.overall_status(records))

    def _end_after_restart(self, command: Command, invocation: Invocation, slots: threading.Semaphore) -> None:
        """End an invocation that was running when the previous rehearsal ended, unless its result is still unsent."""
        try:
            last = invocation.unsent or invocation.state
            if not last.ended:
                self._end_interrupted(command, invocation, [replace(record) for record in last.records])
        finally:
            slots.release()

    def _end_interrupted(self, command: Command, invocation: Invocation, records: Sequence[StepRecord]) -> None:
        if self._wait_for_restart(invocation):
            agent.fail_interrupted(records)
            self._report(command, invocation, records, "Failed")

    def _wait_for_restart(self, invocation: Invocation) -> bool:
        """Wait until the host has rebooted and its agent has given up on the command; False if it never does."""
        with self._changed:
            while self._fleet.ready(invocation.instance_id) is None:
                if invocation.lost or invocation.state.ended:
                    return False
                self._changed.wait(_POLL_SECONDS)
        time.sleep(self._latency.now.given_up)
        return not invocation.lost

    def _set_status(self, command: Command, invocation: Invocation, status: str) -> None:
        invocation.change(time.monotonic(), replace(invocation.state, status=status, details=status))
        self._history.update(command, invocation)

    def _report(
        self, command: Command, invocation: Invocation, records: Sequence[StepRecord], status: str = "InProgress"
    ) -> None:
        """Accept a report of an agent; the last one that the agent can't send is stored."""
        details = "ExecutionTimedOut" if status == "TimedOut" else status
        state = InvocationState(status, details, tuple(replace(record) for record in records))
        with self._changed:
            state = _with_cancelling(invocation, state)
            if invocation.lost:
                return
            if self._links.connected(invocation.instance_id):
                invocation.change(time.monotonic(), state)
            else:
                invocation.unsent = state
            self._history.update(command, invocation)


def _with_cancelling(invocation: Invocation, state: InvocationState) -> InvocationState:
    """The reported state. A running agent may not know yet that the command is being cancelled."""
    if invocation.cancelling and not state.ended:
        return replace(state, status="Cancelling", details="Cancelling")
    return state
