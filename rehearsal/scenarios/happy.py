"""The whole main job, and nothing goes wrong: found, bought, deployed, set up, logged in."""

from __future__ import annotations

import re

from rehearsal.scenarios import main_job
from rehearsal.scenarios.sandbox import run
from rehearsal.scenarios.stage import Stage


def play(stage: Stage) -> None:
    main_job.prepare(stage)
    stage.heading("Deploy on the block, and set code-server up")
    stage.invoke("deploy", "--use-capacity-block", "-r", stage.region)
    stage.heading("Log in")
    main_job.check_login(stage)


def play_without_host(stage: Stage) -> None:
    """All of it but the steps on the machine: what would run is rendered, checked, and called not executed."""
    main_job.prepare(stage)
    stage.heading("Deploy on the block")
    stage.invoke("deploy", "--use-capacity-block", "-r", stage.region, "--skip-setup")
    stage.heading("Render and check the setup's steps")
    told = run(stage.sandbox, ["invoke", "setup", "--dry-run", "-r", stage.region])
    steps = re.findall(r"^----- (\S+): would run", told, flags=re.MULTILINE)
    checked = re.findall(r"^----- (\d+ scripts checked.*)$", told, flags=re.MULTILINE)
    for step in steps:
        print(f"  {step:<34} NOT EXECUTED: this machine cannot boot a host")
    print("\n".join(checked))
    print(f"\nRehearsed: all but the {len(steps)} steps on the machine, none of which was executed.")
