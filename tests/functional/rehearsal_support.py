"""Helpers of the functional tests of commands."""

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
    """Create an instance profile and a role of the same name with these policies; returns the name."""
    trust = {"Version": "2012-10-17", "Statement": []}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    for policy in policies:
        iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return name


def online(ssm) -> set[str]:
    return {instance["InstanceId"] for instance in ssm.describe_instance_information()["InstanceInformationList"]}


def ended(ssm, command_id):
    """Wait until all invocations of a command have ended; returns them with details."""

    def look():
        found = ssm.list_command_invocations(CommandId=command_id, Details=True)["CommandInvocations"]
        running = [it for it in found if it["Status"] in ("Pending", "InProgress", "Cancelling")]
        return [] if running else found

    eventually(lambda: bool(look()))
    return look()


def run(ssm, instance, document, **options):
    sent = ssm.send_command(InstanceIds=[instance], DocumentName=document, **options)
    return ended(ssm, sent["Command"]["CommandId"])[0]


def statuses(invocation):
    return {plugin["Name"]: plugin["Status"] for plugin in invocation["CommandPlugins"]}


def certificate() -> str:
    """A host's certificate for encrypting to it, in PEM. Its key is thrown away."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a machine")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode()
