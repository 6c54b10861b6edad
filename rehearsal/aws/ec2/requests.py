"""Requests to EC2 as EC2 checks them before it looks at anything else, in its own codes and words.

Sources
-------
- UnknownParameter, with this text, naming the member that is not known, letters big or small as the API has them:
  aws-sdk-cpp 327, knife-ec2 444 (a member of a structure), aws-sdk-js 57 (of a list), soto 291.
- MissingParameter, InvalidParameterValue: EC2 API reference, "Error codes"; "The request must contain the parameter":
  the same.
- What a number below the least is told: aws-sdk-ruby 2575. The text for other values that a parameter can't have has
  the same beginning in all that was seen (devops-basics 1); that it is this one for a number, a truth value, an instant
  or a word that isn't one is assumed.
- Which members there are, are required, and within which limits: botocore's model. What the model limits on top of
  EC2's documentation can't be told apart. Instance types are not held to the model's list: AWS has new ones every
  month, and its own code for those that do not exist, which the operations give.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import ListShape, Shape, StructureShape

from rehearsal.conformance.models import operation_model
from rehearsal.conformance.query import parameter_name, read
from rehearsal.errors import AwsError

_NOT_ENUMERATED = ("InstanceType",)


def check(operation: str, parameters: Mapping[str, str]) -> None:
    """AwsError when EC2 would not take it as a request for the operation."""
    model = operation_model("ec2", operation)
    if model is None:
        return
    reading = read(model.input_shape, parameters, is_ec2=True)
    for name in reading.unknown:
        raise AwsError("UnknownParameter", f"The parameter {name} is not recognized")
    for one in reading.malformed:
        raise _invalid(one.name, one.text)
    if model.input_shape is not None:
        for name in _missing(model.input_shape, reading.values):
            raise AwsError("MissingParameter", f"The request must contain the parameter {name}")
        for error in _out_of_bounds(model.input_shape, reading.values, ""):
            raise error


def dry_run_refused(operation: str, parameters: Mapping[str, str]) -> AwsError | None:
    """What a request that is for trying only gets when all is well, None for one that is not."""
    model = operation_model("ec2", operation)
    if model is None or model.input_shape is None or "DryRun" not in model.input_shape.members:
        return None
    return dry_run() if parameters.get("DryRun", "").lower() == "true" else None


def dry_run() -> AwsError:
    """Source: EC2 API reference, "Common query parameters", DryRun; the status: moto, as seen on AWS."""
    return AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)


def _invalid(name: str, value: Any, why: str = "") -> AwsError:
    told = f"Value ( {value} ) for parameter {name[0].lower()}{name[1:]} is invalid."
    return AwsError("InvalidParameterValue", f"{told} {why}".rstrip())


def _missing(shape: Shape, value: Any) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            if value.get(name) is None:
                yield parameter_name(name, shape.members[name])
        for name, one in value.items():
            yield from _missing(shape.members[name], one)
    elif isinstance(shape, ListShape):
        for one in value:
            yield from _missing(shape.member, one)


def _out_of_bounds(shape: Shape, value: Any, name: str) -> Iterator[AwsError]:
    if value is None or value == "":
        return
    if isinstance(shape, StructureShape):
        for member, one in value.items():
            yield from _out_of_bounds(shape.members[member], one, member)
    elif isinstance(shape, ListShape):
        for one in value:
            yield from _out_of_bounds(shape.member, one, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        least, most = shape.metadata.get("min"), shape.metadata.get("max")
        if least is not None and value < least:
            yield _invalid(name, value, f"Expecting a value greater than {least}.")
        if most is not None and value > most:
            yield _invalid(name, value, f"Expecting a value less than {most}.")
    elif isinstance(value, str):
        allowed = shape.metadata.get("enum")
        if allowed and value not in allowed and shape.name not in _NOT_ENUMERATED:
            yield _invalid(name, value)
        if len(value) > shape.metadata.get("max", len(value)) or len(value) < shape.metadata.get("min", 0):
            yield _invalid(name, value)
