"""The AWS CLI lines that show why an instance is not reached, and that mend it: lines to read, whole to copy.

Words in capitals are for the reader to fill in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torchneuron.core.text import quoted

if TYPE_CHECKING:
    from torchneuron.aws.ec2 import Instance

POLICY = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
DEFAULT_ROLE_SETTING = "/ssm/managed-instance/default-ec2-instance-management-role"
"""The service setting that is Default Host Management Configuration."""


def see_default_role(region: str) -> str:
    return f"aws ssm get-service-setting --region {region} --setting-id {DEFAULT_ROLE_SETTING}"


def see_instance(region: str, instance_id: str) -> str:
    return f"aws ec2 describe-instances --region {region} --instance-ids {quoted(instance_id)}"


def see_registration(region: str, instance_id: str) -> tuple[str, ...]:
    return (
        f"See: aws ssm describe-instance-information --region {region}"
        f" --filters Key=InstanceIds,Values={quoted(instance_id)}",
    )


def find_instance(region: str) -> tuple[str, ...]:
    return (
        f"See what there is: aws ec2 describe-instances --region {region}"
        " --query 'Reservations[].Instances[].[InstanceId,State.Name]'",
        "Name its region with -r if it is in another one.",
    )


def start(region: str, instance_id: str) -> tuple[str, ...]:
    return (f"Start it: aws ec2 start-instances --region {region} --instance-ids {quoted(instance_id)}",)


def turn_metadata_on(region: str, instance_id: str) -> tuple[str, ...]:
    return (
        f"Mend: aws ec2 modify-instance-metadata-options --region {region} --instance-id {quoted(instance_id)}"
        " --http-endpoint enabled --http-tokens required",
        _reboot(region, instance_id),
    )


def give_profile(region: str, instance_id: str) -> tuple[str, ...]:
    return (
        f"Mend, with the name of a profile whose role has the policy {POLICY}:",
        f"aws ec2 associate-iam-instance-profile --region {region} --instance-id {quoted(instance_id)}"
        " --iam-instance-profile Name=PROFILE",
    )


def change_profile(region: str, instance_id: str) -> tuple[str, ...]:
    return (
        f"See its ASSOCIATION: aws ec2 describe-iam-instance-profile-associations --region {region}"
        f" --filters Name=instance-id,Values={quoted(instance_id)}",
        f"Mend: aws ec2 replace-iam-instance-profile-association --region {region} --association-id ASSOCIATION"
        " --iam-instance-profile Name=PROFILE",
    )


def fill_profile(profile: str) -> tuple[str, ...]:
    return (
        f"See: aws iam get-instance-profile --instance-profile-name {quoted(profile)}",
        f"Mend, with a role that has the policy {POLICY}:",
        f"aws iam add-role-to-instance-profile --instance-profile-name {quoted(profile)} --role-name ROLE",
    )


def add_policy(role: str) -> tuple[str, ...]:
    return (
        f"See: aws iam list-attached-role-policies --role-name {quoted(role)}",
        f"Mend: aws iam attach-role-policy --role-name {quoted(role)} --policy-arn {POLICY}",
    )


def after_a_role(region: str, instance_id: str) -> tuple[str, ...]:
    """What to do once there is a role.

    An agent that was refused asks again after 5 minutes, then twice as long each time, up to an hour
    (amazon-ssm-agent, agent/hibernation/hibernation.go, and issue 202, where its maintainers say to restart it).
    """
    return (
        "Its agent asks again by itself within an hour; at once, if it or the machine is restarted.",
        _reboot(region, instance_id),
        f"No profile is needed where Default Host Management Configuration is on: {see_default_role(region)}",
    )


def restart_agent(region: str, instance_id: str) -> tuple[str, ...]:
    """As `after_a_role` says, an agent that once had no role looks dead for up to an hour."""
    return (
        f"See how it boots: {_console(region, instance_id)}",
        *see_registration(region, instance_id),
        "If it got its role after its start, its agent asks again within an hour; at once, if restarted: on it, "
        "sudo systemctl restart amazon-ssm-agent (Ubuntu: sudo snap restart amazon-ssm-agent), or",
        _reboot(region, instance_id),
    )


def see_boot(region: str, instance_id: str) -> tuple[str, ...]:
    return (f"See how it boots: {_console(region, instance_id)}",)


def open_egress(region: str, group_ids: Sequence[str]) -> tuple[str, ...]:
    group = group_ids[0] if group_ids else "GROUP"
    return (
        f"See: {see_groups(region, group_ids)}",
        f"Mend: aws ec2 authorize-security-group-egress --region {region} --group-id {quoted(group)}"
        " --protocol tcp --port 443 --cidr 0.0.0.0/0",
    )


def see_groups(region: str, group_ids: Sequence[str]) -> str:
    return (
        f"aws ec2 describe-security-groups --region {region} --group-ids {' '.join(map(quoted, group_ids))}"
        " --query 'SecurityGroups[].IpPermissionsEgress'"
    )


def see_routes(region: str, vpc_id: str) -> str:
    return f"aws ec2 describe-route-tables --region {region} --filters Name=vpc-id,Values={quoted(vpc_id)}"


def see_endpoints(region: str, vpc_id: str) -> str:
    return f"aws ec2 describe-vpc-endpoints --region {region} --filters Name=vpc-id,Values={quoted(vpc_id)}"


def give_address(region: str, instance_id: str) -> tuple[str, ...]:
    return (
        f"Mend, with an address of yours (aws ec2 allocate-address --region {region}):",
        f"aws ec2 associate-address --region {region} --instance-id {quoted(instance_id)} --allocation-id ALLOCATION",
    )


def give_addresses(region: str, subnet_id: str) -> tuple[str, ...]:
    return (
        f"Fix: aws ec2 modify-subnet-attribute --region {region} --subnet-id {quoted(subnet_id)}"
        " --map-public-ip-on-launch",
    )


def give_route(region: str, table_id: str, *, replaced: bool = False) -> tuple[str, ...]:
    verb = "replace-route" if replaced else "create-route"
    return (
        f"See: aws ec2 describe-route-tables --region {region} --route-table-ids {quoted(table_id)}",
        f"Mend, with a NAT gateway: aws ec2 {verb} --region {region} --route-table-id {quoted(table_id)}"
        " --destination-cidr-block 0.0.0.0/0 --nat-gateway-id NAT",
    )


def make_endpoints(region: str, instance: Instance, services: Sequence[str]) -> tuple[str, ...]:
    """Endpoints to reach SSM by. Their security group has to let the instance's HTTPS in."""
    lines = [
        f"aws ec2 create-vpc-endpoint --region {region} --vpc-id {quoted(instance.vpc_id)}"
        f" --vpc-endpoint-type Interface --service-name com.amazonaws.{region}.{service}"
        f" --subnet-ids {quoted(instance.subnet_id)}"
        " --security-group-ids GROUP"
        for service in services
    ]
    return ("Or reach SSM from inside the VPC, with a GROUP that lets TCP 443 in:", *lines)


def _reboot(region: str, instance_id: str) -> str:
    return f"Restart the machine: aws ec2 reboot-instances --region {region} --instance-ids {quoted(instance_id)}"


def _console(region: str, instance_id: str) -> str:
    return f"aws ec2 get-console-output --region {region} --instance-id {quoted(instance_id)} --output text"
