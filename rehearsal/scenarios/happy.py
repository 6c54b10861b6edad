"""The whole main job, and nothing goes wrong: found, bought, deployed, set up, logged in."""

from __future__ import annotations

import re

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import run


def play(demo: Demo) -> None:
    main_job.prepare(demo)
    demo.heading("Deploy on the block, and set code-server up")
    demo.invoke("deploy", "--use-capacity-block", "-r", demo.region)
    demo.heading("Log in")
    main_job.check_login(demo)


def play_without_host(demo: Demo) -> None:
    """All of it but the steps on the machine: what would run is rendered, checked, and called not executed."""
    main_job.prepare(demo)
    demo.heading("Deploy on the block")
    demo.invoke("deploy", "--use-capacity-block", "-r", demo.region, "--skip-setup")
    demo.heading("Render and check the setup's steps")
    told = run(demo.sandbox, ["invoke", "setup", "--dry-run", "-r", demo.region])
    steps = re.findall(r"^----- (\S+): would run", told, flags=re.MULTILINE)
    checked = re.findall(r"^----- (\d+ scripts checked.*)$", told, flags=re.MULTILINE)
    for step in steps:
        print(f"  {step:<34} NOT EXECUTED: this machine cannot boot a host")
    print("\n".join(checked))
    print(f"\nRehearsed: all but the {len(steps)} steps on the machine, none of which was executed.")
