"""What the rehearsal says was asked of it."""

from tests.functional.support import refusal

REGION = "sa-east-1"


def test_every_protocol_s_operations_are_counted(client, control):
    ec2, ssm, s3 = client("ec2"), client("ssm"), client("s3")
    ec2.describe_regions()
    ec2.describe_regions()
    ssm.get_parameters(Names=["/nothing"])
    s3.create_bucket(Bucket="some-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="some-bucket", Key="folder/key", Body=b"Action=none")
    s3.head_object(Bucket="some-bucket", Key="folder/key")
    s3.list_objects_v2(Bucket="some-bucket")
    s3.get_bucket_versioning(Bucket="some-bucket")
    client("sts").get_caller_identity()
    assert control("calls") == {
        "ec2": {"DescribeRegions": 2},
        "s3": {
            "CreateBucket": 1,
            "GetBucketVersioning": 1,
            "HeadObject": 1,
            "ListObjectsV2": 1,
            "PutObject": 1,
        },
        "ssm": {"GetParameters": 1},
        "sts": {"GetCallerIdentity": 1},
    }


def test_what_is_refused_counts_and_a_reset_forgets(client, control):
    assert refusal(client("ec2").describe_subnets, SubnetIds=["subnet-0"]) == "InvalidSubnetID.NotFound"
    assert control("calls") == {"ec2": {"DescribeSubnets": 1}}
    control("reset", {})
    assert control("calls") == {}
