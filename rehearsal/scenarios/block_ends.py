"""A block ends: the notice, what AWS terminates, what remains, and how to continue with the data."""

from __future__ import annotations

from datetime import datetime, timedelta

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import SandboxError

# EC2 user guide, "Work with Capacity Blocks": instances are terminated from 30 minutes before the end.
_TERMINATION = timedelta(minutes=30)
_NOTICE = timedelta(minutes=10)
_VOLUME_GIB = "20"


def play(demo: Demo) -> None:
    proposal = main_job.prepare(demo, show=False)
    end = datetime.fromisoformat(proposal.start) + timedelta(hours=main_job.HOURS)
    deploy = ("deploy", "--use-capacity-block", "-r", demo.region)
    demo.heading("Deploy with the home folder on a data volume")
    demo.invoke(*deploy, "--data-volume-size", _VOLUME_GIB, show=False)
    work = demo.task_file("work", "echo 'a day of work' >/work/notes.txt")
    demo.invoke("run-tasks", "--file", work, "-r", demo.region)

    _wait_for_notice(demo, main_job.saved_block(demo), end - _TERMINATION)
    _terminate(demo, end - _TERMINATION)

    demo.heading("Continue on another block")
    demo.aws("clock", {"to": end.isoformat()}, "the block ends")
    demo.invoke(*deploy, status=2)
    next_proposal = main_job.find(demo, show=False)
    demo.invoke(*next_proposal.purchase, "-r", demo.region, show=False)
    main_job.begin(demo, next_proposal)
    demo.say("The data volume still exists, and the next instance in its zone gets it:")
    demo.invoke(*deploy)
    look = demo.task_file("look", "grep -x 'a day of work' /work/notes.txt")
    demo.invoke("run-tasks", "--file", look, "-r", demo.region)


def _wait_for_notice(demo: Demo, block: str, termination: datetime) -> None:
    demo.heading("Wait for the notice of the end")
    shortly_before = termination - _NOTICE - timedelta(seconds=5)
    demo.aws("clock", {"to": shortly_before.isoformat()}, f"a day passes, until {shortly_before:%H:%M:%S} UTC")
    demo.invoke("cb.wait", "--until", "ending", "--reservation-id", block, "-r", demo.region)
    demo.say(
        "A command after it (`invoke cb.wait --until ending … && ./save.sh`) saves the work in time. It is too late to "
        "extend the block: AWS sells extensions until one hour before the end."
    )
    extend = ("cb.extend", "--reservation-id", block, "-d", str(main_job.HOURS), "--yes")
    demo.invoke(*extend, "-r", demo.region, status=2)


def _terminate(demo: Demo, termination: datetime) -> None:
    demo.heading("AWS terminates the instance 30 minutes before the block ends")
    instance = main_job.the_instance(demo)
    demo.aws("clock", {"to": termination.isoformat()}, f"it is {termination:%H:%M} UTC")
    response = demo.sandbox.client("ec2", demo.region).describe_instances(InstanceIds=[instance])
    state = response["Reservations"][0]["Instances"][0]["State"]["Name"]
    if state != "terminated":
        raise SandboxError(f"{instance} is {state}.")
    demo.say(f"-> AWS has terminated {instance}")
    demo.invoke("info", "-r", demo.region, status=2)
    demo.invoke("cb.list", "-r", demo.region)
