"""The Terraform backend: an S3 bucket with a lock file, HCP Terraform, or a local file."""

from __future__ import annotations

from stacks.cdk import CloudBackend, LocalBackend, NamedCloudWorkspace, S3Backend, TerraformStack
from torchneuron.core import config


def add_backend(stack: TerraformStack, *, backend: config.Backend) -> None:
    """Add the backend to `stack`.

    An S3 backend without a bucket becomes a partial configuration: `terraform init` then requires the bucket as
    `-backend-config`.
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
    # cdktf 0.21 has no argument for Terraform's S3 lock file.
    stack.add_override("terraform.backend.s3.use_lockfile", True)
    if backend.bucket is None:
        stack.add_override("terraform.backend.s3.bucket", None)
