"""A block is bought for a date: a deploy before it is refused at once, and waiting is a command."""

from __future__ import annotations

from datetime import datetime, timedelta

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo

_BEFORE = timedelta(seconds=10)


def play(demo: Demo) -> None:
    proposed = main_job.buy(demo, show=False)
    main_job.make_bucket(demo, show=False)

    demo.heading("Deploy at once")
    demo.say(
        "The block is paid, and scheduled: EC2 would refuse a launch on it, and Terraform would try again for up to "
        "50 minutes. So deploy looks at the block first:"
    )
    demo.invoke("deploy", "--use-capacity-block", "-r", demo.region, "--skip-setup", status=2)
    demo.say("Nothing was made. The block is as it was, and so is what was paid for it:")
    demo.invoke("cb.list", "-r", demo.region)

    demo.heading("Wait for it")
    soon = datetime.fromisoformat(proposed.start) - _BEFORE
    demo.aws("clock", {"to": soon.isoformat()}, f"the days go by, until {_BEFORE.seconds} seconds before the start")
    demo.invoke("cb.wait", "--until", "active", "-r", demo.region)

    demo.heading("The same deploy, once it has begun")
    demo.invoke("deploy", "--use-capacity-block", "-r", demo.region, "--skip-setup")
    wait, deploy = f"invoke cb.wait --until active -r {demo.region}", "invoke deploy --use-capacity-block"
    demo.say(f"To do both unattended: `{wait} && {deploy} -r {demo.region}`.")
