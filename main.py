"""The CDKTF app, which synthesizes the stack. Run by `cdktf.json`, or with `python main.py`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from stacks import node, one_off
from torchneuron.core import config, files
from torchneuron.core.errors import TorchNeuronError


def main() -> int:
    """Synthesize the stack into CDKTF_OUTDIR, or else the settings' outputDir. Returns the exit status."""
    try:
        settings = config.load()
        synthesize(
            settings.deployment(one_off.read(os.environ.get(one_off.VARIABLE))),
            Path(os.environ.get("CDKTF_OUTDIR") or settings.output_dir),
        )
    except TorchNeuronError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except OSError as error:
        print(files.unusable(error), file=sys.stderr)
        return 1
    return 0


def synthesize(deployment: config.Deployment, outdir: Path) -> None:
    """Write the Terraform JSON of `deployment` into `outdir`."""
    # Importing cdktf starts Node, which reads its options from the environment at that time.
    node.prepare(os.environ)
    from stacks.cdk import create_app
    from stacks.code_server import CodeServerStack

    outdir.mkdir(parents=True, exist_ok=True)
    app = create_app(outdir)
    CodeServerStack(app, deployment=deployment)
    app.synth()


if __name__ == "__main__":
    sys.exit(main())
