"""Parameters of the query protocols: requests that botocore serializes are read back, for every operation."""

from datetime import datetime, timezone

import pytest
from botocore.serialize import create_serializer

from rehearsal.conformance.models import service_model
from rehearsal.conformance.query import read


def sample(shape, depth=0):
    """A value for a shape with all its members, down to a depth that ends recursive shapes."""
    kinds = {
        "structure": lambda: {name: sample(member, depth + 1) for name, member in shape.members.items()},
        "list": lambda: [sample(shape.member, depth + 1)] * 2,
        "map": lambda: {sample(shape.key, depth + 1): sample(shape.value, depth + 1)},
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


def without_none(value):
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value if item is not None] if isinstance(value, list) else value


@pytest.mark.parametrize(("service", "minimum"), [("ec2", 800), ("iam", 150), ("sts", 10)])
def test_request_of_every_operation_is_read_back(service, minimum):
    model = service_model(service)
    serializer = create_serializer(model.metadata["protocol"], False)
    seen = 0
    for name in model.operation_names:
        operation = model.operation_model(name)
        if operation.input_shape is None:
            continue
        expected = without_none(sample(operation.input_shape))
        sent = serializer.serialize_to_request(expected, operation)["body"]
        reading = read(operation.input_shape, sent, is_ec2=service == "ec2")
        assert (name, reading.unknown, reading.malformed) == (name, [], [])
        assert reading.values.keys() == expected.keys()
        seen += 1
    assert seen >= minimum


def test_values_are_read_with_their_types():
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
