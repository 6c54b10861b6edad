"""A setup task fails on the host: its output, its log, the fix, and a run that resumes from there."""

from __future__ import annotations

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo


def play(demo: Demo) -> None:
    main_job.prepare(demo, show=False)
    demo.heading("Deploy, and leave the setup for later")
    demo.invoke("deploy", "--use-capacity-block", "-r", demo.region, "--skip-setup", show=False)
    instance = main_job.the_instance(demo)
    target = ("-i", instance, "-r", demo.region)
    port = demo.sandbox.settings()["nginxPort"]
    demo.say(f"-> meanwhile, a colleague starts a web server on it that takes port {port}")
    other_server = f"systemd-run --unit=forgotten --collect --quiet python3 -m http.server {port}"
    demo.invoke("run-tasks", "--file", demo.task_file("other-server", other_server), *target, show=False)

    demo.heading("Set code-server up")
    demo.invoke("setup", *target, status=1)

    demo.heading("Find the cause")
    demo.say("The end of the output is above. A log on the host has all of it:")
    demo.invoke("setup.logs", "12", *target)
    look = demo.task_file("look", f"ss -ltnp 'sport = :{port}'")
    demo.invoke("run-tasks", "--file", look, *target)

    demo.heading("Fix it, and set up again")
    demo.invoke("run-tasks", "--file", demo.task_file("fix-it", "systemctl stop forgotten"), *target)
    demo.say("Finished tasks do not run again:")
    demo.invoke("setup", *target)
    main_job.check_login(demo)
