"""Deployments to synthesize, and the synthesized stack as plain data."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from torchneuron.core.config import Deployment, HcpBackend, LocalBackend, S3Backend

GOLDEN = Path(__file__).parent / "golden" / "stack"

NAME = "torchneuron-code-server"
REGION = "sa-east-1"

ON_DEMAND = Deployment(
    name=NAME,
    region=REGION,
    instance_type="trn2.3xlarge",
    ami_parameter="/aws/service/neuron/dlami/multi-framework/ubuntu-24.04/latest/image_id",
    volume_size=500,
    use_capacity_block=False,
    capacity_reservation_id=None,
    subnet_id=None,
    allowed_ips=(),
    nginx_port=80,
    backend=S3Backend(
        bucket="torchneuron-state-123456789012",
        region=REGION,
        key=f"{NAME}/{REGION}/terraform.tfstate",
    ),
)
ON_BLOCK = replace(ON_DEMAND, use_capacity_block=True)

VARIANTS: dict[str, Deployment] = {
    "on-demand": ON_DEMAND,
    "on-demand-in-a-subnet": replace(ON_DEMAND, subnet_id="subnet-0123456789abcdef0"),
    "block-from-parameter-store": ON_BLOCK,
    "block-by-ids": replace(
        ON_BLOCK, capacity_reservation_id="cr-0123456789abcdef0", subnet_id="subnet-0123456789abcdef0"
    ),
    "allowed-ips": replace(
        ON_DEMAND,
        allowed_ips=("203.0.113.7/32", "2001:db8::/64", "198.51.100.0/24"),
        allowed_ips_chosen=True,
        nginx_port=8443,
    ),
    "https": replace(ON_DEMAND, allowed_ips=("203.0.113.7/32",), allowed_ips_chosen=True, https=True),
    "https-closed": replace(ON_DEMAND, https=True),
    "count-3": replace(ON_BLOCK, count=3),
    "data-volume": replace(ON_BLOCK, data_volume_size=200),
    "data-volumes-on-demand": replace(
        ON_DEMAND, subnet_id="subnet-0123456789abcdef0", data_volume_size=200, count=2, refresh_ami=True
    ),
    "block-by-id-in-the-saved-subnet": replace(ON_BLOCK, capacity_reservation_id="cr-0123456789abcdef0"),
    "hcp-backend": replace(ON_DEMAND, backend=HcpBackend(organization="an-org", workspace="a-workspace")),
    "local-backend": replace(ON_DEMAND, backend=LocalBackend(path=f"/state/{NAME}-{REGION}.tfstate")),
    "not-bootstrapped": replace(
        ON_DEMAND, backend=S3Backend(bucket=None, region=REGION, key=f"{NAME}/{REGION}/terraform.tfstate")
    ),
}
"""Each has a golden file of the same name."""


def synthesized(deployment: Deployment, outdir: Path) -> dict[str, Any]:
    """What `deployment` becomes, without cdktf's own notes (the keys named `//`)."""
    import main  # starts Node, which only those who synthesize need

    main.synthesize(deployment, outdir)
    document = json.loads((outdir / "stacks" / deployment.name / "cdk.tf.json").read_text())
    stripped: dict[str, Any] = _without_notes(document)
    return stripped


def _without_notes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_notes(inner) for key, inner in value.items() if key != "//"}
    if isinstance(value, list):
        return [_without_notes(inner) for inner in value]
    return value


def main_program() -> None:
    """Print every variant as JSON, by name: for a CDK that is installed elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({name: synthesized(variant, Path(folder) / name) for name, variant in VARIANTS.items()}))


if __name__ == "__main__":
    main_program()
