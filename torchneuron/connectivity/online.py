"""Waits until Systems Manager reaches instances, and says of each that it does not reach what it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from torchneuron.aws.ec2 import instances_by_id
from torchneuron.aws.errors import is_about_sign_in, may_pass
from torchneuron.aws.session import Aws
from torchneuron.connectivity import gather, remedies
from torchneuron.connectivity.diagnosis import FINAL, Cause, Diagnosis, diagnose
from torchneuron.connectivity.facts import Facts
from torchneuron.core.errors import AwsError, InputError, NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

# Seconds between two looks at SSM: the first, and the longest.
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 10.0
_SLOWER = 1.25
# Seconds between two looks at EC2 for machines that are not worth waiting for.
_CHECK_EVERY = 30.0
_WAIT = "Add --wait to wait for it."


def wait_until_online(
    aws: Aws,
    instance_ids: Sequence[str],
    *,
    seconds: float,
    tell: Callable[[str], object] = lambda told: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Return once SSM reaches all the instances; `tell` hears how many it does ("63 of 64 online").

    Raises NotFoundError when it does not within `seconds` (0: by now), or when one of them is not worth waiting for:
    it names each that is not reached, and why. Raises InputError for Windows.
    """
    ids = list(dict.fromkeys(instance_ids))
    ssm, begun, pause, missing = aws.ssm(), clock(), _FIRST_PAUSE, ids
    # Not at once: EC2 may not know a machine yet that was launched a moment ago.
    next_check = begun + _FIRST_PAUSE
    while True:
        left = begun + seconds - clock()
        missing = _not_online(ssm, missing, patient=left > 0)
        tell(f"{len(ids) - len(missing)} of {len(ids)} online")
        if not missing:
            return
        if left <= 0:
            raise _unreached(aws, missing, of=len(ids), waited=seconds)
        if clock() >= next_check:
            next_check = clock() + _CHECK_EVERY
            if _is_hopeless(aws, missing):
                raise _unreached(aws, missing, of=len(ids), waited=clock() - begun)
        sleep(min(pause, left))
        pause = min(pause * _SLOWER, _LONGEST_PAUSE)


def online(ssm: SSMClient, instance_ids: Sequence[str]) -> set[str]:
    """Those of the instances to whose agents SSM has a connection."""
    return {one for one, found in gather.registrations(ssm, instance_ids).items() if found.online}


def not_managed(instance_ids: Sequence[str], region: str) -> NotFoundError:
    """What to say of instances that were reached a moment ago, and that a command no longer gets to."""
    see = [line for one in instance_ids[:3] for line in remedies.see_registration(region, one)]
    which = instance_ids[0] if len(instance_ids) == 1 else f"all of {', '.join(instance_ids)}"
    return NotFoundError(
        f"Systems Manager does not reach {which} any more.",
        why="It did a moment ago: an instance was stopped or restarted since, or its agent was.",
        do="\n".join([*see, "Run the same command again: it says what it is."]),
    )


def _not_online(ssm: SSMClient, ids: Sequence[str], *, patient: bool) -> list[str]:
    """Those that SSM does not reach. An answer that did not come is asked for again later, if `patient`."""
    try:
        known = gather.registrations(ssm, ids)
    except AwsError as error:
        if not (patient and may_pass(error)):
            raise
        return list(ids)
    if windows := [one for one in ids if one in known and known[one].online and known[one].is_windows]:
        raise InputError(
            f"{', '.join(windows)} {'runs' if len(windows) == 1 else 'run'} Windows.",
            why="The tasks are shell scripts.",
            do="Name Linux instances only.",
        )
    return [one for one in ids if one not in known or not known[one].online]


def _is_hopeless(aws: Aws, ids: Sequence[str]) -> bool:
    """Whether one of them is known to be a machine that will not come, however long it is waited for."""
    brief = aws.brief()
    try:
        there = instances_by_id(brief.ec2(), ids)
    except AwsError as error:
        if is_about_sign_in(error):
            raise
        return False
    return any(diagnose(Facts(one, aws.region, there.get(one))).cause in FINAL for one in ids)


def _unreached(aws: Aws, ids: Sequence[str], *, of: int, waited: float) -> NotFoundError:
    """The error that names the instances, `of` so many, and what each of them lacks. `waited`: seconds."""
    found = {one: diagnose(facts) for one, facts in gather.gather(aws, ids).items()}
    after = f" after {waited:.0f} s" if waited else ""
    hint = [] if waited or Cause.STARTING not in {each.cause for each in found.values()} else [_WAIT]
    if of == 1:
        ((one, each),) = found.items()
        what = f"Systems Manager does not reach {one}{after}: {each.cause.value}."
        return NotFoundError(what, why=each.why, do="\n".join([*each.do, *hint]))
    return NotFoundError(
        f"Systems Manager does not reach {len(ids)} of {of} instances{after}.",
        why="\n".join(f"{', '.join(which)}: {each.cause.value}. {each.why}" for each, which in _alike(found)),
        do="\n".join([line for each, which in _alike(found) for line in _for_all(each, which)] + hint),
    )


def _alike(found: Mapping[str, Diagnosis]) -> list[tuple[Diagnosis, list[str]]]:
    """The instances that lack the same for the same reason, together: of 64, one page is read and not 64."""
    kinds: dict[tuple[Cause, str], list[str]] = {}
    for one, each in found.items():
        kinds.setdefault((each.cause, each.why), []).append(one)
    return [(found[which[0]], which) for which in kinds.values()]


def _for_all(each: Diagnosis, which: Sequence[str]) -> list[str]:
    alike = f", and alike for {len(which) - 1} more" if len(which) > 1 else ""
    return [f"For {which[0]}{alike}:", *each.do] if each.do else []
