"""Terraform's AWS provider from this machine, where the provider registry is not reachable.

A provider laid out as a filesystem mirror may already be here. A Terraform CLI configuration of the rehearsal's own
(`TF_CLI_CONFIG_FILE`) names it; the user's configuration is not changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PROVIDER = "registry.terraform.io/hashicorp/aws"
# The version that the stack requires: a mirror without it would only keep Terraform from the registry.
RELEASE = "5.100.0"

_CLI_CONFIG = """\
disable_checkpoint = true

provider_installation {{
  filesystem_mirror {{
    path    = "{mirror}"
    include = ["{provider}"]
  }}
  direct {{
    exclude = ["{provider}"]
  }}
}}
"""


def write_cli_config(directory: Path) -> Path | None:
    """Write a CLI configuration that takes the AWS provider from a mirror. None: no mirror was found."""
    mirror = find_mirror()
    if mirror is None:
        return None
    path = directory / "terraform.tfrc"
    path.write_text(_CLI_CONFIG.format(mirror=mirror, provider=PROVIDER), encoding="utf-8")
    return path


def find_mirror() -> Path | None:
    """The folder above the first `registry.terraform.io/hashicorp/aws` with RELEASE under the usual prefixes."""
    for prefix in _prefixes():
        for pattern in (PROVIDER, f"*/{PROVIDER}", f"*/*/{PROVIDER}"):
            for folder in sorted(prefix.glob(pattern)):
                if any(RELEASE in release.name for release in folder.iterdir()):
                    return folder.parents[2]
    return None


def _prefixes() -> Iterator[Path]:
    home = Path.home()
    yield home / ".terraform.d" / "plugins"
    yield Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    yield from (Path("/usr/local/share"), Path("/usr/share"), Path("/opt"))
