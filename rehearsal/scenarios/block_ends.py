"""A block ends: the notice, the last minutes, what AWS takes and what stays, and how to go on with the data."""

from __future__ import annotations

from datetime import datetime, timedelta

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import SandboxError

# EC2 user guide, "Work with Capacity Blocks": from then on instances are terminated.
_TAKEN_BACK = timedelta(minutes=30)
_NOTICE = timedelta(minutes=10)
_VOLUME_GIB = "20"


def play(demo: Demo) -> None:
    proposed = main_job.prepare(demo, show=False)
    end = datetime.fromisoformat(proposed.start) + timedelta(hours=main_job.HOURS)
    deploy = ("deploy", "--use-capacity-block", "-r", demo.region)
    demo.heading("Deploy, with the home folder on a volume of its own")
    demo.invoke(*deploy, "--data-volume-size", _VOLUME_GIB, show=False)
    work = demo.task_file("work", "echo 'a day of work' >/work/notes.txt")
    demo.invoke("run-tasks", "--file", work, "-r", demo.region)

    _be_told(demo, main_job.saved_block(demo), end - _TAKEN_BACK)
    _see_it_end(demo, end - _TAKEN_BACK)

    demo.heading("Go on with another block")
    demo.aws("clock", {"to": end.isoformat()}, "the block is over")
    demo.invoke(*deploy, status=2)
    again = main_job.find(demo, show=False)
    demo.invoke(*again.purchase, "-r", demo.region, show=False)
    main_job.begin(demo, again)
    demo.say("The volume has outlived the machine, and the next one in its zone gets it:")
    demo.invoke(*deploy)
    look = demo.task_file("look", "grep -x 'a day of work' /work/notes.txt")
    demo.invoke("run-tasks", "--file", look, "-r", demo.region)


def _be_told(demo: Demo, block: str, taken_back: datetime) -> None:
    demo.heading("Have the end announced")
    nearly = taken_back - _NOTICE - timedelta(seconds=5)
    demo.aws("clock", {"to": nearly.isoformat()}, f"a day goes by, until {nearly:%H:%M:%S} UTC")
    demo.invoke("cb.wait", "--until", "ending", "--reservation-id", block, "-r", demo.region)
    demo.say(
        "With a command of yours behind it (`invoke cb.wait --until ending … && ./save.sh`) the work is saved in time. "
        "To extend the block it is too late, AWS sells extensions until an hour before the end:"
    )
    extend = ("cb.extend", "--reservation-id", block, "-d", str(main_job.HOURS), "--yes")
    demo.invoke(*extend, "-r", demo.region, status=2)


def _see_it_end(demo: Demo, taken_back: datetime) -> None:
    demo.heading("The machine is taken back, 30 minutes before the end of what was paid")
    instance = main_job.the_instance(demo)
    demo.aws("clock", {"to": taken_back.isoformat()}, f"it is {taken_back:%H:%M} UTC")
    found = demo.sandbox.client("ec2", demo.region).describe_instances(InstanceIds=[instance])
    state = found["Reservations"][0]["Instances"][0]["State"]["Name"]
    if state != "terminated":
        raise SandboxError(f"{instance} is {state}.")
    demo.say(f"-> AWS has terminated {instance}")
    demo.invoke("info", "-r", demo.region, status=2)
    demo.invoke("cb.list", "-r", demo.region)
