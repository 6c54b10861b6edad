"""Where a rehearsal is played: commands as a user types them, what AWS does meanwhile, and a word between them.

Scenarios (`rehearsal/scenarios/`) are told in these verbs. A command that ends otherwise than the story says ends the
rehearsal with a `SandboxError`: what is shown is what happened.
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
    """A sandbox, and somebody who watches."""

    sandbox: Sandbox
    region: str
    _begun: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has been played."""
        return time.monotonic() - self._begun

    def heading(self, text: str) -> None:
        print(f"\n[{self.seconds:5.1f} s] {text}", flush=True)

    def say(self, text: str) -> None:
        """A word to the one who watches, as a paragraph of its own."""
        print(textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  "), flush=True)

    def invoke(self, *arguments: str, status: int = 0, show: bool = True) -> str:
        """A command typed by the user, which ends with `status`; what it printed.

        That is its standard output, and its standard error too where it fails. Without `show` only the command is
        seen: what others of the same story have shown already. Raises SandboxError when it ends otherwise.
        """
        return self.type("invoke", *arguments, status=status, show=show)

    def type(self, *words: str, status: int = 0, show: bool = True) -> str:
        """The same for a command of any program."""
        print(f"$ {shlex.join(words)}", flush=True)
        told = run(self.sandbox, words, show=show, merge=status != 0, status=status)
        if status:
            print(f"(status {status})", flush=True)
        return told

    def invoke_and_die(self, *arguments: str, at: str, once: Callable[[], bool] = lambda: True) -> str:
        """A command typed by the user, whose laptop dies when it has printed `at` and `once` holds.

        Everything of it ends at once, as by `kill -9`. Returns what it had printed.
        """
        print(f"$ invoke {shlex.join(arguments)}", flush=True)
        told = run_until_killed(self.sandbox, ["invoke", *arguments], at=at, once=once)
        print("(the laptop is dead)", flush=True)
        return told

    def aws(self, what: str, body: Mapping[str, Any], told: str) -> dict[str, Any]:
        """Something AWS does, or somebody else there: said, then done through the control API."""
        self.say(f"-> {told}")
        return self.sandbox.control(what, body)

    def wait(self, holds: Callable[[], bool], told: str) -> None:
        """Wait until what is `told` has happened, which `holds` then."""
        wait_until(holds, told)
        self.say(f"-> {told}")

    def task_file(self, name: str, *commands: str) -> str:
        """The path of a file of one task, to be run by `run-tasks`; it is named like the task."""
        path = self.sandbox.folder / f"{name}.json"
        path.write_text(json.dumps({"tasks": [{"id": name, "name": name, "commands": commands}]}, indent=2) + "\n")
        return str(path)
