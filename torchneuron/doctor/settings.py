"""The settings: whether they can be read, know the region, and name a bucket for Terraform's state."""

from __future__ import annotations

import os
from pathlib import Path

from torchneuron.core import config
from torchneuron.core.config import Config, HcpBackend, S3Backend
from torchneuron.core.errors import InputError, TorchNeuronError
from torchneuron.doctor.finding import Finding, Verdict

_FILE, _REGION, _BUCKET = "settings", "region in the settings", "state bucket"


def findings(region: str, file: Path | None = None) -> tuple[list[Finding], str]:
    """What there is to say of the settings, and the region to look at in AWS: `region`, else the default one."""
    try:
        settings = config.load(file)
    except InputError as error:
        return _unreadable(error), region or _of_the_environment()
    region = region or settings.default_region
    found = [Finding(_FILE, str(settings.path), Verdict.OK), _configured(settings, region), _state(settings, region)]
    return found, region


def _unreadable(error: InputError) -> list[Finding]:
    return [
        _refused(_FILE, error),
        *(
            Finding(name, "not known without settings", Verdict.WARNING, "Put the settings right first.")
            for name in (_REGION, _BUCKET)
        ),
    ]


def _refused(name: str, error: TorchNeuronError) -> Finding:
    remedy = error.do or f"Mend the file; config.schema.json describes it. {config.CONFIG_VARIABLE} names another one."
    return Finding(name, error.what.rstrip("."), Verdict.MISSING, "\n".join(filter(None, (error.why, remedy))))


def _configured(settings: Config, region: str) -> Finding:
    try:
        return Finding(_REGION, settings.region(region), Verdict.OK)
    except InputError as error:
        return _refused(_REGION, error)


def _state(settings: Config, region: str) -> Finding:
    backend = settings.backend_for(region)
    if isinstance(backend, HcpBackend):
        where = f"the workspace {backend.workspace} of {backend.organization}"
        return Finding(_BUCKET, f"none: the state is in {where}", Verdict.OK)
    if not isinstance(backend, S3Backend):
        return Finding(_BUCKET, f"none: the state is in {backend.path}", Verdict.OK)
    if backend.bucket is None:
        remedy = f"invoke deploy keeps Terraform's state in it. Once an account:\ninvoke bootstrap -r {region}"
        return Finding(_BUCKET, "not made yet", Verdict.MISSING, remedy)
    return Finding(_BUCKET, f"{backend.bucket} in {backend.region}", Verdict.OK)


def _of_the_environment() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
