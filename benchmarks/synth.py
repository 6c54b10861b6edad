"""Synthesis of the full stack, against the same with the provider package imported the usual way.

Both are whole programs, as cdktf starts them: `python main.py`, and `usual_synth`. Both write the Terraform JSON of the
same stack, and it is compared byte for byte each time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.pairs import BenchmarkError, Pair
from benchmarks.programs import program
from torchneuron.core.config import CONFIG_VARIABLE, PROJECT_ROOT

AT_MOST = 1 / 5

# Every part that a stack can have: the block and its subnet looked up, open ports, state in a bucket.
_CONTEXT = {"useCapacityBlock": True, "allowedIps": ["203.0.113.7/32", "2001:db8::/64"]}
_BUCKET = "torchneuron-state-123456789012"


def pairs(folder: Path, environment: Mapping[str, str], _endings: ExitStack) -> list[Pair]:
    """The one pair there is. It reads and writes in `folder`."""
    variables = {
        **environment,
        CONFIG_VARIABLE: str(_settings(folder)),
        "CDKTF_CONTEXT_JSON": json.dumps(_CONTEXT),
    }
    ours, usual = folder / "ours", folder / "usual"
    return [
        Pair(
            what="python main.py",
            against="provider package imported whole",
            ours=program([sys.executable, "main.py"], {**variables, "CDKTF_OUTDIR": str(ours)}),
            usual=program([sys.executable, "-m", "benchmarks.usual_synth"], {**variables, "CDKTF_OUTDIR": str(usual)}),
            at_most=AT_MOST,
            compare=lambda: compare(ours, usual),
        )
    ]


def _settings(folder: Path) -> Path:
    """The project's settings with a bucket, which only `invoke bootstrap` would write into them."""
    settings = json.loads((PROJECT_ROOT / "config.json").read_text())
    settings["backend"] = {**settings["backend"], "type": "s3", "bucket": _BUCKET}
    copy = folder / "config.json"
    copy.write_text(json.dumps(settings))
    return copy


def compare(ours: Path, usual: Path) -> None:
    """Raise BenchmarkError unless both folders hold the same files. They are gone after: no round passes by the last's.

    Nothing is left out of it: cdktf's own notes in the JSON name the same stack and release in both.
    """
    written = [_taken(folder) for folder in (ours, usual)]
    if not any(name.endswith("cdk.tf.json") for name in written[0]):
        raise BenchmarkError(f"python main.py wrote no cdk.tf.json into {ours}.")
    different = [name for name in sorted({*written[0], *written[1]}) if written[0].get(name) != written[1].get(name)]
    if different:
        raise BenchmarkError(
            "The two ways to synthesize did not write the same: their times say nothing.",
            why=f"Different, or in one of them only: {', '.join(different)}.",
            do="Compare what python main.py and python -m benchmarks.usual_synth write.",
        )


def _taken(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    for path in files:
        path.unlink()
    return contents
