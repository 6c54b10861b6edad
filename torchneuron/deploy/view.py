"""What `invoke info` and `invoke deploy` print: the deployment, and how to connect to it.

The JSON has `region`, `securityGroupId`, `secretArn`, `dataVolumeIds`, `foundBy` (`state` or `tags`), `lost` (ids of
terminated instances), `openTo` (CIDR blocks, or ids of groups and prefix lists, that may connect to nginx), `https`
and `instances`. Each instance has `id`, `state`, `type`, `zone`, `publicDns`, `url` (of nginx, if it is open),
`capacityReservationId`, `instancesTerminated` (when AWS starts to terminate instances), `secondsToTermination` and
`setup` (`finished` and `tasks`, both counts). Times are ISO 8601 in UTC; null means unknown or not applicable. The
names never change.
"""

from __future__ import annotations

import json
from typing import Any

from torchneuron.aws.ec2 import Instance
from torchneuron.core import display
from torchneuron.core.config import Config
from torchneuron.core.networks import internet_wide
from torchneuron.core.text import iso_or_none, quoted, seconds_to, when
from torchneuron.deploy.inventory import Deployed
from torchneuron.deploy.terraform_plan import Plan
from torchneuron.setup import code_server
from torchneuron.setup.code_server import Progress

LOCAL_PORT = 8080


def show(deployed: Deployed, config: Config) -> None:
    """Print the deployment as text."""
    progress = code_server.progress(config, deployed.instance_ids)
    facts: list[tuple[str, str]] = []
    for instance in deployed.instances:
        facts += _instance_facts(instance, progress[instance.instance_id], deployed, config)
    facts += [
        ("terminated", f"{', '.join(deployed.lost)}; to replace: invoke deploy" if deployed.lost else ""),
        ("open to", _open_to(deployed, config)),
        ("security group", deployed.security_group_id),
        ("secret", deployed.secret_arn or "not found"),
        ("data volume", ", ".join(deployed.data_volume_ids)),
        ("password", f"invoke password -r {deployed.region}"),
    ]
    display.facts([(name, value) for name, value in facts if value])
    if deployed.open_to and not config.https:
        display.warn(
            "nginx is open over plain HTTP: anyone on the network path can read the password and the session."
            f' Set "tls" in {config.path.name}, then: invoke deploy -r {deployed.region}.'
            f" Or close it: invoke deploy --closed -r {deployed.region}"
        )


def show_json(deployed: Deployed, config: Config) -> None:
    """Print the deployment as JSON."""
    progress = code_server.progress(config, deployed.instance_ids)
    document = {
        "region": deployed.region,
        "foundBy": "state" if deployed.from_state else "tags",
        "instances": [
            _as_json(instance, progress[instance.instance_id], deployed, config) for instance in deployed.instances
        ],
        "lost": list(deployed.lost),
        "openTo": list(deployed.open_to),
        "https": config.https,
        "securityGroupId": deployed.security_group_id or None,
        "secretArn": deployed.secret_arn or None,
        "dataVolumeIds": list(deployed.data_volume_ids),
    }
    display.say(json.dumps(document, indent=2))


def show_plan(plan: Plan) -> None:
    """Print the changes that a deploy would make: the result of a dry run."""
    if plan.changes:
        rows = [(change.verb, change.address, change.identity or "-") for change in plan.changes]
        display.table(["change", "address", "current id"], rows)
    else:
        display.say("Nothing to change.")
    for change in plan.changes:
        if change.is_loss:
            display.say(f"Would be lost, with its data: {change.identity or change.address}.")
    display.note("Dry run. Nothing was changed.")


def _instance_facts(
    instance: Instance, progress: Progress, deployed: Deployed, config: Config
) -> list[tuple[str, str]]:
    return [
        ("instance", f"{instance.instance_id} ({instance.state})"),
        ("type", f"{instance.instance_type} in {instance.zone}"),
        ("public DNS", instance.public_dns or "none"),
        ("Capacity Block", _block(instance, deployed)),
        ("setup", _progress(progress, instance, deployed.region)),
        ("address", _url(instance, deployed, config) or ""),
        ("connect", _port_forwarding(instance, deployed.region, config)),
        ("", f"then open http://localhost:{LOCAL_PORT}"),
    ]


def _block(instance: Instance, deployed: Deployed) -> str:
    block = deployed.blocks.get(instance.reservation_id, "")
    return block if isinstance(block, str) else f"{block.id}, {block.outlook} (from {when(block.reclaimed)} on)"


def _progress(progress: Progress, instance: Instance, region: str) -> str:
    command = f"invoke setup -i {quoted(instance.instance_id)} -r {region}"
    if not progress.finished:
        return f"not run from this machine: {command}"
    done = f"{progress.finished} of {progress.tasks} tasks finished"
    return done if progress.finished == progress.tasks else f"{done}; to resume: {command}"


def _port_forwarding(instance: Instance, region: str, config: Config) -> str:
    return (
        f"aws ssm start-session --region {region} --target {quoted(instance.instance_id)} "
        "--document-name AWS-StartPortForwardingSession "
        f"--parameters portNumber={config.nginx_port},localPortNumber={LOCAL_PORT}"
    )


def _open_to(deployed: Deployed, config: Config) -> str:
    if not deployed.open_to:
        return ""
    cidr_blocks = [source for source in deployed.open_to if "/" in source]
    everyone = "everyone on the internet: " if internet_wide(cidr_blocks) else ""
    ports = " and ".join(map(str, config.served_ports))
    return f"{everyone}{', '.join(deployed.open_to)}, at port {ports}"


def _url(instance: Instance, deployed: Deployed, config: Config) -> str | None:
    if not (deployed.open_to and instance.public_dns):
        return None
    if config.https:
        return f"https://{instance.public_dns}"
    port = "" if config.nginx_port == 80 else f":{config.nginx_port}"
    return f"http://{instance.public_dns}{port}"


def _as_json(instance: Instance, progress: Progress, deployed: Deployed, config: Config) -> dict[str, Any]:
    block = deployed.blocks.get(instance.reservation_id)
    readable = block if block and not isinstance(block, str) else None
    ends = readable.reclaimed if readable else None
    return {
        "id": instance.instance_id,
        "state": instance.state,
        "type": instance.instance_type,
        "zone": instance.zone,
        "publicDns": instance.public_dns or None,
        "url": _url(instance, deployed, config),
        "capacityReservationId": readable.id if readable else None,
        "instancesTerminated": iso_or_none(ends),
        "secondsToTermination": seconds_to(ends, readable.seen) if readable else None,
        "setup": {"finished": progress.finished, "tasks": progress.tasks},
    }
