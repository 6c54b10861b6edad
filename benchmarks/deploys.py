"""Commands that use Terraform, against Terraform alone.

A deploy that changes nothing: against the plan that it cannot do without. A first deploy: against the shortest way by
hand, which is synthesize, init, plan and apply. `invoke info` and `invoke password`: against a number of seconds.
CPU seconds are those of the command and all that it starts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import rehearsed
from benchmarks.pairs import Pair, Work
from benchmarks.programs import cpu_seconds, program
from benchmarks.rehearsed import REGION, script
from torchneuron.core.config import CONFIG_VARIABLE

NO_CHANGE_AT_MOST = 1.5
FIRST_DEPLOY_AT_MOST = 1.3
LOOK_CPU_SECONDS = 1.5
_TYPE = "inf2.xlarge"
_DEPLOY = (script("invoke"), "deploy", "--skip-setup", "-r", REGION)
_ON_DEMAND = ("-t", _TYPE, "--on-demand", "--yes")


def pairs(folder: Path, environment: Mapping[str, str], endings: ExitStack) -> list[Pair]:
    """Deploys one machine to begin with."""
    rehearsal = rehearsed.start(folder, environment, endings, ["--host-suite", "none"], **_settings(folder, "deployed"))
    variables = {**rehearsal.variables, **rehearsed.terraform_variables(folder)}
    program([*_DEPLOY, *_ON_DEMAND], variables)()
    stack = folder / "deployed" / "invoke" / REGION / "stacks" / "deployed"
    return [
        Pair(
            what="invoke deploy, nothing to change",
            against="terraform plan in the same folder",
            ours=program(_DEPLOY, variables),
            usual=program(["terraform", f"-chdir={stack}", "plan", "-input=false"], variables),
            at_most=NO_CHANGE_AT_MOST,
        ),
        *(
            Pair(
                what=f"invoke {name}, CPU",
                against=f"{LOOK_CPU_SECONDS:g} s",
                ours=cpu_seconds(program([script("invoke"), name, "-r", REGION], variables)),
                usual=lambda: LOOK_CPU_SECONDS,
                at_most=1.0,
            )
            for name in ("info", "password")
        ),
        Pair(
            what="first invoke deploy, CPU",
            against="synthesize, init, plan and apply by hand",
            ours=cpu_seconds(program([*_DEPLOY, *_ON_DEMAND], _configured(variables, folder, "first"))),
            usual=cpu_seconds(_by_hand(folder, variables)),
            at_most=FIRST_DEPLOY_AT_MOST,
            slow=True,
        ),
    ]


def _by_hand(folder: Path, variables: Mapping[str, str]) -> Work:
    name = "by-hand"
    output = folder / name
    context = json.dumps({"region": REGION, "instanceType": _TYPE})
    synthesis = {"CDKTF_CONTEXT_JSON": context, "CDKTF_OUTDIR": str(output)}
    terraform = ["terraform", f"-chdir={output / 'stacks' / name}"]
    steps: Sequence[Work] = [
        program([sys.executable, "main.py"], {**_configured(variables, folder, name), **synthesis}),
        program([*terraform, "init", "-input=false"], variables),
        program([*terraform, "plan", "-input=false", "-out=plan"], variables),
        program([*terraform, "apply", "-input=false", "plan"], variables),
    ]

    def run() -> None:
        for step in steps:
            step()

    return run


def _configured(variables: Mapping[str, str], folder: Path, name: str) -> dict[str, str]:
    """The variables, with settings for a project of that name: what is deployed first can be so once only."""
    path = folder / f"{name}.json"
    document = json.loads((folder / "config.json").read_text())
    path.write_text(json.dumps({**document, **_settings(folder, name)}))
    return {**variables, CONFIG_VARIABLE: str(path)}


def _settings(folder: Path, name: str) -> dict[str, object]:
    return {
        "projectName": name,
        "defaultRegion": REGION,
        "outputDir": str(folder / name),
        "backend": {"type": "local", "path": str(folder / "terraform-state")},
    }
