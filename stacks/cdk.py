"""The core classes of the CDK: cdktf's, or where only CDK Terrain is installed, cdktn's.

Both have the same names. Everything in `stacks` imports them from here.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchneuron.core.versions import MINIMUM_TERRAFORM

IS_CDKTF = importlib.util.find_spec("cdktf") is not None

if TYPE_CHECKING or IS_CDKTF:
    from cdktf import (
        App,
        CloudBackend,
        IResolvable,
        ITerraformDependable,
        LocalBackend,
        NamedCloudWorkspace,
        Op,
        Postcondition,
        Precondition,
        S3Backend,
        TerraformOutput,
        TerraformResource,
        TerraformResourceLifecycle,
        TerraformStack,
        Token,
    )

__all__ = [
    "App",
    "CloudBackend",
    "IResolvable",
    "ITerraformDependable",
    "LocalBackend",
    "NamedCloudWorkspace",
    "Op",
    "Postcondition",
    "Precondition",
    "S3Backend",
    "TerraformOutput",
    "TerraformResource",
    "TerraformResourceLifecycle",
    "TerraformStack",
    "Token",
]

if not IS_CDKTF:
    cdktn = importlib.import_module("cdktn")
    globals().update({name: getattr(cdktn, name) for name in __all__})


def create_app(outdir: Path) -> App:
    """An app that writes into `outdir`."""
    if IS_CDKTF:
        return App(outdir=str(outdir))
    # cdktn refuses write-only arguments unless every targeted release has them.
    context: Any = {"targetVersions": {"terraform": f">={MINIMUM_TERRAFORM}.0"}}
    return App(outdir=str(outdir), context=context)
