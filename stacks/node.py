"""How the Node process behind cdktf is started: two settings that must be there before it is.

cdktf's classes live in Node; importing `cdktf` starts it and hands on this process's environment.

The Python side of the provider package costs seconds because of its `__init__` (see provider.py), and
the JavaScript side does the same over again: its `index.js` loads every module there is, 2 s and
450 MB. `load_on_demand.cjs` turns each of these into a load on first use.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

HOOK = Path(__file__).with_name("load_on_demand.cjs")

# jsii's name for a list of major versions. Node 20 is past its end of life, yet what this project runs
# on works with it, and the banner would come before everything else that each command says.
_QUIET_VARIABLE = "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"
_QUIET_VERSIONS = "20"


def prepare(environment: MutableMapping[str, str]) -> None:
    """Add the settings to `environment`, keeping what the user has set. Has no effect once cdktf is imported."""
    options = environment.get("NODE_OPTIONS", "")
    if HOOK.name not in options:
        # Node reads a quoted path with backslash escapes, whatever characters it has.
        path = str(HOOK).replace("\\", "\\\\").replace('"', '\\"')
        environment["NODE_OPTIONS"] = f'{options} --require "{path}"'.strip()
    environment.setdefault(_QUIET_VARIABLE, _QUIET_VERSIONS)
