"""What a machine has finished, found out from SSM: for a laptop that has no state of it.

SSM keeps commands for 30 days, and their documents say which task, in which version, each step was. What is older, or
what this misses, the machine itself still knows: a task that finds its own mark there ends at once (`run-task.sh`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torchneuron.setup.render import RenderedTask
from torchneuron.setup.run_command import Commands, Found
from torchneuron.setup.state import Running, State
from torchneuron.setup.steps import in_order

_MOST_COMMANDS = 20


def rebuild(commands: Commands, instance_id: str, tasks: Sequence[RenderedTask]) -> State:
    """The state of `tasks` on an instance, by its last commands."""
    state = State()
    newest_first = list(itertools.islice(commands.history(instance_id), _MOST_COMMANDS))
    for command in reversed(newest_first):
        found = Found(command["CommandId"], command["DocumentName"])
        state = _after(state, commands, found, instance_id, tasks)
    return state


def _after(state: State, commands: Commands, found: Found, instance_id: str, tasks: Sequence[RenderedTask]) -> State:
    """The state after one more command: what it ran counts by how it ended there, and not by what was before."""
    ran = commands.tasks_of(found)
    invocation = commands.invocations(found.command_id, ran, instance_id).get(instance_id)
    if invocation is None or not ran:
        return state
    steps = in_order(invocation.steps, list(ran), {task.id for task in tasks if task.optional})
    state = state.without([step.task for step in steps if step.word.ended])
    wanted = {task.id for task in tasks} & ran.keys()
    for step in steps:
        if step.word.succeeded and step.task in wanted:
            state = state.with_finished(step.task, ran[step.task], found.command_id)
    return state if invocation.ended else state.with_running(Running(found.command_id, found.document, ran))
