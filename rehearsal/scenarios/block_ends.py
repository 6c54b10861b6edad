"""A block ends: the notice, the last minutes, what AWS takes and what stays, and how to go on with the data."""

from __future__ import annotations

from datetime import datetime, timedelta

from rehearsal.scenarios import main_job
from rehearsal.scenarios.sandbox import SandboxError
from rehearsal.scenarios.stage import Stage

# EC2 user guide, "Work with Capacity Blocks": from then on instances are terminated.
_TAKEN_BACK = timedelta(minutes=30)
_NOTICE = timedelta(minutes=10)
_VOLUME_GIB = "20"


def play(stage: Stage) -> None:
    proposed = main_job.prepare(stage, show=False)
    end = datetime.fromisoformat(proposed.start) + timedelta(hours=main_job.HOURS)
    deploy = ("deploy", "--use-capacity-block", "-r", stage.region)
    stage.heading("Deploy, with the home folder on a volume of its own")
    stage.invoke(*deploy, "--data-volume-size", _VOLUME_GIB, show=False)
    work = stage.task_file("work", "echo 'a day of work' >/work/notes.txt")
    stage.invoke("run-tasks", "--file", work, "-r", stage.region)

    _be_told(stage, main_job.saved_block(stage), end - _TAKEN_BACK)
    _see_it_end(stage, end - _TAKEN_BACK)

    stage.heading("Go on with another block")
    stage.aws("clock", {"to": end.isoformat()}, "the block is over")
    stage.invoke(*deploy, status=2)
    again = main_job.find(stage, show=False)
    stage.invoke(*again.purchase, "-r", stage.region, show=False)
    main_job.begin(stage, again)
    stage.say("The volume has outlived the machine, and the next one in its zone gets it:")
    stage.invoke(*deploy)
    look = stage.task_file("look", "grep -x 'a day of work' /work/notes.txt")
    stage.invoke("run-tasks", "--file", look, "-r", stage.region)


def _be_told(stage: Stage, block: str, taken_back: datetime) -> None:
    stage.heading("Have the end announced")
    nearly = taken_back - _NOTICE - timedelta(seconds=5)
    stage.aws("clock", {"to": nearly.isoformat()}, f"a day goes by, until {nearly:%H:%M:%S} UTC")
    stage.invoke("cb.wait", "--until", "ending", "--reservation-id", block, "-r", stage.region)
    stage.say(
        "With a command of yours behind it (`invoke cb.wait --until ending … && ./save.sh`) the work is saved in time. "
        "To extend the block it is too late, AWS sells extensions until an hour before the end:"
    )
    extend = ("cb.extend", "--reservation-id", block, "-d", str(main_job.HOURS), "--yes")
    stage.invoke(*extend, "-r", stage.region, status=2)


def _see_it_end(stage: Stage, taken_back: datetime) -> None:
    stage.heading("The machine is taken back, 30 minutes before the end of what was paid")
    instance = main_job.the_instance(stage)
    stage.aws("clock", {"to": taken_back.isoformat()}, f"it is {taken_back:%H:%M} UTC")
    found = stage.sandbox.client("ec2", stage.region).describe_instances(InstanceIds=[instance])
    state = found["Reservations"][0]["Instances"][0]["State"]["Name"]
    if state != "terminated":
        raise SandboxError(f"{instance} is {state}.")
    stage.say(f"-> AWS has terminated {instance}")
    stage.invoke("info", "-r", stage.region, status=2)
    stage.invoke("cb.list", "-r", stage.region)
