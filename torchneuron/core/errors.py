"""Every way this tool can fail, told in one form: what happened, why, what to do.

One hierarchy, so that one place (`commands.command`) turns any of them into a message and an exit status,
and a traceback always means a bug of ours.
"""

from __future__ import annotations


class TorchNeuronError(Exception):
    """A failure that a person can understand and act on.

    `what` is one sentence on what happened, `why` the reason if it is known, `do` the way out.
    `exit_status` is what the process ends with: 1 for work that failed, 2 for input or
    surroundings that were refused before anything changed.
    """

    exit_status = 1

    def __init__(self, what: str, *, why: str = "", do: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.do = do

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.why, self.do) if part)


class InputError(TorchNeuronError):
    """Refused before anything was changed: a bad option, setting, file or id."""

    exit_status = 2


class AwsError(TorchNeuronError):
    """AWS refused a call. `code` is AWS's own error code."""

    def __init__(self, what: str, *, code: str = "", why: str = "", do: str = "") -> None:
        super().__init__(what, why=why, do=do)
        self.code = code


class AccessError(AwsError):
    """No credentials, expired ones, or a permission that is missing: nothing was changed."""

    exit_status = 2


class ClockError(AccessError):
    """This machine's clock is so far off that AWS refuses what it signs."""


class UnreachableError(AwsError):
    """No answer came from AWS: the request may or may not have taken effect."""


class NotFoundError(TorchNeuronError):
    """Something the command needs does not exist (an offering, a saved block, a deployment)."""

    exit_status = 2


class NotReadyError(TorchNeuronError):
    """Something that commands need is missing on this machine or in the account; `invoke doctor` says so."""


class PurchaseError(TorchNeuronError):
    """A purchase that did not take place, or failed after AWS accepted it."""


class PurchaseUnknownError(PurchaseError):
    """A purchase whose outcome could not be settled: money may have been spent."""

    exit_status = 3


class TerraformError(TorchNeuronError):
    """Terraform, or the synthesis before it, failed."""


class ReplacementRefusedError(TorchNeuronError):
    """The plan would delete or replace a machine someone may be working on."""

    exit_status = 2


class SetupError(TorchNeuronError):
    """A setup run stopped before its last task."""


class Detached(TorchNeuronError):  # noqa: N818 - not a fault either
    """The person stopped watching (Ctrl-C); what was watched goes on. 130 is a shell's word for that."""

    exit_status = 130


class Declined(TorchNeuronError):  # noqa: N818 - the person's decision, not a fault
    """The person said no to a question; nothing was changed. That is what they asked for: status 0."""

    exit_status = 0
