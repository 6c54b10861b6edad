"""Validation of EC2 requests against botocore's model, before the operation runs, with EC2's codes and texts.

Sources
-------
- UnknownParameter with this text, naming the unknown member in the API's spelling: aws-sdk-cpp 327, knife-ec2 444 (a
  member of a structure), aws-sdk-js 57 (of a list), soto 291.
- MissingParameter, InvalidParameterValue, "The request must contain the parameter": EC2 API reference, "Error codes".
- The text for a number below the minimum: aws-sdk-ruby 2575. Texts seen for other invalid values begin alike
  (devops-basics 1); that this holds for malformed numbers, booleans, timestamps and enum values is assumed.
- Known and required members and their limits: botocore's model. Limits that only the model has can't be distinguished
  from documented ones. The model's list of instance types is ignored: AWS adds types every month, and the operations
  have their own error for unknown ones.
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
    """AwsError when the parameters are not a valid request for the operation."""
    model = operation_model("ec2", operation)
    if model is None:
        return
    reading = read(model.input_shape, parameters, is_ec2=True)
    for name in reading.unknown:
        raise AwsError("UnknownParameter", f"The parameter {name} is not recognized")
    for parameter in reading.malformed:
        raise _invalid(parameter.name, parameter.text)
    if model.input_shape is not None:
        for name in _missing(model.input_shape, reading.values):
            raise AwsError("MissingParameter", f"The request must contain the parameter {name}")
        for error in _constraint_errors(model.input_shape, reading.values, ""):
            raise error


def check_dry_run(operation: str, parameters: Mapping[str, str]) -> None:
    """AwsError when the request is a dry run of an operation that supports dry runs."""
    model = operation_model("ec2", operation)
    if model is None or model.input_shape is None or "DryRun" not in model.input_shape.members:
        return
    if parameters.get("DryRun", "").lower() == "true":
        raise dry_run_error()


def dry_run_error() -> AwsError:
    """Source: EC2 API reference, "Common query parameters", DryRun; the status: moto, as seen on AWS."""
    return AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)


def _invalid(name: str, value: Any, why: str = "") -> AwsError:
    message = f"Value ( {value} ) for parameter {name[0].lower()}{name[1:]} is invalid. {why}"
    return AwsError("InvalidParameterValue", message.rstrip())


def _missing(shape: Shape, value: Any) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            if value.get(name) is None:
                yield parameter_name(name, shape.members[name])
        for name, member in value.items():
            yield from _missing(shape.members[name], member)
    elif isinstance(shape, ListShape):
        for item in value:
            yield from _missing(shape.member, item)


def _constraint_errors(shape: Shape, value: Any, name: str) -> Iterator[AwsError]:
    if value is None or value == "":
        return
    if isinstance(shape, StructureShape):
        for member_name, member in value.items():
            yield from _constraint_errors(shape.members[member_name], member, member_name)
    elif isinstance(shape, ListShape):
        for item in value:
            yield from _constraint_errors(shape.member, item, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        minimum, maximum = shape.metadata.get("min"), shape.metadata.get("max")
        if minimum is not None and value < minimum:
            yield _invalid(name, value, f"Expecting a value greater than {minimum}.")
        if maximum is not None and value > maximum:
            yield _invalid(name, value, f"Expecting a value less than {maximum}.")
    elif isinstance(value, str):
        allowed = shape.metadata.get("enum")
        if allowed and value not in allowed and shape.name not in _NOT_ENUMERATED:
            yield _invalid(name, value)
        if len(value) > shape.metadata.get("max", len(value)) or len(value) < shape.metadata.get("min", 0):
            yield _invalid(name, value)
