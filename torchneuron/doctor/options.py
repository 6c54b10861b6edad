"""The options of `invoke doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from torchneuron.core.options import option


@dataclass(frozen=True)
class DoctorOptions:
    region: str = option("AWS region to check [default: the settings' default region]")
    output: str = option("Format: table or json [default: table]", default="table")
    policy: str = option("Print the IAM policy that these commands need: names separated by commas, or all")
