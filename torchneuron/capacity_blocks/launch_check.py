"""Checks before a purchase or a deploy that instances of a type can be launched in a region of this account.

Every check runs, and each problem is reported with its fix; `invoke doctor` shows all results. Terraform's provider
would retry a launch without capacity for up to 50 paid minutes (hashicorp/terraform-provider-aws 43193, 49863).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torchneuron.aws import quotas
from torchneuron.aws.errors import calling, is_about_sign_in, reading
from torchneuron.aws.session import Aws
from torchneuron.connectivity import subnets
from torchneuron.core import tags as project_tags
from torchneuron.core.config import Config
from torchneuron.core.errors import (
    AccessError,
    AwsError,
    InputError,
    NotFoundError,
    TorchNeuronError,
    UnreachableError,
)
from torchneuron.core.text import either

# SSM API reference, GetParameter; ap-south-2 answers ValidationException for the whole namespace ("not a valid
# namespace": foxl-ai/kiln, docs/neuron-notes.md).
_NO_PARAMETER = ("ParameterNotFound", "ValidationException")
# The account may not launch any instance (EC2 API reference, "Error codes").
_ACCOUNT_REFUSED = ("Blocked", "OptInRequired", "PendingVerification")
# The dry run uses the default security group: the deployment's own exists only after the first deploy.
_SECURITY_GROUP = ":security-group/"


@dataclass(frozen=True)
class Launch:
    """`count` instances of a type, on a Capacity Block or on demand.

    Without `zone`, in any zone; without `subnet_id`, in a subnet of the default VPC. If the user named the subnet
    (`is_named`), one that does not seem to reach Systems Manager is a warning. `reservation_id` is empty for a block
    that is not bought yet.
    """

    instance_type: str
    count: int = 1
    zone: str = ""
    subnet_id: str = ""
    is_named: bool = False
    on_block: bool = False
    reservation_id: str = ""


@dataclass(frozen=True)
class Result:
    """The result of one check: what it found, or the problem."""

    name: str
    found: str = ""
    problem: TorchNeuronError | None = None


def check(aws: Aws, config: Config, launch: Launch) -> list[Result]:
    """The result of every check. Raises AccessError for expired credentials, UnreachableError without a response."""
    run = _Checks(aws, config, launch)
    checks: dict[str, Callable[[], str]] = {
        "AMI": run.image,
        "instance type": run.instance_type,
        "subnet": run.subnet,
        "quota": run.quota,
        "launch permission": run.permission,
    }
    return [_result(name, run_check) for name, run_check in checks.items()]


def refuse(aws: Aws, config: Config, launch: Launch) -> None:
    """Raise InputError with every problem that would make the launch fail."""
    found = problems(aws, config, launch)
    if len(found) == 1:
        raise found[0]
    if found:
        raise InputError(
            f"{launch.instance_type} cannot be launched in {aws.region}. Nothing was changed.",
            why=format_problems(found),
        )


def problems(aws: Aws, config: Config, launch: Launch) -> list[TorchNeuronError]:
    """The problems that would make the launch fail, without duplicates."""
    found = [result.problem for result in check(aws, config, launch) if result.problem]
    return list({(problem.what, problem.why): problem for problem in found}.values())


def format_problems(problems: Iterable[TorchNeuronError]) -> str:
    """Each problem with its reason and its fix, as indented lines."""
    lines = []
    for problem in problems:
        lines.append(f"- {problem.what}")
        lines += [f"  {line}" for part in (problem.why, problem.do) for line in part.splitlines()]
    return "\n".join(lines)


def zones_with(aws: Aws, instance_type: str) -> Sequence[str]:
    """The region's zones that offer the type. Raises InputError if none does."""
    with calling(f"see where {instance_type} is offered"):
        pages = (
            aws.ec2()
            .get_paginator("describe_instance_type_offerings")
            .paginate(LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [instance_type]}])
        )
        zones = sorted(offer["Location"] for page in pages for offer in page["InstanceTypeOfferings"])
    if not zones:
        raise InputError(
            f"AWS does not offer {instance_type} in {aws.region}.",
            do="Name another type (-t) or region (-r). List them with: aws ec2 describe-instance-type-offerings",
        )
    return zones


def find_subnet(aws: Aws, instance_type: str) -> str:
    """A subnet of the default VPC that reaches Systems Manager, in a zone that offers the type.

    Raises InputError if no zone offers the type, NotFoundError if there is no such subnet.
    """
    problems: list[NotFoundError] = []
    for zone in zones_with(aws, instance_type):
        try:
            return subnets.find(aws.ec2(), aws.region, zone=zone, user=instance_type)
        except NotFoundError as error:
            problems.append(error)
    raise problems[0]


