"""A laptop dies during the purchase, the deploy and the setup. The same commands resume each of them."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from functools import partial

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import SandboxError

_LONGEST_HOLD = timedelta(minutes=10)


def play(demo: Demo) -> None:
    demo.heading("Find a Capacity Block")
    proposal = main_job.find(demo, show=False)
    _purchase(demo, proposal)
    main_job.begin(demo, proposal)
    main_job.make_bucket(demo, show=False)
    _deploy(demo)
    _setup(demo)
    demo.heading("Log in")
    main_job.check_login(demo)


def _purchase(demo: Demo, proposal: main_job.Proposal) -> None:
    demo.heading("Buy it, and die during the request")
    demo.say("-> AWS takes long to answer the purchase")
    _hold(demo, "PurchaseCapacityBlock", "delay")
    purchase = (*proposal.purchase, "-r", demo.region)
    demo.invoke_and_die(*purchase, after="Price", once=lambda: _is_held(demo))
    demo.say(
        "Was it bought? The request has no idempotency token: EC2 might sell the block twice when it is sent again. So "
        "the same command looks first, and sends nothing as long as the result is unknown:"
    )
    demo.heading("The same command")
    demo.invoke(*purchase, status=3)
    _release(demo)
    ec2 = demo.sandbox.client("ec2", demo.region)
    demo.wait(
        lambda: bool(ec2.describe_capacity_reservations()["CapacityReservations"]), "AWS has completed the purchase"
    )
    demo.heading("The same command, later")
    demo.invoke(*purchase)
    demo.invoke("cb.list", "-r", demo.region)


def _deploy(demo: Demo) -> None:
    deploy = ("deploy", "--use-capacity-block", "-r", demo.region)
    demo.heading("Deploy, and die while Terraform runs")
    _hold(demo, "RunInstances", "lost-before")
    demo.invoke_and_die(*deploy, "--skip-setup", after="aws_security_group.machine", once=lambda: _is_held(demo))
    _release(demo)
    demo.heading("The same command")
    output = demo.invoke(*deploy, "--skip-setup", status=1)
    unlock = re.search(r"^ *(terraform .*force-unlock .*)$", output, flags=re.MULTILINE)
    if unlock is None:
        raise SandboxError("deploy did not print the command that removes the lock.")
    demo.say("Nobody else is deploying, so remove the lock:")
    demo.type(*shlex.split(unlock.group(1)))
    demo.invoke(*deploy, "--skip-setup")


def _setup(demo: Demo) -> None:
    demo.heading("Set code-server up, and die during the run")
    demo.invoke_and_die("setup", "-r", demo.region, after="05-create-user")
    # The run must not end before the next command attaches to it, so AWS hears from the agent only then.
    host = {"instance_id": main_job.the_instance(demo)}
    demo.sandbox.control("host", {**host, "do": "lose-agent", "noticed_after_seconds": _LONGEST_HOLD.seconds})
    demo.say("The host continues by itself: the run is one SSM command, which needs no laptop.")
    demo.heading("The same command attaches to it")
    restore = partial(demo.sandbox.control, "host", {**host, "do": "restore-agent"})
    demo.invoke("setup", "-r", demo.region, at=("Attached", restore))


def _hold(demo: Demo, operation: str, kind: str) -> None:
    """Make the next request of an operation wait until `_release`."""
    fault = {"operation": operation, "kind": kind, "seconds": _LONGEST_HOLD.seconds}
    demo.sandbox.control("faults", {"faults": [fault]})


def _is_held(demo: Demo) -> bool:
    return not demo.sandbox.control("faults")["faults"]


def _release(demo: Demo) -> None:
    demo.sandbox.control("faults", {"faults": []})
