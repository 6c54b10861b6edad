"""Values in Parameter Store: read several at once, write one at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from torchneuron.aws.errors import calling
from torchneuron.core import tags as project_tags
from torchneuron.core.errors import AwsError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


def read(ssm: SSMClient, names: Collection[str], doing: str) -> dict[str, str]:
    """The values of those of `names` that exist, in one call for up to ten. `doing` completes "Could not …"."""
    with calling(doing):
        response = ssm.get_parameters(Names=list(names))
    return {parameter["Name"]: parameter["Value"] for parameter in response["Parameters"]}


def write(ssm: SSMClient, name: str, value: str, tags: Mapping[str, str], *, exists: bool) -> None:
    """Write one parameter. SSM takes tags only on creation, so a parameter that `exists` keeps its own."""
    if not exists:
        try:
            with calling(f"write {name}"):
                ssm.put_parameter(Name=name, Value=value, Type="String", Tags=project_tags.to_aws(tags))
                return
        except AwsError as error:
            # Created in the meantime: by this call, retried by botocore after a lost response, or by a colleague.
            if error.code != "ParameterAlreadyExists":
                raise
    with calling(f"write {name}"):
        ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