def _result(name: str, run_check: Callable[[], str]) -> Result:
    try:
        return Result(name, run_check())
    except TorchNeuronError as error:
        if isinstance(error, UnreachableError) or (isinstance(error, AwsError) and is_about_sign_in(error)):
            raise
        return Result(name, problem=error)


class _Checks:
    """The checks of one launch. Each returns what it found, or raises the problem."""

    def __init__(self, aws: Aws, config: Config, launch: Launch) -> None:
        self._aws, self._config, self._launch = aws, config, launch

    def image(self) -> str:
        return f"{self._image[0]}, by {self._config.ami_parameters[self._aws.region]}"

    def instance_type(self) -> str:
        launch, zones = self._launch, zones_with(self._aws, self._launch.instance_type)
        zone = self._zone
        if zone and zone not in zones:
            where = f", where the subnet {launch.subnet_id} is" if launch.subnet_id else ""
            raise InputError(
                f"{launch.instance_type} is not offered in {zone}{where}.",
                do=f"Name a subnet in {either(zones)} with --subnet-id.",
            )
        return f"{launch.instance_type} is offered in {zone or ', '.join(zones)}"

    def subnet(self) -> str:
        aws, launch = self._aws, self._launch
        if launch.subnet_id:
            subnets.check_reachable(aws.ec2(), aws.region, launch.subnet_id, is_named=launch.is_named)
            return launch.subnet_id
        if launch.zone:
            return subnets.find(aws.ec2(), aws.region, zone=launch.zone, user=launch.instance_type)
        return find_subnet(aws, launch.instance_type)

    def quota(self) -> str:
        launch = self._launch
        if launch.reservation_id:
            return "not needed: the block is bought"
        return quotas.check(self._aws, launch.instance_type, launch.count, on_block=launch.on_block)

    def permission(self) -> str:
        """Try the launch with EC2's DryRun. Only errors about permissions or the account count, not capacity."""
        try:
            request = self._request()
        except TorchNeuronError:
            return "not checked: needs the AMI"
        try:
            with calling("try a launch"):
                self._aws.ec2().run_instances(**request)
        except AwsError as error:
            if _SECURITY_GROUP in error.why:
                return "unknown: the dry run may not use the VPC's default security group, which a launch does not need"
            if isinstance(error, AccessError | UnreachableError) or error.code in _ACCOUNT_REFUSED:
                raise
        return "the launch is allowed (dry run)"

    @functools.cached_property
    def _zone(self) -> str:
        launch = self._launch
        if launch.zone or not launch.subnet_id:
            return launch.zone
        do = "Name another with --subnet-id."
        return subnets.zone_of(self._aws.ec2(), self._aws.region, launch.subnet_id, do=do)

    @functools.cached_property
    def _image(self) -> tuple[str, str]:
        """The AMI and the name of its root device."""
        region = self._config.region(self._aws.region)
        parameter = self._config.ami_parameters[region]
        try:
            with reading(f"read the AMI parameter {parameter}"):
                image_id = self._aws.ssm().get_parameter(Name=parameter)["Parameter"]["Value"]
            with reading(f"look up {image_id}"):
                image = self._aws.ec2().describe_images(ImageIds=[image_id])["Images"][0]
        except AwsError as error:
            if error.code not in _NO_PARAMETER:
                raise
            raise NotFoundError(
                f"The AMI parameter {parameter} does not exist in {region}.",
                why=error.why,
                do="Set another one in the settings. To use your own AMI, create it:\n"
                f"aws ssm put-parameter --region {region} --name /torchneuron/ami --type String --value ami-…",
            ) from error
        return image_id, image.get("RootDeviceName", "")

    def _request(self) -> dict[str, Any]:
        """The launch that the launch template (`stacks.machine`) makes, without its role and security group."""
        launch = self._launch
        image_id, root = self._image
        tags = project_tags.to_aws(
            {**project_tags.for_project(self._config.project_name), "Name": self._config.project_name}
        )
        disk = {"VolumeType": "gp3", "VolumeSize": self._config.default_volume_size, "Encrypted": True}
        request: dict[str, Any] = {
            "DryRun": True,
            "ImageId": image_id,
            "InstanceType": launch.instance_type,
            "MinCount": 1,
            "MaxCount": 1,
            "MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "BlockDeviceMappings": [{"DeviceName": root, "Ebs": disk}] if root else [],
            "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
        }
        if launch.subnet_id:
            request["SubnetId"] = launch.subnet_id
        if launch.reservation_id:
            request["InstanceMarketOptions"] = {"MarketType": "capacity-block"}
            target = {"CapacityReservationId": launch.reservation_id}
            request["CapacityReservationSpecification"] = {"CapacityReservationTarget": target}
        return request
