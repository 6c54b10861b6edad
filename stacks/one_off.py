"""One-off settings of a run, from the environment variable `CDKTF_CONTEXT_JSON`."""

from __future__ import annotations

import json
from typing import Any

from torchneuron.core.errors import InputError

VARIABLE = "CDKTF_CONTEXT_JSON"

# cdktf uses the same variable. Its keys start with "cdktf", except for the feature flags that `cdktf init` writes.
_FEATURE_FLAGS = frozenset({"excludeStackIdFromLogicalIds", "allowSepCharsInLogicalIds"})


def read(text: str | None) -> dict[str, Any]:
    """The entries of `text` that are not cdktf's, not validated. Raises InputError if `text` is not a JSON object."""
    if not text:
        return {}
    try:
        context = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{VARIABLE} is not JSON.", why=f"{error.msg} at column {error.colno}.", do=_EXAMPLE
        ) from error
    if not isinstance(context, dict):
        raise InputError(f"{VARIABLE} is not a JSON object.", do=_EXAMPLE)
    return {key: value for key, value in context.items() if not key.startswith("cdktf") and key not in _FEATURE_FLAGS}


_EXAMPLE = f"""Example: {VARIABLE}='{{"useCapacityBlock": true, "region": "sa-east-1"}}'"""
