"""The AWS account: whose credentials these are, and whether the account has the region. Two calls."""

from __future__ import annotations

import os

from torchneuron.aws.errors import calling, is_denied
from torchneuron.aws.session import BRIEF, Aws
from torchneuron.core.errors import AccessError, AwsError, InputError, TorchNeuronError
from torchneuron.doctor.finding import Finding, Verdict

_CREDENTIALS, _REGION = "AWS credentials", "region in the account"
# A region that no account can turn off: there, what is refused is the credentials, and nothing else.
_HOMES = {"cn-": "cn-north-1", "us-gov-": "us-gov-west-1", "": "us-east-1"}


def findings(region: str) -> list[Finding]:
    """What there is to say of the credentials, and of `region` with them."""
    home = next(home for prefix, home in _HOMES.items() if region.startswith(prefix))
    try:
        aws = Aws(home, lookups=BRIEF)
    except InputError as error:
        return [_trouble(_CREDENTIALS, error), _not_asked()]
    try:
        credentials = _whose(aws)
    except TorchNeuronError as error:
        credentials = _trouble(_CREDENTIALS, error)
    try:
        there = aws.elsewhere(region)
    except InputError as error:
        return [credentials, _trouble(_REGION, error)]
    return [credentials, _not_asked() if credentials.verdict is Verdict.MISSING else _enabled(there)]


def _whose(aws: Aws) -> Finding:
    with calling("ask AWS whose credentials these are"):
        told = aws.sts().get_caller_identity()
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    where = f", at {endpoint}" if endpoint else ""
    return Finding(_CREDENTIALS, f"account {told['Account']}, {told['Arn']}{where}", Verdict.OK)


def _enabled(aws: Aws) -> Finding:
    try:
        regions = aws.enabled_regions()
    except AwsError as error:
        # Good credentials that are not taken there: the region is what is wrong.
        turned_off = isinstance(error, AccessError) and not is_denied(error)
        return _trouble(_REGION, error, Verdict.MISSING if turned_off else Verdict.WARNING)
    except InputError as error:
        return _trouble(_REGION, error)
    if aws.region in regions:
        return Finding(_REGION, f"{aws.region} is enabled", Verdict.OK)
    remedy = f"Enable it, which takes AWS some minutes:\naws account enable-region --region-name {aws.region}"
    return Finding(_REGION, f"{aws.region} is not enabled", Verdict.MISSING, remedy)


def _not_asked() -> Finding:
    return Finding(_REGION, "not known without credentials", Verdict.WARNING, "Put the credentials right first.")


def _trouble(name: str, error: TorchNeuronError, verdict: Verdict = Verdict.MISSING) -> Finding:
    # "Could not ask …: this machine has no usable AWS credentials." has what was found last.
    found = error.what.partition(": ")[2] or error.what
    return Finding(name, found.rstrip("."), verdict, "\n".join(filter(None, (error.why, error.do))))
