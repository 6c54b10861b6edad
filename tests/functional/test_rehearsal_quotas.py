"""vCPU quotas for on-demand instances: Service Quotas returns them, RunInstances enforces them, deploy checks them."""

import json
import urllib.error

import pytest
from botocore.exceptions import ClientError

from tests.functional.conftest import REGION
from tests.functional.support import AMI_PARAMETER, refusal
from torchneuron.aws import quotas
from torchneuron.capacity_blocks import launch_check
from torchneuron.capacity_blocks.launch_check import Launch
from torchneuron.core.errors import InputError

TRN, INF = "L-2C3B7624", "L-1945791B"


@pytest.fixture
def limit(rehearsal_endpoint, control):
    """Sets the quotas: `limit(trn=0)`."""
    return lambda **vcpus: control("market", {"on_demand_quotas": vcpus})


@pytest.fixture
def launch(ec2, ssm):
    """Launches on-demand instances, here one or two: `launch("trn2.3xlarge", 1, 2)`; returns their ids."""
    image = ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]

    def launch(instance_type, minimum=1, maximum=None, **more):
        request = {"InstanceType": instance_type, "MinCount": minimum, "MaxCount": maximum or minimum, **more}
        return [instance["InstanceId"] for instance in ec2.run_instances(ImageId=image, **request)["Instances"]]

    return launch


@pytest.mark.parametrize(
    ("code", "name"), [(TRN, "Running On-Demand Trn instances"), (INF, "Running On-Demand Inf instances")]
)
def test_a_quota_has_the_shape_of_service_quotas(client, code, name):
    quota = client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
    assert quota == {
        "ServiceCode": "ec2",
        "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
        "QuotaArn": f"arn:aws:servicequotas:{REGION}:123456789012:ec2/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": 1536.0,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
        "QuotaAppliedAtLevel": "ACCOUNT",
    }


@pytest.mark.parametrize(("service", "code"), [("ec2", "L-00000000"), ("EC2", TRN), ("vpc", TRN)])
def test_an_unknown_quota(client, service, code):
    quota = client("service-quotas").get_service_quota
    assert refusal(quota, ServiceCode=service, QuotaCode=code) == "NoSuchResourceException"


def test_quotas_of_moto_are_still_served(client):
    quotas, request = client("service-quotas"), {"ServiceCode": "vpc", "QuotaCode": "L-7E9ECCDB"}
    assert quotas.get_service_quota(**request)["Quota"]["Value"] == 50.0
    assert quotas.get_aws_default_service_quota(**request)["Quota"]["Value"] == 50.0


def test_the_default_quota_does_not_depend_on_the_granted_one(client, limit):
    limit(trn=0)
    quotas, request = client("service-quotas"), {"ServiceCode": "ec2", "QuotaCode": TRN}
    granted = quotas.get_service_quota(**request)["Quota"]
    assert quotas.get_aws_default_service_quota(**request)["Quota"] == {**granted, "Value": 1536.0}
    unknown = {**request, "QuotaCode": "L-00000000"}
    assert refusal(quotas.get_aws_default_service_quota, **unknown) == "NoSuchResourceException"


def test_get_service_quota_can_fail_and_is_counted(client, control, fail):
    fail("GetServiceQuota", "error", code="AccessDeniedException", message="No.")
    assert refusal(client("service-quotas").get_service_quota, ServiceCode="ec2", QuotaCode=TRN) == (
        "AccessDeniedException"
    )
    assert control("calls") == {"servicequotas": {"GetServiceQuota": 1}}


def test_a_quota_is_set_by_family(client, control, limit):
    assert limit(trn=0)["on_demand_quotas"] == {"trn": 0, "inf": 1536.0}
    values = [
        client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]
        for code in (TRN, INF)
    ]
    assert values == [0.0, 1536.0]
    for wrong in ({"p": 1}, {"trn": -1}, 3):
        with pytest.raises(urllib.error.HTTPError) as refused:
            control("market", {"on_demand_quotas": wrong})
        assert "on_demand_quotas" in json.load(refused.value)["error"]


def test_running_on_demand_instances_count_toward_the_quota(ec2, launch, limit):
    limit(trn=24)
    first, _ = launch("trn2.3xlarge", 2)
    with pytest.raises(ClientError) as refused:
        launch("trn2.3xlarge")
    assert refused.value.response["Error"] == {
        "Code": "VcpuLimitExceeded",
        "Message": "You have requested more vCPU capacity than your current vCPU limit of 24 allows for the instance"
        " bucket that the specified instance type belongs to. Please visit"
        " http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
    }
    ec2.terminate_instances(InstanceIds=[first])
    assert len(launch("trn2.3xlarge", 1, 5)) == 1


def test_other_families_have_no_quota(launch, limit):
    limit(trn=0)
    launch("inf2.xlarge")
    launch("t3.micro")


def test_instances_on_a_capacity_block_do_not_count_toward_the_quota(launch, limit, active_block):
    limit(trn=12)
    target = {"CapacityReservationId": active_block["CapacityReservationId"]}
    launch(
        "trn2.3xlarge",
        InstanceMarketOptions={"MarketType": "capacity-block"},
        CapacityReservationSpecification={"CapacityReservationTarget": target},
    )
    launch("trn2.3xlarge")


def test_a_deploy_beyond_the_quota_is_refused_before_the_plan(aws, config, limit):
    launch = Launch("trn2.3xlarge", 2)
    launch_check.refuse(aws, config, launch)
    limit(trn=12)
    launch_check.refuse(aws, config, Launch("trn2.3xlarge"))
    with pytest.raises(InputError, match=r"2 x trn2\.3xlarge need 24 vCPUs; the quota on demand is 12"):
        launch_check.refuse(aws, config, launch)
    limit(trn=0)
    with pytest.raises(InputError, match=f"--quota-code {TRN} --desired-value 12"):
        quotas.check(aws, "trn2.3xlarge", 1)


def test_a_quota_that_cannot_be_read_does_not_stop_a_deploy(aws, limit, fail):
    limit(trn=0)
    fail("GetServiceQuota", "error", code="AccessDeniedException", message="No.")
    quotas.check(aws, "trn2.3xlarge", 1)
