"""A laptop dies at the worst moments: in a purchase, in a deploy, in the setup. The same commands take all of it up."""

from __future__ import annotations

import re
import shlex

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import SandboxError

_MOST_SECONDS = 600


def play(demo: Demo) -> None:
    demo.heading("Find a Capacity Block")
    proposed = main_job.find(demo, show=False)
    _purchase(demo, proposed)
    main_job.begin(demo, proposed)
    main_job.make_bucket(demo, show=False)
    _deploy(demo)
    _setup(demo)
    demo.heading("Log in")
    main_job.check_login(demo)


def _purchase(demo: Demo, proposed: main_job.Proposed) -> None:
    demo.heading("Buy it, and die while AWS is at it")
    demo.say("-> a purchase takes long today")
    _hold(demo, "PurchaseCapacityBlock", "delay")
    purchase = (*proposed.purchase, "-r", demo.region)
    demo.invoke_and_die(*purchase, at="Price", once=lambda: _is_held(demo))
    demo.say(
        "Was it bought? Asked a second time EC2 might sell it twice: the request has no token by which it would know "
        "it again. So the same command looks first, and as long as it cannot tell it sends nothing:"
    )
    demo.heading("The same command")
    demo.invoke(*purchase, status=3)
    _release(demo)
    ec2 = demo.sandbox.client("ec2", demo.region)
    demo.wait(
        lambda: bool(ec2.describe_capacity_reservations()["CapacityReservations"]), "AWS is through with the purchase"
    )
    demo.heading("The same command, later")
    demo.invoke(*purchase)
    demo.invoke("cb.list", "-r", demo.region)


def _deploy(demo: Demo) -> None:
    deploy = ("deploy", "--use-capacity-block", "-r", demo.region)
    demo.heading("Deploy, and die while Terraform is at it")
    _hold(demo, "RunInstances", "lost-before")
    demo.invoke_and_die(*deploy, "--skip-setup", at="aws_security_group.machine", once=lambda: _is_held(demo))
    _release(demo)
    demo.heading("The same command")
    told = demo.invoke(*deploy, "--skip-setup", status=1)
    unlock = re.search(r"^ *(terraform .*force-unlock .*)$", told, flags=re.MULTILINE)
    if unlock is None:
        raise SandboxError("deploy did not say how to take the lock away.")
    demo.say("Nobody else is deploying, so the lock may go:")
    demo.type(*shlex.split(unlock.group(1)))
    demo.invoke(*deploy, "--skip-setup")


def _setup(demo: Demo) -> None:
    demo.heading("Set code-server up, and die on the way")
    demo.invoke_and_die("setup", "-r", demo.region, at="05-create-user")
    demo.say("The machine goes on by itself: the run is one SSM command, which needs nobody to watch it.")
    demo.heading("The same command attaches to it")
    demo.invoke("setup", "-r", demo.region)


def _hold(demo: Demo, operation: str, kind: str) -> None:
    """Have the next request wait until `_release`: the laptop dies meanwhile, on a slow machine too."""
    fault = {"operation": operation, "kind": kind, "seconds": _MOST_SECONDS}
    demo.sandbox.control("faults", {"faults": [fault]})


def _is_held(demo: Demo) -> bool:
    return not demo.sandbox.control("faults")["faults"]


def _release(demo: Demo) -> None:
    demo.sandbox.control("faults", {"faults": []})
