"""A block starts on a later date: deploy refuses to run before that, and `cb.wait` waits for it."""

from __future__ import annotations

from datetime import datetime, timedelta

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo

_BEFORE = timedelta(seconds=10)


def play(demo: Demo) -> None:
    proposal = main_job.buy(demo, show=False)
    main_job.make_bucket(demo, show=False)

    demo.heading("Deploy at once")
    demo.say(
        "The block is paid and scheduled. EC2 would refuse to launch on it, and Terraform would retry for up to 50 "
        "minutes, so deploy checks the block first:"
    )
    demo.invoke("deploy", "--use-capacity-block", "-r", demo.region, "--skip-setup", status=2)
    demo.say("Nothing was created. The block and its payment are unchanged:")
    demo.invoke("cb.list", "-r", demo.region)

    demo.heading("Wait for it")
    soon = datetime.fromisoformat(proposal.start) - _BEFORE
    demo.aws("clock", {"to": soon.isoformat()}, f"days pass, until {_BEFORE.seconds} seconds before the start")
    demo.invoke("cb.wait", "--until", "active", "-r", demo.region)

    demo.heading("The same deploy, once the block is active")
    demo.invoke("deploy", "--use-capacity-block", "-r", demo.region, "--skip-setup")
    wait, deploy = f"invoke cb.wait --until active -r {demo.region}", "invoke deploy --use-capacity-block"
    demo.say(f"To do both unattended: `{wait} && {deploy} -r {demo.region}`.")
