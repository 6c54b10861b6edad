"""Checks of the settings, the AWS account and a launch: what needs the project's packages."""

from __future__ import annotations

import os
from pathlib import Path

from torchneuron.aws.errors import calling, is_denied
from torchneuron.aws.session import BRIEF, Aws
from torchneuron.capacity_blocks import launch_check
from torchneuron.capacity_blocks.launch_check import Launch, Result
from torchneuron.capacity_blocks.rules import is_sold_as_blocks_only
from torchneuron.core import config
from torchneuron.core.config import Config, HcpBackend, S3Backend
from torchneuron.core.errors import AccessError, AwsError, InputError, TorchNeuronError
from torchneuron.doctor.findings import Finding, Verdict

_SETTINGS, _REGION, _BUCKET = "settings", "region in the settings", "state bucket"
_CREDENTIALS, _ACCOUNT_REGION = "AWS credentials", "region in the account"
# Regions that cannot be disabled, by partition: an error there is about the credentials.
_HOME_REGIONS = {"cn-": "cn-north-1", "us-gov-": "us-gov-west-1", "": "us-east-1"}
# The other launch checks are warnings: another type, a named subnet or a Capacity Block may avoid them.
_REQUIRED_FOR_LAUNCH = ("AMI", "launch permission")


def check_settings(region: str, file: Path | None = None) -> tuple[list[Finding], str]:
    """Findings about the settings, and the region to check in AWS: `region`, or else the default region."""
    try:
        settings = config.load(file)
    except InputError as error:
        return _unreadable_settings(error), region or _environment_region()
    region = region or settings.default_region
    found = [
        Finding(_SETTINGS, str(settings.path), Verdict.OK),
        _configured_region(settings, region),
        _state_bucket(settings, region),
    ]
    return found, region


def check_account(region: str) -> list[Finding]:
    """Findings about the credentials, and whether the account has `region`. Two calls."""
    home = next(home for prefix, home in _HOME_REGIONS.items() if region.startswith(prefix))
    try:
        aws = Aws(home, lookups=BRIEF)
    except InputError as error:
        return [_account_problem(_CREDENTIALS, error), _not_checked()]
    try:
        credentials = _caller(aws)
    except TorchNeuronError as error:
        credentials = _account_problem(_CREDENTIALS, error)
    try:
        in_region = aws.elsewhere(region)
    except InputError as error:
        return [credentials, _account_problem(_ACCOUNT_REGION, error)]
    has_credentials = credentials.verdict is not Verdict.MISSING
    return [credentials, _enabled_region(in_region) if has_credentials else _not_checked()]


def check_launch(region: str, file: Path | None = None) -> list[Finding]:
    """Findings about launching the default instance type; none if settings or credentials are not usable."""
    try:
        settings = config.load(file)
        aws = Aws(settings.region(region), lookups=BRIEF)
        instance_type = settings.default_instance_type
        launch = Launch(instance_type, on_block=is_sold_as_blocks_only(instance_type))
        return [_launch_finding(result) for result in launch_check.check(aws, settings, launch)]
    except (InputError, AwsError):
        return []


def _unreadable_settings(error: InputError) -> list[Finding]:
    unknown = [
        Finding(name, "unknown without settings", Verdict.WARNING, "Fix the settings first.")
        for name in (_REGION, _BUCKET)
    ]
    return [_settings_problem(_SETTINGS, error), *unknown]


def _settings_problem(name: str, error: TorchNeuronError) -> Finding:
    remedy = error.do or (
        f"Fix the file; config.schema.json describes it. To use another file, set {config.CONFIG_VARIABLE}."
    )
    return Finding(name, error.what.rstrip("."), Verdict.MISSING, _lines(error.why, remedy))


def _configured_region(settings: Config, region: str) -> Finding:
    try:
        return Finding(_REGION, settings.region(region), Verdict.OK)
    except InputError as error:
        return _settings_problem(_REGION, error)


def _state_bucket(settings: Config, region: str) -> Finding:
    backend = settings.backend_for(region)
    if isinstance(backend, HcpBackend):
        workspace = f"the workspace {backend.workspace} of {backend.organization}"
        return Finding(_BUCKET, f"not used: the state is in {workspace}", Verdict.OK)
    if not isinstance(backend, S3Backend):
        return Finding(_BUCKET, f"not used: the state is in {backend.path}", Verdict.OK)
    if backend.bucket is None:
        remedy = f"invoke deploy keeps Terraform's state in it. Once per account:\ninvoke bootstrap -r {region}"
        return Finding(_BUCKET, "not created yet", Verdict.MISSING, remedy)
    return Finding(_BUCKET, f"{backend.bucket} in {backend.region}", Verdict.OK)


def _environment_region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _caller(aws: Aws) -> Finding:
    with calling("look up the caller"):
        identity = aws.sts().get_caller_identity()
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    at = f", at {endpoint}" if endpoint else ""
    return Finding(_CREDENTIALS, f"account {identity['Account']}, {identity['Arn']}{at}", Verdict.OK)


def _enabled_region(aws: Aws) -> Finding:
    try:
        regions = aws.enabled_regions()
    except AwsError as error:
        # The credentials work elsewhere, so the region rejects them because it is not enabled.
        is_disabled = isinstance(error, AccessError) and not is_denied(error)
        return _account_problem(_ACCOUNT_REGION, error, Verdict.MISSING if is_disabled else Verdict.WARNING)
    except InputError as error:
        return _account_problem(_ACCOUNT_REGION, error)
    if aws.region in regions:
        return Finding(_ACCOUNT_REGION, f"{aws.region} is enabled", Verdict.OK)
    remedy = f"Enable it, which takes some minutes:\naws account enable-region --region-name {aws.region}"
    return Finding(_ACCOUNT_REGION, f"{aws.region} is not enabled", Verdict.MISSING, remedy)


def _not_checked() -> Finding:
    return Finding(_ACCOUNT_REGION, "unknown without credentials", Verdict.WARNING, "Fix the credentials first.")


def _account_problem(name: str, error: TorchNeuronError, verdict: Verdict = Verdict.MISSING) -> Finding:
    # The reason is last: "Could not look up the caller: this machine has no usable AWS credentials."
    found = error.what.partition(": ")[2] or error.what
    return Finding(name, found.rstrip("."), verdict, _lines(error.why, error.do))


def _launch_finding(result: Result) -> Finding:
    if result.problem is None:
        return Finding(result.name, result.found, Verdict.OK)
    verdict = Verdict.MISSING if result.name in _REQUIRED_FOR_LAUNCH else Verdict.WARNING
    remedy = _lines(result.problem.why, result.problem.do)
    return Finding(result.name, result.problem.what.rstrip("."), verdict, remedy)


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)
