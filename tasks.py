"""The command collection of Invoke (`invoke --list`). The commands are in `commands/`."""

from __future__ import annotations

from invoke import Collection

from commands import capacity_blocks, command_line, doctor, machine, setup

command_line.install()

cb = Collection(
    "cb",
    capacity_blocks.search,
    capacity_blocks.purchase,
    capacity_blocks.extend,
    capacity_blocks.describe,
    capacity_blocks.cancel,
    capacity_blocks.save_params,
    capacity_blocks.load_params,
    capacity_blocks.wait,
)
cb.add_task(capacity_blocks.list_, "list")
# `invoke setup` runs the default of the collection.
setup_and_logs = Collection("setup", setup.logs)
setup_and_logs.add_task(setup.setup, "run", default=True)
namespace = Collection(
    machine.bootstrap,
    machine.deploy,
    machine.info,
    machine.password,
    machine.destroy,
    setup.run_tasks,
    machine.rehearse,
    doctor.doctor,
    cb,
    setup_and_logs,
)
