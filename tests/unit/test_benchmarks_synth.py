"""The two ways to synthesize, run for real and not timed. Apart from the other tests: the usual way takes its time."""

from __future__ import annotations

import json
import resource
from contextlib import ExitStack

from benchmarks import programs, synth


def test_both_ways_write_the_same_and_only_ours_loads_little(tmp_path):
    (pair,) = synth.pairs(tmp_path, programs.environment(), ExitStack())
    pair.ours()
    document = json.loads(next((tmp_path / "ours").rglob("cdk.tf.json")).read_text())
    assert "203.0.113.7/32" in json.dumps(document["resource"]["aws_security_group"])
    assert "capacity-block" in json.dumps(document)
    assert document["terraform"]["backend"]["s3"]["bucket"]

    pair.usual()
    # Node with all of the provider's modules: the load on demand had no effect on it. See test_stack_node.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 450_000
    pair.compare()
