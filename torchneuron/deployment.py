"""From settings to a running machine and back: synth, plan, guard, apply, info, destroy."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchneuron import display, locks, preflight
from torchneuron.aws import Aws, calling
from torchneuron.config import PROJECT_ROOT, Config, Deployment, LocalBackend
from torchneuron.errors import (
    AwsError,
    Detached,
    InputError,
    NotFoundError,
    ReplacementRefusedError,
    SetupError,
    TerraformError,
    TorchNeuronError,
)
from torchneuron.processes import run_to_its_end
from torchneuron.terraform import Change, Terraform

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import InstanceTypeDef

# Long enough for a command that only looks; one that deploys or removes takes longer, and is not waited for.
_BUSY_SECONDS = 15.0


@dataclass(frozen=True)
class Deployed:
    """A deployment that exists, from Terraform's outputs. `state` is EC2's word for the instance's state."""

    region: str
    instance_id: str
    instance_type: str
    state: str
    zone: str
    public_dns: str
    security_group_id: str
    secret_arn: str


def deploy(config: Config, aws: Aws, overrides: Mapping[str, Any], *, allow_replace: bool = False) -> Deployed:
    """Make the deployment what the settings and `overrides` say, and return what is there then.

    Raises InputError and NotFoundError before anything is changed, ReplacementRefusedError when the
    plan would lose a machine, TerraformError when Terraform fails, SetupError when what was made
    cannot be looked at.
    """
    deployment = config.deployment(overrides)
    _refuse_without_state(deployment)
    if deployment.use_capacity_block:
        preflight.check_block(aws, deployment)
    with _connected(config, deployment, overrides) as terraform:
        changes = terraform.plan()
        refuse_losses(changes, allow_replace=allow_replace)
        if changes:
            display.note(f"Applying: {_summary(changes)}")
            terraform.apply()
        else:
            display.note("Nothing to change.")
        outputs = terraform.outputs()
    if not changes:
        return _read(aws, outputs)
    with launched(outputs.get("instance_id", ""), aws.region):
        return _read(aws, outputs)


def info(config: Config, aws: Aws) -> Deployed:
    """What is deployed in the region. Raises NotFoundError when nothing is."""
    overrides = {"region": aws.region}
    with _connected(config, config.deployment(overrides), overrides) as terraform:
        outputs = terraform.outputs()
    return _read(aws, outputs)


def destroy(config: Config, aws: Aws, *, yes: bool) -> None:
    """Remove the deployment in the region, after a yes that follows the list of what goes.

    What is removed is what was listed: nobody else gets at the plan while the question stands.
    """
    overrides = {"region": aws.region}
    with _connected(config, config.deployment(overrides), overrides) as terraform:
        changes = terraform.plan(destroy=True)
        if not changes:
            display.note(f"Nothing is deployed in {aws.region}.")
            return
        display.table(["what goes", "address"], [(change.type, change.address) for change in changes])
        if not yes and not display.confirm("Remove all of this?", otherwise="Add --yes."):
            display.note("Nothing was removed.")
            return
        terraform.apply()


@contextmanager
def launched(instance_id: str, region: str) -> Iterator[None]:
    """What fails from here on leaves a machine running: SetupError says which, and how to go on.

    The kinds that elsewhere mean "nothing was changed" would be wrong here, and so would their exit status.
    """
    again = f"invoke setup -i {instance_id} -r {region}"
    try:
        yield
    except Detached:
        raise
    except TorchNeuronError as error:
        if isinstance(error, SetupError) and again in error.do:
            raise
        on = f"{instance_id} is deployed all the same. This goes on with it: {again}"
        raise SetupError(error.what, why=error.why, do="\n".join(filter(None, (error.do, on)))) from error


def refuse_losses(changes: Sequence[Change], *, allow_replace: bool) -> None:
    """Raise ReplacementRefusedError when `changes` would delete or replace a machine or its data."""
    lost = [change for change in changes if change.loses_a_machine]
    if not lost or allow_replace:
        return
    listed = "\n".join(
        f"  {change.verb} {change.address}" + (f", because of {', '.join(change.because)}" if change.because else "")
        for change in lost
    )
    raise ReplacementRefusedError(
        "This deploy would destroy what someone may be working on. Nothing was changed.",
        why=listed,
        do="Undo the change that causes it, or add --allow-replace.",
    )


