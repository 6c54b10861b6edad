"""The types of UltraServers sold as Capacity Blocks: several instances on one interconnect, sold as a whole.

Sources
-------
- u-trn2x64 is four trn2u.48xlarge: AWS Neuron documentation, "Amazon EC2 Trn2 architecture".
- u-p6e-gb200x72 is eighteen p6e-gb200.36xlarge: AWS, "Amazon EC2 P6e-GB200 UltraServers"; 72 GPUs, four per instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class UltraServer:
    """A type of UltraServer. `instances`: how many instances it has."""

    name: str
    instance_type: str
    instances: int


TRN2 = UltraServer("u-trn2x64", "trn2u.48xlarge", 4)
P6E_GB200 = UltraServer("u-p6e-gb200x72", "p6e-gb200.36xlarge", 18)
ULTRASERVERS: Mapping[str, UltraServer] = {ultraserver.name: ultraserver for ultraserver in (TRN2, P6E_GB200)}
