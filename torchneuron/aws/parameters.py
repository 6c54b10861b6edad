"""Several values in Parameter Store that only mean something together: all of them are written, or none is.

SSM writes one parameter at a time. So what was there is read first, and a failure on the way puts it back; where that
fails too, the error says what each parameter holds now, and which commands mend it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torchneuron.aws.errors import calling
from torchneuron.core import display
from torchneuron.core import tags as project_tags
from torchneuron.core.errors import AccessError, AwsError, TorchNeuronError, UnreachableError
from torchneuron.core.text import command, quoted

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

_PUT_BACK = "What had been written before that was put back as it was."


def read(ssm: SSMClient, names: Collection[str], doing: str) -> dict[str, str]:
    """The values of those of `names` that exist: one call for up to ten. `doing` completes "Could not …"."""
    with calling(doing):
        answer = ssm.get_parameters(Names=list(names))
    return {parameter["Name"]: parameter["Value"] for parameter in answer["Parameters"]}


def write(ssm: SSMClient, name: str, value: str, tags: Mapping[str, str], *, exists: bool) -> None:
    """Put one parameter. Tags can only be given to one while it is made, so one that `exists` keeps its own."""
    if not exists:
        try:
            with calling(f"write {name}"):
                ssm.put_parameter(Name=name, Value=value, Type="String", Tags=project_tags.to_aws(tags))
                return
        except AwsError as error:
            # Made meanwhile: by this very call, repeated by botocore after a lost answer, or by a teammate.
            if error.code != "ParameterAlreadyExists":
                raise
    with calling(f"write {name}"):
        ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)


def write_all(
    ssm: SSMClient, region: str, wanted: Mapping[str, str], before: Mapping[str, str], tags: Mapping[str, str]
) -> None:
    """Put all of `wanted`, in its order, where `before` is what `read` found of them; on failure put that back.

    Raises AwsError, saying whether everything is as it was; Ctrl-C ends it the same way.
    """
    undo = _Undo(ssm, region, wanted, before)
    for name, value in wanted.items():
        if before.get(name) == value:
            continue
        undo.started(name)
        try:
            write(ssm, name, value, tags, exists=name in before)
        except AwsError as error:
            if not isinstance(error, UnreachableError):  # refused: it certainly wrote nothing
                undo.refused(name)
            raise undo.after(error) from error
        except BaseException:  # Ctrl-C, too: half a block must not stay
            undo.after_interruption()
            raise


@dataclass(frozen=True)
class _Stuck:
    """A parameter that is not as it was before: it holds `value` (None: does not exist), as sure as `verb` says."""

    name: str
    verb: str
    value: str | None
    error: AwsError


@dataclass
class _Undo:
    """What has to be put back when one of several writes fails."""

    ssm: SSMClient
    region: str
    wanted: Mapping[str, str]
    before: Mapping[str, str]
    touched: list[str] = field(default_factory=list)

    def started(self, name: str) -> None:
        self.touched.append(name)

    def refused(self, name: str) -> None:
        self.touched.remove(name)

    def after(self, error: AwsError) -> AwsError:
        """Put everything back; `error`, with what became of that."""
        if not self.touched:
            return _told(error, f"Nothing was saved. {error.what}")
        if stuck := self._put_back():
            return self._half_saved(stuck, error.what, error)
        return _told(error, f"Nothing was saved. {error.what} {_PUT_BACK}")

    def after_interruption(self) -> None:
        """Put everything back. Raises AwsError when that fails."""
        if stuck := self._put_back():
            raise self._half_saved(stuck, "It was interrupted.", stuck[0].error)
        display.note(f"Nothing was saved. {_PUT_BACK}")

    def _put_back(self) -> list[_Stuck]:
        """Try all of them, last written first; those that would not go back, as far as that can be known."""
        errors: dict[str, AwsError] = {}
        for name in reversed(self.touched):
            try:
                _restore(self.ssm, name, self.before.get(name))
            except AwsError as error:
                errors[name] = error
            except KeyboardInterrupt:  # the second one: what is left by half must be told all the more
                errors[name] = AwsError("It was interrupted.")
        if not errors:
            return []
        try:
            found = read(self.ssm, list(errors), "see what is saved")
        except TorchNeuronError:
            return [_Stuck(name, "may hold", self.wanted[name], error) for name, error in errors.items()]
        return [
            _Stuck(name, "holds", found.get(name), error)
            for name, error in errors.items()
            if found.get(name) != self.before.get(name)
        ]

    def _half_saved(self, stuck: Sequence[_Stuck], what: str, error: AwsError) -> AwsError:
        held = [
            f"  {one.name} {one.verb} {_quoted(one.value)}, where {_quoted(self.before.get(one.name))} was"
            for one in stuck
        ]
        mending = "\n".join(f"  {self._command(one.name)}" for one in stuck)
        return AwsError(
            f"The block is saved by half: {what} What was there before could not be put back.",
            code=error.code,
            why="\n".join([*filter(None, (error.why, f"Putting back: {stuck[0].error.what}")), *held]),
            do=f"Save it again, which writes everything, or put back what was there:\n{mending}",
        )

    def _command(self, name: str) -> str:
        value = self.before.get(name)
        if value is None:
            return f"aws ssm delete-parameter --region {self.region} --name {quoted(name)}"
        put = command("aws ssm put-parameter", "--region", self.region, "--name", name)
        return command(f"{put} --type String --overwrite", "--value", value)


def _restore(ssm: SSMClient, name: str, value: str | None) -> None:
    try:
        with calling(f"put {name} back"):
            if value is None:
                ssm.delete_parameter(Name=name)
            else:
                ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
    except AwsError as error:
        # Never written: the request that was lost did not take effect.
        if error.code != "ParameterNotFound":
            raise


def _quoted(value: str | None) -> str:
    return "nothing" if value is None else repr(value)


def _told(error: AwsError, what: str) -> AwsError:
    """The same error in other words: a missing permission stays one, with its exit status."""
    kinds = {AccessError: AccessError, UnreachableError: UnreachableError}
    return kinds.get(type(error), AwsError)(what, code=error.code, why=error.why, do=error.do)
