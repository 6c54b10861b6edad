"""The errors of this tool: what happened, why, and what to do.

`commands.command` turns each of them into a message and an exit status. A traceback always means a bug.
"""

from __future__ import annotations


class TorchNeuronError(Exception):
    """A failure that the user can act on.

    `what` is one sentence on what happened, `why` the reason if it is known, `do` the next step. `exit_status` is the
    exit status of the process: 1 for work that failed, 2 for anything refused before a change was made.
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
    """An invalid option, setting, file or id. Nothing was changed."""

    exit_status = 2


class AwsError(TorchNeuronError):
    """An AWS call failed. `code` is AWS's error code, empty if there is none."""

    def __init__(self, what: str, *, code: str = "", why: str = "", do: str = "") -> None:
        super().__init__(what, why=why, do=do)
        self.code = code


class AccessError(AwsError):
    """Missing or expired credentials, or a missing permission. Nothing was changed."""

    exit_status = 2


class ClockError(AccessError):
    """This machine's clock is so far off that AWS refuses its requests."""


class UnreachableError(AwsError):
    """AWS did not respond. The request may have taken effect."""


class NotFoundError(TorchNeuronError):
    """A resource that the command needs does not exist, such as an offering, a saved block or a deployment."""

    exit_status = 2


class NotReadyError(TorchNeuronError):
    """`invoke doctor` found a missing prerequisite on this machine or in the account."""


class PurchaseError(TorchNeuronError):
    """A purchase was refused, or failed after AWS accepted it."""


class PurchaseUnknownError(PurchaseError):
    """The outcome of a purchase is unknown: money may have been spent."""

    exit_status = 3


class TerraformError(TorchNeuronError):
    """Terraform, or the synthesis before it, failed."""


class ReplacementRefusedError(TorchNeuronError):
    """The plan would delete or replace a machine that may be in use."""

    exit_status = 2


class SetupError(TorchNeuronError):
    """A setup run stopped before its last task."""


class Detached(TorchNeuronError):  # noqa: N818 - not an error
    """The user pressed Ctrl-C; the work on the host continues. Shells use status 130 for Ctrl-C."""

    exit_status = 130


class Declined(TorchNeuronError):  # noqa: N818 - not an error
    """The user answered no to a question. Nothing was changed, and the exit status is 0."""

    exit_status = 0
