"""Parameters of the query protocols: what botocore writes is read again, whatever the operation."""

from datetime import datetime, timezone

import pytest
from botocore.serialize import create_serializer

from rehearsal.conformance.models import service_model
from rehearsal.conformance.query import read


def made_up(shape, depth=0):
    """A value for a shape with all that can be in it, to a depth where shapes that hold themselves end."""
    kinds = {
        "structure": lambda: {name: made_up(member, depth + 1) for name, member in shape.members.items()},
        "list": lambda: [made_up(shape.member, depth + 1)] * 2,
        "map": lambda: {made_up(shape.key, depth + 1): made_up(shape.value, depth + 1)},
        "timestamp": lambda: datetime(2026, 1, 31, 11, 30, tzinfo=timezone.utc),
        "boolean": lambda: True,
        "integer": lambda: 5,
        "long": lambda: 5,
        "float": lambda: 1.5,
        "double": lambda: 1.5,
        "blob": lambda: b"binary",
        "string": lambda: "text",
    }
    return kinds[shape.type_name]() if depth < 7 or shape.type_name not in ("structure", "list") else None


def without_ends(value):
    if isinstance(value, dict):
        return {key: without_ends(one) for key, one in value.items() if one is not None}
    return [without_ends(one) for one in value if one is not None] if isinstance(value, list) else value


@pytest.mark.parametrize(("service", "least"), [("ec2", 800), ("iam", 150), ("sts", 10)])
def test_every_operation_s_request_is_read_as_it_was_meant(service, least):
    model = service_model(service)
    serializer = create_serializer(model.metadata["protocol"], False)
    seen = 0
    for name in model.operation_names:
        operation = model.operation_model(name)
        if operation.input_shape is None:
            continue
        meant = without_ends(made_up(operation.input_shape))
        sent = serializer.serialize_to_request(meant, operation)["body"]
        reading = read(operation.input_shape, sent, is_ec2=service == "ec2")
        assert (name, reading.unknown, reading.malformed) == (name, [], [])
        assert reading.values.keys() == meant.keys()
        seen += 1
    assert seen >= least


def test_values_are_those_that_were_sent():
    shape = service_model("ec2").operation_model("RunInstances").input_shape
    sent = {
        "Action": "RunInstances",
        "MinCount": "1",
        "BlockDeviceMapping.1.Ebs.VolumeSize": "500",
        "BlockDeviceMapping.1.Ebs.DeleteOnTermination": "False",
        "SecurityGroupId.10": "sg-b",
        "SecurityGroupId.9": "sg-a",
        "X-Amz-Signature": "signed",
    }
    assert read(shape, sent, is_ec2=True).values == {
        "MinCount": 1,
        "BlockDeviceMappings": [{"Ebs": {"VolumeSize": 500, "DeleteOnTermination": False}}],
        "SecurityGroupIds": ["sg-a", "sg-b"],
    }
