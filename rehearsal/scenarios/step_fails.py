"""A task of the setup fails on the machine: its output, its log, the mending, and a run that goes on from there."""

from __future__ import annotations

from rehearsal.scenarios import main_job
from rehearsal.scenarios.stage import Stage


def play(stage: Stage) -> None:
    main_job.prepare(stage, show=False)
    stage.heading("Deploy, and leave the setup for later")
    stage.invoke("deploy", "--use-capacity-block", "-r", stage.region, "--skip-setup", show=False)
    instance = main_job.the_instance(stage)
    to = ("-i", instance, "-r", stage.region)
    port = stage.sandbox.settings()["nginxPort"]
    stage.say(f"-> meanwhile somebody starts a web server of their own on it, which takes port {port}")
    squatter = f"systemd-run --unit=forgotten --collect --quiet python3 -m http.server {port}"
    stage.invoke("run-tasks", "--file", stage.task_file("squatter", squatter), *to, show=False)

    stage.heading("Set code-server up")
    stage.invoke("setup", *to, status=1)

    stage.heading("Look closer")
    stage.say("The end of the output is above; the whole of it is in a log on the machine:")
    stage.invoke("setup.logs", "12", *to)
    look = stage.task_file("look", f"ss -ltnp 'sport = :{port}'")
    stage.invoke("run-tasks", "--file", look, *to)

    stage.heading("Mend it, and set up again")
    stage.invoke("run-tasks", "--file", stage.task_file("mend", "systemctl stop forgotten"), *to)
    stage.say("What had finished is not run again:")
    stage.invoke("setup", *to)
    main_job.check_login(stage)
