"""An AWS that is kept in a folder outlives its process, however that ends."""

import json
import os
import pickle
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config

from rehearsal.hosts.volumes import Volumes
from rehearsal.keeping import Keeper, KeepingError, may_change
from tests.functional.conftest import PROJECT, REGION
from tests.functional.support import AMI_PARAMETER, eventually, refusal


@dataclass
class Served:
    process: subprocess.Popen[bytes]
    endpoint: str
    clients: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, service):
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        return self.clients.setdefault(
            service, boto3.client(service, REGION, endpoint_url=self.endpoint, config=config, **keys)
        )

    def control(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.endpoint}/_rehearsal/{path}", data) as answer:
            return json.load(answer)

    def end(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(20)


@pytest.fixture
def serve(tmp_path):
    """Starts a rehearsal that keeps its AWS in one folder; only one at a time."""
    started = []

    def go(*arguments, host_suite="none"):
        ready = tmp_path / "ready.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "rehearsal", "--host-suite", host_suite, "--state", str(tmp_path / "aws")]
        process = subprocess.Popen([*command, "--ready-file", str(ready), *arguments], cwd=PROJECT)
        started.append(process)
        eventually(ready.exists, 30)
        return Served(process, json.loads(ready.read_text())["endpoint"])

    yield go
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_answered_is_there_again(serve, number):
    first = serve()
    first.ssm.put_parameter(Name="/kept", Value="1", Type="String", Tags=[{"Key": "a", "Value": "b"}])
    content = {"schemaVersion": "2.2", "mainSteps": [{"action": "aws:runShellScript", "name": "step", "inputs": {}}]}
    first.ssm.create_document(Name="Kept", DocumentType="Command", Content=json.dumps(content))
    first.secretsmanager.create_secret(Name="kept", SecretString="hush")
    first.s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": REGION})
    first.s3.put_object(Bucket="kept", Key="terraform.tfstate", Body=b"x" * 100_000)
    keys = [first.kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY") for spec in ("RSA_2048", "ECC_NIST_P256")]
    key_ids = [one["KeyMetadata"]["KeyId"] for one in keys]
    public = [first.kms.get_public_key(KeyId=one)["PublicKey"] for one in key_ids]
    first.iam.create_role(RoleName="kept", AssumeRolePolicyDocument="{}")
    group = first.ec2.create_security_group(GroupName="kept", Description="kept")["GroupId"]
    first.end(number)
    second = serve()
    assert second.ssm.get_parameter(Name="/kept")["Parameter"]["Value"] == "1"
    assert second.ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/kept")["TagList"]
    assert json.loads(second.ssm.get_document(Name="Kept")["Content"]) == content
    assert second.secretsmanager.get_secret_value(SecretId="kept")["SecretString"] == "hush"
    assert second.s3.get_object(Bucket="kept", Key="terraform.tfstate")["Body"].read() == b"x" * 100_000
    assert refusal(second.s3.put_object, Bucket="kept", Key="terraform.tfstate", IfNoneMatch="*") == (
        "PreconditionFailed"
    )
    assert [second.kms.get_public_key(KeyId=one)["PublicKey"] for one in key_ids] == public
    assert second.iam.get_role(RoleName="kept")
    assert second.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    second.ssm.put_parameter(Name="/another", Value="1", Type="String", Tags=[{"Key": "a", "Value": "b"}])


def test_blocks_and_what_was_quoted_and_the_clock(serve):
    first = serve()
    ask = {"InstanceType": "trn2.3xlarge", "InstanceCount": 1, "CapacityDurationHours": 24}
    offer = first.ec2.describe_capacity_block_offerings(**ask)["CapacityBlockOfferings"][0]
    first.control("market", {"payment_seconds": 0, "health": {"cr-1": "impaired"}})
    first.end()
    second = serve()
    buy = {"CapacityBlockOfferingId": offer["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
    bought = second.ec2.purchase_capacity_block(**buy)["CapacityReservation"]
    second.control("clock", {"to": (bought["StartDate"] + timedelta(hours=1)).isoformat()})
    second.end()
    third = serve()
    assert third.control("market")["health"] == {"cr-1": "impaired"}
    (found,) = third.ec2.describe_capacity_reservations()["CapacityReservations"]
    assert (found["CapacityReservationId"], found["State"]) == (bought["CapacityReservationId"], "active")
    offer = third.ec2.describe_capacity_block_offerings(**ask)["CapacityBlockOfferings"][0]
    another = third.ec2.purchase_capacity_block(**{**buy, "CapacityBlockOfferingId": offer["CapacityBlockOfferingId"]})
    assert another["CapacityReservation"]["CapacityReservationId"] != bought["CapacityReservationId"]
    third.end()
    earlier = [sys.executable, "-m", "rehearsal", "--host-suite", "none", "--clock", "2020-01-01T00:00:00Z"]
    folder = third.process.args[third.process.args.index("--state") + 1]
    done = subprocess.run([*earlier, "--state", folder], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "time does not go back" in done.stderr


def test_an_answer_that_got_lost_counts_as_well(serve):
    first = serve()
    first.control("faults", {"faults": [{"operation": "PutParameter", "kind": "lost-after"}]})
    with pytest.raises(Exception, match="Connection"):
        first.ssm.put_parameter(Name="/lost", Value="1", Type="String")
    first.end()
    assert serve().ssm.get_parameter(Name="/lost")


def test_many_at_the_same_time_are_all_there(serve):
    first = serve()
    names = [f"/many/{number:02}" for number in range(40)]
    first.ssm.describe_parameters()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: first.ssm.put_parameter(Name=name, Value="1", Type="String"), names))
    first.end()
    pages = serve().ssm.get_paginator("get_parameters_by_path").paginate(Path="/many")
    assert sorted(one["Name"] for page in pages for one in page["Parameters"]) == names


def launch(aws, **more):
    image = aws.ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]
    ask = {"ImageId": image, "InstanceType": "inf2.xlarge", "MinCount": 1, "MaxCount": 1, "ClientToken": "token"}
    return aws.ec2.run_instances(**ask, **more)["Instances"][0]


def state_of(aws, instance_id):
    (found,) = aws.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    return found["State"]["Name"]


def test_an_instance_without_a_host_runs_on(serve):
    first = serve()
    made = launch(first)
    first.end()
    second = serve()
    assert state_of(second, made["InstanceId"]) == "running"
    assert launch(second)["InstanceId"] == made["InstanceId"], "the client token is known"


def test_an_instance_whose_host_is_gone_is_terminated_and_its_data_volume_stays(serve):
    first = serve(host_suite="light")
    data = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": False, "VolumeType": "gp3"}}
    made = launch(first, BlockDeviceMappings=[data])["InstanceId"]
    eventually(lambda: first.control("status")["hosts"][made] == "running (light)", 20)
    first.end()
    second = serve(host_suite="light")
    assert state_of(second, made) == "terminated"
    assert second.control("status")["hosts"] == {}
    volumes = second.ec2.describe_volumes()["Volumes"]
    assert [(one["State"], one["Size"]) for one in volumes] == [("available", 1)]
    kept = second.process.args[second.process.args.index("--state") + 1]
    assert os.listdir(f"{kept}/volumes") == [volumes[0]["VolumeId"]]  # noqa: PTH208
    second.ec2.delete_volume(VolumeId=volumes[0]["VolumeId"])
    assert os.listdir(f"{kept}/volumes") == []  # noqa: PTH208


def test_a_reset_empties_what_is_kept(serve):
    first = serve()
    first.ssm.put_parameter(Name="/kept", Value="1", Type="String")
    first.control("reset", {})
    first.end()
    assert refusal(serve().ssm.get_parameter, Name="/kept") == "ParameterNotFound"


class TestFolder:
    def test_one_rehearsal_at_a_time(self, tmp_path):
        keeper = Keeper(tmp_path / "aws")
        with pytest.raises(KeepingError, match="another rehearsal"):
            Keeper(tmp_path / "aws")
        keeper.close()
        Keeper(tmp_path / "aws").close()

    def test_what_another_moto_wrote_is_refused(self, tmp_path):
        keeper = Keeper(tmp_path)
        assert keeper.load() is None
        (tmp_path / "aws.pickle").write_bytes(pickle.dumps("format 0"))
        with pytest.raises(KeepingError, match="format 0"):
            keeper.load()
        (tmp_path / "aws.pickle").write_bytes(b"rubbish")
        with pytest.raises(KeepingError, match="can't be read"):
            keeper.load()

    def test_another_users_is_refused(self, tmp_path, monkeypatch):
        keeper = Keeper(tmp_path)
        keeper.save(lambda: {"a": 1})
        assert keeper.load() == {"a": 1}
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(KeepingError, match="another user"):
            keeper.load()

    def test_it_is_tried_again_when_things_change_meanwhile(self, tmp_path):
        keeper, tries = Keeper(tmp_path), iter([RuntimeError("dictionary changed size during iteration"), None])

        def content():
            if error := next(tries):
                raise error
            return {"a": 1}

        keeper.save(content)
        assert keeper.load() == {"a": 1}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["aws.pickle", "lock", "volumes"]

    def test_what_cannot_be_kept_is_an_error_and_leaves_what_was(self, tmp_path):
        keeper = Keeper(tmp_path)
        keeper.save(lambda: {"a": 1})
        with pytest.raises(KeepingError, match="can't be kept"):
            keeper.save(lambda: {"a": lambda: 2})
        assert keeper.load() == {"a": 1}

    def test_volumes_keep_their_data_and_go_with_their_files(self, tmp_path):
        volumes = Volumes(tmp_path)
        device = volumes.get("vol-1", 1).plug()
        with open(device.path, "r+b") as disk:  # noqa: PTH123
            disk.write(b"data")
        volumes.get("vol-1", 1).unplug()
        volumes.close()
        again = Volumes(tmp_path)
        device = again.get("vol-1", 1).plug()
        with open(device.path, "rb") as disk:  # noqa: PTH123
            assert disk.read(4) == b"data"
        again.get("vol-1", 1).unplug()
        again.keep([])
        assert list(tmp_path.iterdir()) == []


def test_reading_is_not_kept_but_for_quotes():
    assert may_change("RunInstances")
    assert may_change("PutObject")
    assert may_change("")
    assert may_change("DescribeCapacityBlockOfferings")
    assert not may_change("DescribeInstances")
    assert not may_change("GetParameter")
