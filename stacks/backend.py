"""Where Terraform keeps the state: an S3 bucket with its own lock file, HCP Terraform, or a file on this machine."""

from __future__ import annotations

from stacks.cdk import CloudBackend, LocalBackend, NamedCloudWorkspace, S3Backend, TerraformStack
from torchneuron.core import config


def keep_state(stack: TerraformStack, *, backend: config.Backend) -> None:
    """Give `stack` its backend.

    An S3 backend whose bucket is not known yet becomes a partial configuration: Terraform's `init`
    then wants the bucket from outside (`-backend-config`), and everything before it works without.
    """
    if isinstance(backend, config.LocalBackend):
        LocalBackend(stack, path=backend.path)
        return
    if isinstance(backend, config.HcpBackend):
        CloudBackend(
            stack,
            organization=backend.organization,
            workspaces=NamedCloudWorkspace(backend.workspace),
            hostname=backend.hostname,
        )
        return
    S3Backend(
        stack,
        bucket=backend.bucket or "",
        key=backend.key,
        region=backend.region,
        encrypt=True,
        use_path_style=backend.use_path_style,
    )
    # Terraform's S3 lock file is newer than cdktf 0.21's arguments.
    stack.add_override("terraform.backend.s3.use_lockfile", True)
    if backend.bucket is None:
        stack.add_override("terraform.backend.s3.bucket", None)
