"""What the functional tests of commands share."""

import json
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.functional.support import eventually

PERMITTING = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
"""The policy that lets an instance register."""


def make_profile(iam, name: str, *policies: str) -> str:
    """An instance profile whose role, of the same name, has the policies; its name."""
    trust = {"Version": "2012-10-17", "Statement": []}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    for one in policies:
        iam.attach_role_policy(RoleName=name, PolicyArn=one)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return name


def online(ssm) -> set[str]:
    return {one["InstanceId"] for one in ssm.describe_instance_information()["InstanceInformationList"]}


def ended(ssm, command_id):
    """The command's invocations with details, once all have ended."""

    def look():
        found = ssm.list_command_invocations(CommandId=command_id, Details=True)["CommandInvocations"]
        under_way = [one for one in found if one["Status"] in ("Pending", "InProgress", "Cancelling")]
        return [] if under_way else found

    eventually(lambda: bool(look()))
    return look()


def run(ssm, instance, document, **more):
    sent = ssm.send_command(InstanceIds=[instance], DocumentName=document, **more)
    return ended(ssm, sent["Command"]["CommandId"])[0]


def statuses(invocation):
    return {plugin["Name"]: plugin["Status"] for plugin in invocation["CommandPlugins"]}


def certificate() -> str:
    """What a machine gives to encrypt to, in PEM; its key is thrown away."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a machine")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()
