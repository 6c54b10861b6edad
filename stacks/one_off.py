"""One-off settings: what `CDKTF_CONTEXT_JSON` says of this run, and `config.json` does not."""

from __future__ import annotations

import json
from typing import Any

from torchneuron.core.errors import InputError

VARIABLE = "CDKTF_CONTEXT_JSON"

# cdktf uses the same variable. Its own keys start with its name, but for the feature flags that
# `cdktf init` writes into new projects; releases before 0.21 read these.
_FEATURE_FLAGS = frozenset({"excludeStackIdFromLogicalIds", "allowSepCharsInLogicalIds"})


def read(text: str | None) -> dict[str, Any]:
    """The user's own entries of `text`, unchecked; none if it is empty or None.

    Raises InputError if `text` is not a JSON object.
    """
    if not text:
        return {}
    try:
        context = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{VARIABLE} is not JSON.", why=f"{error.msg} at column {error.colno}.", do=_EXAMPLE
        ) from error
    if not isinstance(context, dict):
        raise InputError(f"{VARIABLE} is JSON, but not an object.", do=_EXAMPLE)
    return {key: value for key, value in context.items() if not key.startswith("cdktf") and key not in _FEATURE_FLAGS}


_EXAMPLE = f"""Give it such as {VARIABLE}='{{"useCapacityBlock": true, "region": "sa-east-1"}}'."""