def _refuse_without_state(deployment: Deployment) -> None:
    backend = deployment.backend
    if not isinstance(backend, LocalBackend) and backend.bucket is None:
        raise InputError(
            "There is no state bucket yet.",
            why="Terraform keeps what it has made in S3, and the settings name no bucket.",
            do=f"Run: invoke bootstrap -r {deployment.region}",
        )


@contextmanager
def _connected(config: Config, deployment: Deployment, overrides: Mapping[str, Any]) -> Iterator[Terraform]:
    """Terraform over the deployment as `overrides` make it, connected to its state, and nobody else's meanwhile.

    Each region has a folder of its own, apart from the one plain `cdktf` writes. It holds one synthesis
    and one plan at a time, hence the lock.
    """
    _refuse_without_state(deployment)
    folder = config.output_dir / "invoke" / deployment.region
    what = f"the deployment in {deployment.region}"
    with locks.held(folder.with_name(f"{folder.name}.lock"), what, seconds=_BUSY_SECONDS):
        terraform = _synthesize(config, overrides, folder)
        terraform.init()
        yield terraform


def _synthesize(config: Config, overrides: Mapping[str, Any], folder: Path) -> Terraform:
    """Run main.py as cdktf would, with `overrides` as CDKTF's context, into `folder`."""
    environment = {
        **os.environ,
        "TORCHNEURON_CONFIG": str(config.path),
        "CDKTF_CONTEXT_JSON": json.dumps(overrides),
        "CDKTF_OUTDIR": str(folder),
        "CHECKPOINT_DISABLE": "1",
    }
    with display.waiting("Synthesizing"):
        command = [sys.executable, str(PROJECT_ROOT / "main.py")]
        done = run_to_its_end(command, folder=PROJECT_ROOT, environment=environment)
    if done.status != 0:
        raise TerraformError("Synthesis failed.", why=done.stderr.strip()[-4000:])
    return Terraform(folder / "stacks" / config.project_name)


def _read(aws: Aws, outputs: Mapping[str, Any]) -> Deployed:
    if "instance_id" not in outputs:
        raise NotFoundError(f"Nothing is deployed in {aws.region}.", do="Deploy with: invoke deploy")
    instance = _instance(aws, outputs["instance_id"])
    return Deployed(
        region=aws.region,
        instance_id=outputs["instance_id"],
        instance_type=instance["InstanceType"],
        state=instance["State"]["Name"],
        zone=instance["Placement"]["AvailabilityZone"],
        public_dns=outputs["public_dns"],
        security_group_id=outputs["security_group_id"],
        secret_arn=outputs["secret_arn"],
    )


def _instance(aws: Aws, instance_id: str) -> InstanceTypeDef:
    try:
        with calling(f"look at {instance_id}"):
            answer = aws.ec2().describe_instances(InstanceIds=[instance_id])
    except AwsError as error:
        if error.code != "InvalidInstanceID.NotFound":
            raise
        raise NotFoundError(
            f"The machine {instance_id} is gone.",
            why="It was terminated: its Capacity Block ended, or someone removed it.",
            do=f"invoke deploy -r {aws.region} makes a new one; invoke destroy -r {aws.region} removes the rest.",
        ) from error
    return answer["Reservations"][0]["Instances"][0]


def show(deployed: Deployed, config: Config) -> None:
    """What a person needs to reach the machine."""
    forward = (
        f"aws ssm start-session --region {deployed.region} --target {deployed.instance_id} "
        "--document-name AWS-StartPortForwardingSession "
        f"--parameters portNumber={config.nginx_port},localPortNumber=8080"
    )
    display.facts(
        [
            ("instance", f"{deployed.instance_id} ({deployed.state})"),
            ("type", f"{deployed.instance_type} in {deployed.zone}"),
            ("public DNS", deployed.public_dns or "none"),
            ("security group", deployed.security_group_id),
            ("secret", deployed.secret_arn),
            ("reach it", forward),
            ("", "then open http://localhost:8080"),
            ("password", f"invoke password -r {deployed.region}"),
        ]
    )


def _summary(changes: Sequence[Change]) -> str:
    verbs = [change.verb for change in changes]
    return ", ".join(f"{verbs.count(verb)} to {verb}" for verb in sorted(set(verbs)))
