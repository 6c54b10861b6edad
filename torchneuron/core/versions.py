"""Versions that more than one part of the project requires.

Pipfile, package.json, tools/check-programs.sh and two pages of the documentation repeat them; a test compares.
"""

from __future__ import annotations

MINIMUM_TERRAFORM = "1.11"
"""The oldest release of Terraform that works: write-only arguments keep the password out of the state."""
REQUIRED_TERRAFORM = f">= {MINIMUM_TERRAFORM}"
"""The same as a version constraint. Every configuration has this text: with another one, a deploy runs `init` twice."""

CDKTF = "0.21.0"
CDKTF_AWS_PROVIDER = "20.1.0"
"""The release of `cdktf-cdktf-provider-aws` whose layout stacks/provider.py relies on."""

AWS_PROVIDER = "5.100.0"
"""The release of Terraform's AWS provider that the synthesized configuration requires."""
CDKTN = "0.24.0"
CDKTN_AWS_PROVIDER = "25.8.1"
"""CDK Terrain, which the tests synthesize with as well (tools/cdktn.in)."""


def numbers(version: str) -> tuple[int, ...]:
    """A version of digits and dots as numbers, to compare."""
    return tuple(int(part) for part in version.split("."))
