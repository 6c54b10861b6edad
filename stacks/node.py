"""The environment of the Node process of cdktf.

Importing `cdktf` starts Node with the environment of this process. The provider's `index.js` loads every module, which
takes 2 s and 450 MB; with `load_on_demand.cjs`, each module loads on first use. For the Python side see provider.py.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

HOOK = Path(__file__).with_name("load_on_demand.cjs")

# Major versions for which jsii does not warn that they are past their end of life. cdktf supports Node 20.
_QUIET_VARIABLE = "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"
_QUIET_VERSIONS = "20"


def prepare(environment: MutableMapping[str, str]) -> None:
    """Add the variables to `environment`, keeping the user's values. Call it before importing cdktf."""
    options = environment.get("NODE_OPTIONS", "")
    if HOOK.name not in options:
        # Node accepts any character in a quoted path with backslash escapes.
        path = str(HOOK).replace("\\", "\\\\").replace('"', '\\"')
        environment["NODE_OPTIONS"] = f'{options} --require "{path}"'.strip()
    environment.setdefault(_QUIET_VARIABLE, _QUIET_VERSIONS)
