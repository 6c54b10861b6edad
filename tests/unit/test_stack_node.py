"""The Node process behind cdktf: loads the provider's modules on first use, and keeps the user's options."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stacks import node
from torchneuron.core.config import PROJECT_ROOT

QUIET = "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"


@pytest.fixture
def fake_provider(tmp_path):
    """A package with the layout of the provider's, whose modules say when they are loaded."""
    library = tmp_path / "with a space" / "@cdktf" / "provider-aws" / "lib"
    for name in ("instance", "xray-group"):
        (library / name).mkdir(parents=True)
        (library / name / "index.js").write_text(f'console.log("loaded {name}"); exports.Class = "{name}";\n')
    (library / "index.js").write_text(
        "exports.xrayGroup = exports.instance = void 0;\n"
        'exports.instance = require("./instance");\n'
        'exports.xrayGroup = require("./xray-group");\n'
    )
    return library


def run_node(program, **variables):
    environment = {"PATH": os.environ["PATH"], **variables}
    node.prepare(environment)
    done = subprocess.run(["node", "-e", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[:-1]


def test_modules_are_loaded_on_first_use(fake_provider):
    program = (
        f"const aws = require({str(fake_provider)!r});"
        'console.log("imported", Object.keys(aws).sort().join());'
        "console.log(aws.instance.Class, aws.instance === aws.instance);"
    )
    assert run_node(program) == ["imported instance,xrayGroup", "loaded instance", "instance true"]


def test_other_packages_load_as_they_are(fake_provider, tmp_path):
    elsewhere = fake_provider.parent.rename(tmp_path / "other")
    assert run_node(f"require({str(elsewhere / 'lib')!r})") == ["loaded instance", "loaded xray-group"]


def test_the_users_own_options_stay():
    environment = {"NODE_OPTIONS": "--max-old-space-size=4096", QUIET: "18,20"}
    node.prepare(environment)
    once = dict(environment)
    node.prepare(environment)
    assert environment == once
    assert environment["NODE_OPTIONS"].startswith("--max-old-space-size=4096 --require ")
    assert environment[QUIET] == "18,20"


def test_a_quote_in_the_projects_path_is_escaped(monkeypatch, tmp_path):
    odd = tmp_path / 'a "quoted" folder'
    odd.mkdir()
    (odd / "hook.cjs").write_text('console.log("hooked");\n')
    monkeypatch.setattr(node, "HOOK", odd / "hook.cjs")
    assert run_node("") == ["hooked"]


def test_the_real_provider_is_laid_out_so(tmp_path):
    """All of it loaded is some 590 MB in Node, what one class needs of it 150 MB: the hook still fits."""
    program = (
        "import os; from stacks import node; node.prepare(os.environ); import stacks.provider\n"
        "import jsii; jsii._runtime.kernel.provider._process.stop()\n"
        "import resource; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 350_000, "the provider package loads more than it did: compare stacks/load_on_demand.cjs"
