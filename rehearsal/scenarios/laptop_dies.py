"""A laptop dies at the worst moments: in a purchase, in a deploy, in the setup. The same commands take all of it up."""

from __future__ import annotations

import re
import shlex

from rehearsal.scenarios import main_job
from rehearsal.scenarios.sandbox import SandboxError
from rehearsal.scenarios.stage import Stage

_MOST_SECONDS = 600


def play(stage: Stage) -> None:
    stage.heading("Find a Capacity Block")
    proposed = main_job.find(stage, show=False)
    _purchase(stage, proposed)
    main_job.begin(stage, proposed)
    main_job.make_bucket(stage, show=False)
    _deploy(stage)
    _setup(stage)
    stage.heading("Log in")
    main_job.check_login(stage)


def _purchase(stage: Stage, proposed: main_job.Proposed) -> None:
    stage.heading("Buy it, and die while AWS is at it")
    stage.say("-> a purchase takes long today")
    _hold(stage, "PurchaseCapacityBlock", "delay")
    purchase = (*proposed.purchase, "-r", stage.region)
    stage.invoke_and_die(*purchase, at="Price", once=lambda: _is_held(stage))
    stage.say(
        "Was it bought? Asked a second time EC2 might sell it twice: the request has no token by which it would know "
        "it again. So the same command looks first, and as long as it cannot tell it sends nothing:"
    )
    stage.heading("The same command")
    stage.invoke(*purchase, status=3)
    _release(stage)
    ec2 = stage.sandbox.client("ec2", stage.region)
    stage.wait(
        lambda: bool(ec2.describe_capacity_reservations()["CapacityReservations"]), "AWS is through with the purchase"
    )
    stage.heading("The same command, later")
    stage.invoke(*purchase)
    stage.invoke("cb.list", "-r", stage.region)


def _deploy(stage: Stage) -> None:
    deploy = ("deploy", "--use-capacity-block", "-r", stage.region)
    stage.heading("Deploy, and die while Terraform is at it")
    _hold(stage, "RunInstances", "lost-before")
    stage.invoke_and_die(*deploy, "--skip-setup", at="aws_security_group.machine", once=lambda: _is_held(stage))
    _release(stage)
    stage.heading("The same command")
    told = stage.invoke(*deploy, "--skip-setup", status=1)
    unlock = re.search(r"^ *(terraform .*force-unlock .*)$", told, flags=re.MULTILINE)
    if unlock is None:
        raise SandboxError("deploy did not say how to take the lock away.")
    stage.say("Nobody else is deploying, so the lock may go:")
    stage.type(*shlex.split(unlock.group(1)))
    stage.invoke(*deploy, "--skip-setup")


def _setup(stage: Stage) -> None:
    stage.heading("Set code-server up, and die on the way")
    stage.invoke_and_die("setup", "-r", stage.region, at="05-create-user")
    stage.say("The machine goes on by itself: the run is one SSM command, which needs nobody to watch it.")
    stage.heading("The same command attaches to it")
    stage.invoke("setup", "-r", stage.region)


def _hold(stage: Stage, operation: str, kind: str) -> None:
    """Have the next request wait until `_release`: the laptop dies meanwhile, on a slow machine too."""
    fault = {"operation": operation, "kind": kind, "seconds": _MOST_SECONDS}
    stage.sandbox.control("faults", {"faults": [fault]})


def _is_held(stage: Stage) -> bool:
    return not stage.sandbox.control("faults")["faults"]


def _release(stage: Stage) -> None:
    stage.sandbox.control("faults", {"faults": []})
