"""Run a task file on instances, from its text to the summary: what `invoke setup` and `run-tasks` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from torchneuron.aws.session import Aws
from torchneuron.connectivity.online import wait_until_online
from torchneuron.core import display
from torchneuron.core.config import Config
from torchneuron.core.errors import AwsError, InputError
from torchneuron.setup import definition, failures, report
from torchneuron.setup.definition import TaskFile
from torchneuron.setup.document import AUTO, DOCUMENT, MODES, compile_plan
from torchneuron.setup.failures import ResumeCommands
from torchneuron.setup.plan import Plan, TaskSelection, grouped, make_plan
from torchneuron.setup.render import RenderedTask, check_syntax, render
from torchneuron.setup.run import DispatchOptions, Member, Runner
from torchneuron.setup.run_command import RunCommand, check_rates
from torchneuron.setup.secret_values import SecretValues, deliver
from torchneuron.setup.stale_documents import delete_stale_documents
from torchneuron.setup.state import State, StateStore, rebuild
from torchneuron.setup.steps import Outcome

_ONLINE_SECONDS = 600


@dataclass(frozen=True)
class RunOptions:
    """Options that `invoke setup` and `invoke run-tasks` share."""

    selection: TaskSelection = field(default_factory=TaskSelection)
    dispatch: DispatchOptions = field(default_factory=DispatchOptions)
    dry_run: bool = False
    wait: bool = False
    output: str = "table"

    @property
    def mode(self) -> str:
        """The mode to compile requests for."""
        return DOCUMENT if self.dispatch.mode == AUTO else self.dispatch.mode

    def check(self) -> None:
        """Raises InputError for invalid values and combinations."""
        self.selection.check()
        for option, value, known in (("--mode", self.dispatch.mode, MODES), ("--output", self.output, report.FORMS)):
            if value not in known:
                raise InputError(f"Unknown {option}: {value!r}.", why=f"Choose from {', '.join(known)}.")
        check_rates(self.dispatch.max_concurrency, self.dispatch.max_errors)


def run_task_file(
    settings: Config,
    aws: Aws,
    task_file: TaskFile,
    values: Mapping[str, Mapping[str, str]],
    options: RunOptions,
    resume: ResumeCommands,
    secret_values: SecretValues | None = None,
    *,
    ended: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
) -> tuple[Outcome, ...]:
    """Run a task file on the instances that are the keys of `values`, each with its variables' values.

    Checks everything before anything is sent, and calls `ended` with the outcomes. Returns the outcomes; none after a
    dry run, which changes nothing. Raises SetupError if the run failed on any instance.
    """
    members = _members(settings.state_dir, task_file, values)
    _check(members, options)
    run_command = RunCommand(aws.ssm(), aws.ssm_once(), settings.project_name)
    if options.dry_run:
        _show_dry_run(run_command, members, options)
        return ()
    instance_ids = [member.instance_id for member in members]
    waiting = f"Waiting for Systems Manager to reach {failures.summary(instance_ids)}"
    with display.waiting(waiting) as progress:
        wait_until_online(
            aws,
            instance_ids,
            seconds=_ONLINE_SECONDS if options.wait else 0,
            report=lambda online: display.update_waiting(progress, f"{waiting}: {online}"),
        )
    used = {name for member in members for task in member.tasks for name in task.secrets}
    if secret_values is not None and (secret_values := secret_values.only(used)):
        with display.waiting(f"Sending the secret values, encrypted, to {failures.summary(instance_ids)}"):
            deliver(aws.ssm(), instance_ids, secret_values)
    started = time.monotonic()
    with report.monitor(options.output, instance_ids) as monitor:
        outcomes = Runner(run_command, monitor, resume, options.dispatch).run(members, options.selection)
    with suppress(AwsError):
        delete_stale_documents(aws.ssm(), settings.project_name)
    ended(outcomes)
    _raise_failures(outcomes, resume)
    report.show_outcomes(outcomes, time.monotonic() - started, aws.region)
    return outcomes


def parse_variables(pairs: Sequence[str]) -> dict[str, str]:
    """A mapping of `NAME=VALUE` arguments. Raises InputError for an argument of another form."""
    values = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise InputError(f"{pair!r} is not NAME=VALUE.", do="Give --var NAME=VALUE for each variable.")
        values[name] = value
    return values


def state_folder(state_dir: Path, task_file: Path) -> Path:
    """The folder for a task file's state: the state directory for the shipped one, a subfolder for others."""
    return state_dir if task_file.resolve() == definition.SHIPPED else state_dir / task_file.stem


def _members(state_dir: Path, task_file: TaskFile, given: Mapping[str, Mapping[str, str]]) -> list[Member]:
    folder = state_folder(state_dir, task_file.path)
    rendered: dict[tuple[tuple[str, str], ...], tuple[RenderedTask, ...]] = {}
    members = []
    for instance_id, values in given.items():
        key = tuple(sorted(values.items()))
        if key not in rendered:
            rendered[key] = render(task_file, definition.fill(task_file, values))
        members.append(Member(instance_id, rendered[key], StateStore(folder, instance_id)))
    return members


def _check(members: Sequence[Member], options: RunOptions) -> None:
    """Raise what planning and compiling would raise, before any call to AWS."""
    # Instances with the same values share their tasks.
    for tasks in {id(member.tasks): member.tasks for member in members}.values():
        make_plan(tasks, {}, options.selection)
        compile_plan(make_plan(tasks, {}), options.mode)


def _show_dry_run(run_command: RunCommand, members: Sequence[Member], options: RunOptions) -> None:
    plans = {
        member.instance_id: make_plan(
            member.tasks, _find_state(run_command, member, len(members)).digests, options.selection
        )
        for member in members
    }
    shown: dict[tuple[str, ...], Plan] = {group.instance_ids: group.plan for group in grouped(plans)}
    shown |= {(instance_id,): plan for instance_id, plan in plans.items() if not plan.pending}
    checked = check_syntax([task for plan in shown.values() for task, _ in plan.scripts()])
    report.show_dry_run(list(shown.items()), mode=options.mode, syntax=checked)


def _find_state(run_command: RunCommand, member: Member, members: int) -> State:
    """The state of an instance from its file or SSM's history, without saving it."""
    state = member.store.find()
    if state is not None or members > 1:
        return state or State()
    try:
        return rebuild(run_command, member.instance_id, member.tasks)
    except AwsError as error:
        display.note(f"Cannot find out what has finished on {member.instance_id}. {error.what}")
        return State()


def _raise_failures(outcomes: Sequence[Outcome], resume: ResumeCommands) -> None:
    failed = [outcome for outcome in outcomes if outcome.failure]
    if not failed:
        return
    if len(outcomes) == 1 and failed[0].failure:
        raise failed[0].failure
    raise failures.several(outcomes, resume)
