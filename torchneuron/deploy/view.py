"""What `invoke info` and `invoke deploy` print at the end: what is there, and how to reach it.

The JSON's names stay as they are; times are ISO 8601 in UTC; null stands for what does not apply or is not known.
`region`, `securityGroupId`, `secretArn`, `dataVolumeIds`, `foundBy` (`state` or `tags`), `lost` (ids of instances
that are gone), `openTo` (CIDR blocks that may reach nginx, or ids of groups and prefix lists), `https`;
`instances`, each `id`,
`state`, `type`, `zone`, `publicDns`, `url` (of nginx, where addresses were let in), `capacityReservationId`,
`instancesTerminated` (when AWS begins to), `secondsToTermination`, `setup`: `finished` and `tasks` by number.
"""

from __future__ import annotations

import json
from typing import Any

from torchneuron.core import display
from torchneuron.core.config import Config
from torchneuron.core.networks import everyone_in
from torchneuron.core.text import iso_or_none, quoted, seconds_to, when
from torchneuron.deploy.inventory import Deployed, Machine
from torchneuron.deploy.terraform_plan import Plan
from torchneuron.setup import code_server
from torchneuron.setup.code_server import Progress

LOCAL_PORT = 8080


def show(deployed: Deployed, config: Config) -> None:
    """The deployment, for a person."""
    progress = code_server.progress(config, deployed.instance_ids)
    facts: list[tuple[str, str]] = []
    for machine in deployed.machines:
        facts += _machine(machine, progress[machine.instance_id], deployed, config)
    facts += [
        ("gone", f"{', '.join(deployed.lost)}: invoke deploy replaces what is gone" if deployed.lost else ""),
        ("open to", _open_to(deployed, config)),
        ("security group", deployed.security_group_id),
        ("secret", deployed.secret_arn or "not found"),
        ("data volume", ", ".join(deployed.data_volume_ids)),
        ("password", f"invoke password -r {deployed.region}"),
    ]
    display.facts([(name, value) for name, value in facts if value])
    if deployed.open_to and not config.https:
        display.warn(
            "the machine is open over plain HTTP: anyone on the way can read the password and all you do."
            f' Set "tls" in {config.path.name}, then: invoke deploy -r {deployed.region}.'
            f" Or close it: invoke deploy --closed -r {deployed.region}"
        )


def show_json(deployed: Deployed, config: Config) -> None:
    """The deployment, for a program."""
    progress = code_server.progress(config, deployed.instance_ids)
    document = {
        "region": deployed.region,
        "foundBy": "state" if deployed.from_state else "tags",
        "instances": [_as_json(one, progress[one.instance_id], deployed, config) for one in deployed.machines],
        "lost": list(deployed.lost),
        "openTo": list(deployed.open_to),
        "https": config.https,
        "securityGroupId": deployed.security_group_id or None,
        "secretArn": deployed.secret_arn or None,
        "dataVolumeIds": list(deployed.data_volume_ids),
    }
    display.say(json.dumps(document, indent=2))


def show_plan(plan: Plan) -> None:
    """What a deploy would change: the last word of a dry run."""
    if plan.changes:
        rows = [(change.verb, change.address, change.identity or "-") for change in plan.changes]
        display.table(["change", "address", "id now"], rows)
    else:
        display.say("Nothing to change.")
    for change in plan.changes:
        if change.is_loss:
            display.say(f"Would be lost: {change.identity or change.address}, with what is on it.")
    display.note("Dry run. Nothing was changed.")


def _machine(machine: Machine, progress: Progress, deployed: Deployed, config: Config) -> list[tuple[str, str]]:
    return [
        ("instance", f"{machine.instance_id} ({machine.state})"),
        ("type", f"{machine.instance_type} in {machine.zone}"),
        ("public DNS", machine.public_dns or "none"),
        ("Capacity Block", _block(machine)),
        ("setup", _progress(progress, machine, deployed.region)),
        ("address", _url(machine, deployed, config) or ""),
        ("reach it", _forward(machine, deployed.region, config)),
        ("", f"then open http://localhost:{LOCAL_PORT}"),
    ]


def _block(machine: Machine) -> str:
    if machine.block_unreadable:
        return machine.block_unreadable
    if machine.block is None:
        return ""
    return f"{machine.block.id}, {machine.block.outlook} (from {when(machine.block.reclaimed)} on)"


def _progress(progress: Progress, machine: Machine, region: str) -> str:
    command = f"invoke setup -i {quoted(machine.instance_id)} -r {region}"
    if not progress.finished:
        return f"not run from here: {command}"
    done = f"{progress.finished} of {progress.tasks} tasks finished"
    return done if progress.finished == progress.tasks else f"{done}; it goes on: {command}"


def _forward(machine: Machine, region: str, config: Config) -> str:
    return (
        f"aws ssm start-session --region {region} --target {quoted(machine.instance_id)} "
        "--document-name AWS-StartPortForwardingSession "
        f"--parameters portNumber={config.nginx_port},localPortNumber={LOCAL_PORT}"
    )


def _open_to(deployed: Deployed, config: Config) -> str:
    if not deployed.open_to:
        return ""
    everyone = "everyone on the internet: " if everyone_in(filter(_is_cidr, deployed.open_to)) else ""
    ports = " and ".join(map(str, config.served_ports))
    return f"{everyone}{', '.join(deployed.open_to)}, at port {ports}"


def _is_cidr(source: str) -> bool:
    return "/" in source


def _url(machine: Machine, deployed: Deployed, config: Config) -> str | None:
    if not (deployed.open_to and machine.public_dns):
        return None
    if config.https:
        return f"https://{machine.public_dns}"
    port = "" if config.nginx_port == 80 else f":{config.nginx_port}"
    return f"http://{machine.public_dns}{port}"


def _as_json(machine: Machine, progress: Progress, deployed: Deployed, config: Config) -> dict[str, Any]:
    block = machine.block
    ends = block.reclaimed if block else None
    return {
        "id": machine.instance_id,
        "state": machine.state,
        "type": machine.instance_type,
        "zone": machine.zone,
        "publicDns": machine.public_dns or None,
        "url": _url(machine, deployed, config),
        "capacityReservationId": block.id if block else None,
        "instancesTerminated": iso_or_none(ends),
        "secondsToTermination": seconds_to(ends, block.seen) if block else None,
        "setup": {"finished": progress.finished, "tasks": progress.tasks},
    }
