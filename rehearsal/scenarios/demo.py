"""The verbs of a scenario: commands that a user types, what happens in AWS meanwhile, and comments between them.

Everything printed is real output. A command that does not end as the scenario expects ends it with a SandboxError.
"""

from __future__ import annotations

import json
import shlex
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rehearsal.scenarios.sandbox import Sandbox, run, run_until_killed, wait_until

_WIDTH = 110


@dataclass
class Demo:
    """A scenario that is played in a sandbox, printed to standard output."""

    sandbox: Sandbox
    region: str
    _started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def heading(self, text: str) -> None:
        print(f"\n[{self.seconds:5.1f} s] {text}", flush=True)

    def say(self, text: str) -> None:
        """Print a comment as a paragraph."""
        print(textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  "), flush=True)

    def invoke(
        self,
        *arguments: str,
        status: int = 0,
        show: bool = True,
        at: tuple[str, Callable[[], object]] | None = None,
    ) -> str:
        """Run an Invoke command that has to end with `status`, and return its standard output.

        Output of a command that fails includes its standard error. `show=False` prints only the command line. `at`: a
        text, and what to do once a line of the output has it. Raises SandboxError.
        """
        return self.type("invoke", *arguments, status=status, show=show, at=at)

    def type(
        self,
        *words: str,
        status: int = 0,
        show: bool = True,
        at: tuple[str, Callable[[], object]] | None = None,
    ) -> str:
        """As `invoke`, for a command of any program."""
        print(f"$ {shlex.join(words)}", flush=True)
        output = run(self.sandbox, words, show=show, merge=status != 0, status=status, at=at)
        if status:
            print(f"(status {status})", flush=True)
        return output

    def invoke_and_die(self, *arguments: str, after: str, once: Callable[[], bool] = lambda: True) -> str:
        """Run an Invoke command, and kill it and its children when it has printed `after` and `once` is true.

        Returns the output so far.
        """
        print(f"$ invoke {shlex.join(arguments)}", flush=True)
        output = run_until_killed(self.sandbox, ["invoke", *arguments], after=after, once=once)
        print("(the laptop is dead)", flush=True)
        return output

    def aws(self, request: str, body: Mapping[str, Any], description: str) -> dict[str, Any]:
        """Print what happens in AWS, then make it happen through the control API."""
        self.say(f"-> {description}")
        return self.sandbox.control(request, body)

    def wait(self, condition: Callable[[], bool], description: str) -> None:
        """Wait for a condition, then print that it holds."""
        wait_until(condition, description)
        self.say(f"-> {description}")

    def task_file(self, name: str, *commands: str) -> str:
        """Write a file with one task for `run-tasks`, named like the task, and return its path."""
        path = self.sandbox.folder / f"{name}.json"
        path.write_text(json.dumps({"tasks": [{"id": name, "name": name, "commands": commands}]}, indent=2) + "\n")
        return str(path)
