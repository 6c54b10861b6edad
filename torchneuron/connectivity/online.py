"""Waits until Systems Manager reaches instances, and says why for each that it does not reach."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from torchneuron.aws.ec2 import instances_by_id
from torchneuron.aws.errors import is_about_sign_in, may_pass
from torchneuron.aws.session import Aws
from torchneuron.connectivity import lookup, remedies
from torchneuron.connectivity.diagnosis import FINAL, Cause, Diagnosis, diagnose
from torchneuron.connectivity.facts import Facts
from torchneuron.core.errors import AwsError, InputError, NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

# Seconds between polls of SSM, growing from the first to the longest.
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 10.0
_GROWTH = 1.25
# Seconds between polls of EC2 for instances that will never come online.
_EC2_INTERVAL = 30.0


def wait_until_online(
    aws: Aws,
    instance_ids: Sequence[str],
    *,
    seconds: float,
    report: Callable[[str], object] = lambda progress: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Return once SSM reaches all instances; `report` gets the progress ("63 of 64 online").

    Raises NotFoundError, with the cause for each instance, if they are not online within `seconds` (0: now) or if one
    of them never will be. Raises InputError for Windows.
    """
    ids = list(dict.fromkeys(instance_ids))
    ssm, start, pause, offline = aws.ssm(), clock(), _FIRST_PAUSE, ids
    # Not at once: EC2 may not know an instance that was launched a moment ago.
    next_ec2_check = start + _FIRST_PAUSE
    while True:
        left = start + seconds - clock()
        offline = _offline(ssm, offline, retry=left > 0)
        report(f"{len(ids) - len(offline)} of {len(ids)} online")
        if not offline:
            return
        if left <= 0:
            raise _unreached(aws, offline, total=len(ids), waited=seconds)
        if clock() >= next_ec2_check:
            next_ec2_check = clock() + _EC2_INTERVAL
            if _is_hopeless(aws, offline):
                raise _unreached(aws, offline, total=len(ids), waited=clock() - start)
        sleep(min(pause, left))
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)


def online_instances(ssm: SSMClient, instance_ids: Sequence[str]) -> set[str]:
    """Those of the instances whose agents are connected to SSM."""
    return {id_ for id_, found in lookup.registrations(ssm, instance_ids).items() if found.is_online}


def connection_lost(instance_ids: Sequence[str], region: str) -> NotFoundError:
    """The error for instances that were online a moment ago and that SSM rejects a command for."""
    checks = [line for id_ in instance_ids[:3] for line in remedies.check_registration(region, id_)]
    names = instance_ids[0] if len(instance_ids) == 1 else f"all of {', '.join(instance_ids)}"
    return NotFoundError(
        f"Systems Manager no longer reaches {names}.",
        why="It did a moment ago: an instance, or its agent, was stopped or restarted since.",
        do="\n".join([*checks, "Run the same command again for the cause."]),
    )


def _offline(ssm: SSMClient, ids: Sequence[str], *, retry: bool) -> list[str]:
    """Those of the instances that SSM does not reach: all of them after a transient error, if `retry`."""
    try:
        known = lookup.registrations(ssm, ids)
    except AwsError as error:
        if not (retry and may_pass(error)):
            raise
        return list(ids)
    windows = [id_ for id_ in ids if id_ in known and known[id_].is_online and known[id_].is_windows]
    if windows:
        raise InputError(
            f"{', '.join(windows)} {'runs' if len(windows) == 1 else 'run'} Windows.",
            why="Tasks are shell scripts.",
            do="Name Linux instances only.",
        )
    return [id_ for id_ in ids if id_ not in known or not known[id_].is_online]


def _is_hopeless(aws: Aws, ids: Sequence[str]) -> bool:
    """Whether one of the instances will never come online."""
    try:
        instances = instances_by_id(aws.brief().ec2(), ids)
    except AwsError as error:
        if is_about_sign_in(error):
            raise
        return False
    return any(diagnose(Facts(id_, aws.region, instances.get(id_))).cause in FINAL for id_ in ids)


def _unreached(aws: Aws, ids: Sequence[str], *, total: int, waited: float) -> NotFoundError:
    """The error for offline instances, of `total` ones, with the diagnosis of each. `waited` is in seconds."""
    diagnoses = {id_: diagnose(facts) for id_, facts in lookup.facts(aws, ids).items()}
    after = f" after {waited:.0f} s" if waited else ""
    may_start = Cause.STARTING in {diagnosis.cause for diagnosis in diagnoses.values()}
    hint = ["Add --wait to wait for it."] if may_start and not waited else []
    if total == 1:
        ((id_, diagnosis),) = diagnoses.items()
        what = f"Systems Manager does not reach {id_}{after}: {diagnosis.cause.value}."
        return NotFoundError(what, why=diagnosis.why, do="\n".join([*diagnosis.do, *hint]))
    groups = _same_diagnosis(diagnoses)
    return NotFoundError(
        f"Systems Manager does not reach {len(ids)} of {total} instances{after}.",
        why="\n".join(f"{', '.join(members)}: {found.cause.value}. {found.why}" for found, members in groups),
        do="\n".join([line for found, members in groups for line in _remedy(found, members)] + hint),
    )


def _same_diagnosis(diagnoses: Mapping[str, Diagnosis]) -> list[tuple[Diagnosis, list[str]]]:
    """The instances grouped by cause and reason, so that a fleet of 64 gets one line a cause."""
    groups: dict[tuple[Cause, str], list[str]] = {}
    for id_, diagnosis in diagnoses.items():
        groups.setdefault((diagnosis.cause, diagnosis.why), []).append(id_)
    return [(diagnoses[members[0]], members) for members in groups.values()]


def _remedy(diagnosis: Diagnosis, members: Sequence[str]) -> list[str]:
    others = f", and likewise for {len(members) - 1} more" if len(members) > 1 else ""
    return [f"For {members[0]}{others}:", *diagnosis.do] if diagnosis.do else []
