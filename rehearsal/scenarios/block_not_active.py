"""A block is bought for a date: a deploy before it is refused at once, and waiting is a command."""

from __future__ import annotations

from datetime import datetime, timedelta

from rehearsal.scenarios import main_job
from rehearsal.scenarios.stage import Stage

_BEFORE = timedelta(seconds=10)


def play(stage: Stage) -> None:
    proposed = main_job.buy(stage, show=False)
    main_job.make_bucket(stage, show=False)

    stage.heading("Deploy at once")
    stage.say(
        "The block is paid, and scheduled: EC2 would refuse a launch on it, and Terraform would try again for up to "
        "50 minutes. So deploy looks at the block first:"
    )
    stage.invoke("deploy", "--use-capacity-block", "-r", stage.region, "--skip-setup", status=2)
    stage.say("Nothing was made. The block is as it was, and so is what was paid for it:")
    stage.invoke("cb.list", "-r", stage.region)

    stage.heading("Wait for it")
    soon = datetime.fromisoformat(proposed.start) - _BEFORE
    stage.aws("clock", {"to": soon.isoformat()}, f"the days go by, until {_BEFORE.seconds} seconds before the start")
    stage.invoke("cb.wait", "--until", "active", "-r", stage.region)

    stage.heading("The same deploy, once it has begun")
    stage.invoke("deploy", "--use-capacity-block", "-r", stage.region, "--skip-setup")
    stage.say("`invoke cb.wait && invoke deploy --use-capacity-block`, left in a terminal, is all there is to do.")
