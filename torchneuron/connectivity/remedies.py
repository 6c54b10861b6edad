"""AWS CLI commands that check and fix why an instance is not reached. Words in capitals are placeholders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torchneuron.core.text import quoted

if TYPE_CHECKING:
    from torchneuron.aws.ec2 import Instance

POLICY = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
DEFAULT_ROLE_SETTING = "/ssm/managed-instance/default-ec2-instance-management-role"
"""The service setting of Default Host Management Configuration."""


def describe_default_role(region: str) -> str:
    return f"aws ssm get-service-setting --region {region} --setting-id {DEFAULT_ROLE_SETTING}"


def describe_instances(region: str, *instance_ids: str) -> str:
    return f"aws ec2 describe-instances --region {region} --instance-ids {' '.join(map(quoted, instance_ids))}"


def describe_registration(region: str, instance_id: str) -> str:
    return (
        f"aws ssm describe-instance-information --region {region}"
        f" --filters Key=InstanceIds,Values={quoted(instance_id)}"
    )


def describe_groups(region: str, group_ids: Sequence[str]) -> str:
    return (
        f"aws ec2 describe-security-groups --region {region} --group-ids {' '.join(map(quoted, group_ids))}"
        " --query 'SecurityGroups[].IpPermissionsEgress'"
    )


def describe_routes(region: str, vpc_id: str) -> str:
    return f"aws ec2 describe-route-tables --region {region} --filters Name=vpc-id,Values={quoted(vpc_id)}"


def describe_endpoints(region: str, vpc_id: str) -> str:
    return f"aws ec2 describe-vpc-endpoints --region {region} --filters Name=vpc-id,Values={quoted(vpc_id)}"


def list_instances(region: str) -> tuple[str, ...]:
    return (
        f"List instances: aws ec2 describe-instances --region {region}"
        " --query 'Reservations[].Instances[].[InstanceId,State.Name]'",
        "If it is in another region, add -r REGION.",
    )


def check_registration(region: str, instance_id: str) -> tuple[str, ...]:
    return (f"Check: {describe_registration(region, instance_id)}",)


def start(region: str, instance_id: str) -> tuple[str, ...]:
    return (f"Start it: aws ec2 start-instances --region {region} --instance-ids {quoted(instance_id)}",)


def enable_metadata_service(region: str, instance_id: str) -> tuple[str, ...]:
    return (
        f"Fix: aws ec2 modify-instance-metadata-options --region {region} --instance-id {quoted(instance_id)}"
        " --http-endpoint enabled --http-tokens required",
        _reboot(region, instance_id),
    )


def attach_profile(region: str, instance_id: str) -> tuple[str, ...]:
    return (
        f"Fix, with a profile whose role has the policy {POLICY}:",
        f"aws ec2 associate-iam-instance-profile --region {region} --instance-id {quoted(instance_id)}"
        " --iam-instance-profile Name=PROFILE",
    )


def replace_profile(region: str, instance_id: str) -> tuple[str, ...]:
    return (
        f"Find its ASSOCIATION: aws ec2 describe-iam-instance-profile-associations --region {region}"
        f" --filters Name=instance-id,Values={quoted(instance_id)}",
        f"Fix: aws ec2 replace-iam-instance-profile-association --region {region} --association-id ASSOCIATION"
        " --iam-instance-profile Name=PROFILE",
    )


def add_role(profile: str) -> tuple[str, ...]:
    return (
        f"Check: aws iam get-instance-profile --instance-profile-name {quoted(profile)}",
        f"Fix, with a role that has the policy {POLICY}:",
        f"aws iam add-role-to-instance-profile --instance-profile-name {quoted(profile)} --role-name ROLE",
    )


def attach_policy(role: str) -> tuple[str, ...]:
    return (
        f"Check: aws iam list-attached-role-policies --role-name {quoted(role)}",
        f"Fix: aws iam attach-role-policy --role-name {quoted(role)} --policy-arn {POLICY}",
    )


def retry_after_role_change(region: str, instance_id: str) -> tuple[str, ...]:
    """A rejected agent retries after 5 minutes, then at doubling intervals of up to an hour.

    Source: amazon-ssm-agent, agent/hibernation/hibernation.go, and its issue 202 (restart the agent).
    """
    return (
        "The agent retries within an hour, or as soon as it is restarted.",
        _reboot(region, instance_id),
        f"No profile is needed if Default Host Management Configuration is on: {describe_default_role(region)}",
    )


def restart_agent(region: str, instance_id: str) -> tuple[str, ...]:
    """An agent that started without a role may look dead for an hour: see `retry_after_role_change`."""
    return (
        *show_console(region, instance_id),
        *check_registration(region, instance_id),
        "An agent that started before it had its role retries within an hour, or as soon as it is restarted. On the"
        " instance: sudo systemctl restart amazon-ssm-agent (Ubuntu: sudo snap restart amazon-ssm-agent)",
        _reboot(region, instance_id),
    )


def show_console(region: str, instance_id: str) -> tuple[str, ...]:
    console = f"aws ec2 get-console-output --region {region} --instance-id {quoted(instance_id)} --output text"
    return (f"Check the boot log: {console}",)


def allow_https_out(region: str, group_ids: Sequence[str]) -> tuple[str, ...]:
    group = group_ids[0] if group_ids else "GROUP"
    return (
        f"Check: {describe_groups(region, group_ids)}",
        f"Fix: aws ec2 authorize-security-group-egress --region {region} --group-id {quoted(group)}"
        " --protocol tcp --port 443 --cidr 0.0.0.0/0",
    )


def associate_address(region: str, instance_id: str) -> tuple[str, ...]:
    return (
        f"Fix, with an Elastic IP address (aws ec2 allocate-address --region {region}):",
        f"aws ec2 associate-address --region {region} --instance-id {quoted(instance_id)} --allocation-id ALLOCATION",
    )


def assign_public_ips(region: str, subnet_id: str) -> tuple[str, ...]:
    return (
        f"Fix: aws ec2 modify-subnet-attribute --region {region} --subnet-id {quoted(subnet_id)}"
        " --map-public-ip-on-launch",
    )


def set_default_route(region: str, table_id: str, *, replace: bool = False) -> tuple[str, ...]:
    verb = "replace-route" if replace else "create-route"
    return (
        f"Check: aws ec2 describe-route-tables --region {region} --route-table-ids {quoted(table_id)}",
        f"Fix, with a NAT gateway: aws ec2 {verb} --region {region} --route-table-id {quoted(table_id)}"
        " --destination-cidr-block 0.0.0.0/0 --nat-gateway-id NAT",
    )


def create_endpoints(region: str, instance: Instance, services: Sequence[str]) -> tuple[str, ...]:
    commands = [
        f"aws ec2 create-vpc-endpoint --region {region} --vpc-id {quoted(instance.vpc_id)}"
        f" --vpc-endpoint-type Interface --service-name com.amazonaws.{region}.{service}"
        f" --subnet-ids {quoted(instance.subnet_id)}"
        " --security-group-ids GROUP"
        for service in services
    ]
    return ("Or create VPC endpoints, with a GROUP that allows inbound TCP 443:", *commands)


def _reboot(region: str, instance_id: str) -> str:
    return f"Reboot it: aws ec2 reboot-instances --region {region} --instance-ids {quoted(instance_id)}"
