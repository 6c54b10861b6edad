"""The whole main job without a failure: find a block, buy it, deploy, set up, log in."""

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
    """Everything but the setup's steps on the host, which are rendered and checked, and reported as not executed."""
    main_job.prepare(demo)
    demo.heading("Deploy on the block")
    demo.invoke("deploy", "--use-capacity-block", "-r", demo.region, "--skip-setup")
    demo.heading("Render and check the setup's steps")
    output = run(demo.sandbox, ["invoke", "setup", "--dry-run", "-r", demo.region])
    steps = re.findall(r"^----- (\S+): would run", output, flags=re.MULTILINE)
    checked = re.findall(r"^----- (\d+ scripts checked.*)$", output, flags=re.MULTILINE)
    for step in steps:
        print(f"  {step:<34} NOT EXECUTED: this machine cannot boot a host")
    print("\n".join(checked))
    print(f"\nThe whole main job passed, except the {len(steps)} steps on the host, which were not executed.")
