"""A task file run on instances, from its text to the summary at the end; what `invoke setup` and `run-tasks` share."""

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
from torchneuron.setup import clearing, definition, failures, history, report, syntax
from torchneuron.setup.definition import TaskFile
from torchneuron.setup.delivery import Given, deliver
from torchneuron.setup.document import AUTO, DOCUMENT, MODES, compile_plan
from torchneuron.setup.failures import Words
from torchneuron.setup.monitor import Outcome
from torchneuron.setup.plan import Choice, Plan, grouped, make_plan
from torchneuron.setup.render import RenderedTask, render
from torchneuron.setup.run import Member, Runner, Way
from torchneuron.setup.run_command import Commands, check_rates
from torchneuron.setup.state import State, StateStore

_ONLINE_SECONDS = 600


@dataclass(frozen=True)
class RunOptions:
    """What both `invoke setup` and `invoke run-tasks` take, but for the instances."""

    choice: Choice = field(default_factory=Choice)
    way: Way = field(default_factory=Way)
    dry_run: bool = False
    wait: bool = False
    output: str = "table"

    def check(self) -> None:
        """Raises InputError for what cannot be, before anything is asked."""
        self.choice.check()
        for option, text, known in (("--mode", self.way.mode, MODES), ("--output", self.output, report.FORMS)):
            if text not in known:
                raise InputError(f"There is no {option} {text!r}.", why=f"Known are {', '.join(known)}.")
        check_rates(self.way.max_concurrency, self.way.max_errors)


def run_task_file(
    settings: Config,
    aws: Aws,
    task_file: TaskFile,
    values: Mapping[str, Mapping[str, str]],
    options: RunOptions,
    words: Words,
    given: Given | None = None,
    *,
    ended: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
) -> tuple[Outcome, ...]:
    """Run a task file on the instances of `values`, with each one's values, and with the secret ones of `given`.

    Everything is checked before anything is sent. Returns the outcomes; none after a dry run, which touches nothing.
    `ended` is called with them, failed or not.
    Raises SetupError when any machine failed.
    """
    members = _members(settings.state_dir, task_file, values)
    _check(members, options)
    commands = Commands(aws.ssm(), aws.ssm_once(), settings.project_name)
    if options.dry_run:
        _show_dry_run(commands, members, options)
        return ()
    instance_ids = [member.instance_id for member in members]
    waiting = f"Waiting for Systems Manager to reach {failures.named(instance_ids)}"
    with display.waiting(waiting) as progress:
        wait_until_online(
            aws,
            instance_ids,
            seconds=_ONLINE_SECONDS if options.wait else 0,
            report=lambda online: display.retell(progress, f"{waiting}: {online}"),
        )
    used = {name for member in members for task in member.tasks for name in task.secrets}
    if given is not None and (given := given.of(used)):
        with display.waiting(f"Sending the secret values, encrypted, to {failures.named(instance_ids)}"):
            deliver(aws.ssm(), instance_ids, given)
    begun = time.monotonic()
    with report.monitor(options.output, instance_ids) as monitor:
        outcomes = Runner(commands, monitor, words, options.way).run(members, options.choice)
    with suppress(AwsError):
        clearing.delete_documents(aws.ssm(), settings.project_name)
    ended(outcomes)
    _raise_failures(outcomes, words)
    report.show_outcomes(outcomes, time.monotonic() - begun, aws.region)
    return outcomes


def parse_variables(pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` arguments as a mapping. Raises InputError for one without a `=`."""
    values = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise InputError(f"{pair!r} is not NAME=VALUE.", do="Give --var NAME=VALUE, once a variable.")
        values[name] = value
    return values


def state_folder(state_dir: Path, task_file: Path) -> Path:
    """The shipped tasks' state lies in the state directory itself, other task files' beside it."""
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
    """What planning and compiling would refuse, refused before anything is asked of AWS."""
    # Machines with the same values share what was rendered for them.
    for tasks in {id(member.tasks): member.tasks for member in members}.values():
        make_plan(tasks, {}, options.choice)
        compile_plan(make_plan(tasks, {}), _mode(options))


def _mode(options: RunOptions) -> str:
    return DOCUMENT if options.way.mode == AUTO else options.way.mode


def _show_dry_run(commands: Commands, members: Sequence[Member], options: RunOptions) -> None:
    plans = {
        member.instance_id: make_plan(member.tasks, _known(commands, member, len(members)).digests, options.choice)
        for member in members
    }
    shown: dict[tuple[str, ...], Plan] = {group.instance_ids: group.plan for group in grouped(plans)}
    shown |= {(one,): plan for one, plan in plans.items() if not plan.pending}
    checked = syntax.check([task for plan in shown.values() for task, _ in plan.scripts()])
    report.show_dry_run(list(shown.items()), mode=_mode(options), syntax=checked)


def _known(commands: Commands, member: Member, members: int) -> State:
    """What is known of an instance, here or to SSM, without keeping anything."""
    state = member.store.find()
    if state is not None or members > 1:
        return state or State()
    try:
        return history.rebuild(commands, member.instance_id, member.tasks)
    except AwsError as error:
        display.note(f"What has finished on {member.instance_id} is not known here. {error.what}")
        return State()


def _raise_failures(outcomes: Sequence[Outcome], words: Words) -> None:
    failed = [outcome for outcome in outcomes if outcome.failure]
    if not failed:
        return
    if len(outcomes) == 1 and failed[0].failure:
        raise failed[0].failure
    raise failures.several(outcomes, words)
