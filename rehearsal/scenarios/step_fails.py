"""A task of the setup fails on the machine: its output, its log, the mending, and a run that goes on from there."""

from __future__ import annotations

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo


def play(demo: Demo) -> None:
    main_job.prepare(demo, show=False)
    demo.heading("Deploy, and leave the setup for later")
    demo.invoke("deploy", "--use-capacity-block", "-r", demo.region, "--skip-setup", show=False)
    instance = main_job.the_instance(demo)
    to = ("-i", instance, "-r", demo.region)
    port = demo.sandbox.settings()["nginxPort"]
    demo.say(f"-> meanwhile somebody starts a web server of their own on it, which takes port {port}")
    squatter = f"systemd-run --unit=forgotten --collect --quiet python3 -m http.server {port}"
    demo.invoke("run-tasks", "--file", demo.task_file("squatter", squatter), *to, show=False)

    demo.heading("Set code-server up")
    demo.invoke("setup", *to, status=1)

    demo.heading("Look closer")
    demo.say("The end of the output is above; the whole of it is in a log on the machine:")
    demo.invoke("setup.logs", "12", *to)
    look = demo.task_file("look", f"ss -ltnp 'sport = :{port}'")
    demo.invoke("run-tasks", "--file", look, *to)

    demo.heading("Mend it, and set up again")
    demo.invoke("run-tasks", "--file", demo.task_file("mend", "systemctl stop forgotten"), *to)
    demo.say("What had finished is not run again:")
    demo.invoke("setup", *to)
    main_job.check_login(demo)
