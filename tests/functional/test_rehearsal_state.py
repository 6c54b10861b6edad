"""An AWS that is kept in a folder outlives its process, however the process ends."""

import json
import os
import pickle
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from rehearsal.hosts.volumes import Volumes
from rehearsal.state_folder import StateError, StateFolder, may_change
from tests.functional.staying import PROJECT, REGION, command
from tests.functional.support import refusal


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_state_of_every_service_is_restored(serve, number):
    first = serve()
    first.ssm.put_parameter(Name="/kept", Value="1", Type="String", Tags=[{"Key": "a", "Value": "b"}])
    content = {"schemaVersion": "2.2", "mainSteps": [{"action": "aws:runShellScript", "name": "step", "inputs": {}}]}
    first.ssm.create_document(Name="Kept", DocumentType="Command", Content=json.dumps(content))
    first.secretsmanager.create_secret(Name="kept", SecretString="hush")
    first.s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": REGION})
    first.s3.put_object(Bucket="kept", Key="terraform.tfstate", Body=b"x" * 100_000)
    keys = [first.kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY") for spec in ("RSA_2048", "ECC_NIST_P256")]
    key_ids = [key["KeyMetadata"]["KeyId"] for key in keys]
    public = [first.kms.get_public_key(KeyId=key_id)["PublicKey"] for key_id in key_ids]
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
    assert [second.kms.get_public_key(KeyId=key_id)["PublicKey"] for key_id in key_ids] == public
    assert second.iam.get_role(RoleName="kept")
    assert second.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    second.ssm.put_parameter(Name="/another", Value="1", Type="String", Tags=[{"Key": "a", "Value": "b"}])


def test_blocks_quotes_and_the_clock_are_restored(serve):
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
    earlier = command(third.folder, "--clock", "2020-01-01T00:00:00Z")
    done = subprocess.run(earlier, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "and can't go back" in done.stderr


def test_change_is_kept_when_its_response_is_lost(serve):
    first = serve()
    first.control("faults", {"faults": [{"operation": "PutParameter", "kind": "lost-after"}]})
    with pytest.raises(Exception, match="Connection"):
        first.ssm.put_parameter(Name="/lost", Value="1", Type="String")
    first.end()
    assert serve().ssm.get_parameter(Name="/lost")


def test_concurrent_changes_are_all_kept(serve):
    first = serve()
    names = [f"/many/{number:02}" for number in range(40)]
    first.ssm.describe_parameters()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: first.ssm.put_parameter(Name=name, Value="1", Type="String"), names))
    first.end()
    pages = serve().ssm.get_paginator("get_parameters_by_path").paginate(Path="/many")
    assert sorted(parameter["Name"] for page in pages for parameter in page["Parameters"]) == names


def test_instance_without_a_host_keeps_running(serve):
    first = serve()
    instance = first.launch()
    first.end()
    second = serve()
    assert second.state_of(instance["InstanceId"]) == "running"
    assert second.launch()["InstanceId"] == instance["InstanceId"], "the client token is known"


def test_reset_empties_the_folder(serve):
    first = serve()
    first.ssm.put_parameter(Name="/kept", Value="1", Type="String")
    first.control("reset", {})
    first.end()
    assert refusal(serve().ssm.get_parameter, Name="/kept") == "ParameterNotFound"


class TestFolder:
    def test_folder_is_locked(self, tmp_path):
        keeper = StateFolder(tmp_path / "aws")
        with pytest.raises(StateError, match="another rehearsal"):
            StateFolder(tmp_path / "aws")
        keeper.close()
        StateFolder(tmp_path / "aws").close()

    def test_state_of_another_format_is_refused(self, tmp_path):
        keeper = StateFolder(tmp_path)
        assert keeper.load() is None
        (tmp_path / "aws.pickle").write_bytes(pickle.dumps("format 0"))
        with pytest.raises(StateError, match="format 0"):
            keeper.load()
        (tmp_path / "aws.pickle").write_bytes(b"rubbish")
        with pytest.raises(StateError, match="can't be read"):
            keeper.load()

    def test_state_of_another_user_is_refused(self, tmp_path, monkeypatch):
        keeper = StateFolder(tmp_path)
        keeper.save(lambda: {"a": 1})
        assert keeper.load() == {"a": 1}
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(StateError, match="another user"):
            keeper.load()

    def test_save_is_repeated_when_the_state_changes_meanwhile(self, tmp_path):
        keeper, tries = StateFolder(tmp_path), iter([RuntimeError("dictionary changed size during iteration"), None])

        def content():
            if error := next(tries):
                raise error
            return {"a": 1}

        keeper.save(content)
        assert keeper.load() == {"a": 1}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["aws.pickle", "host-suite", "lock"]

    def test_failed_save_keeps_the_previous_state(self, tmp_path):
        keeper = StateFolder(tmp_path)
        keeper.save(lambda: {"a": 1})
        with pytest.raises(StateError, match="can't be kept"):
            keeper.save(lambda: {"a": lambda: 2})
        assert keeper.load() == {"a": 1}

    def test_volumes_keep_their_data_until_they_are_deleted(self, tmp_path):
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


def test_state_is_saved_after_changes_and_quotes_only():
    assert may_change("RunInstances")
    assert may_change("PutObject")
    assert may_change("")
    assert may_change("DescribeCapacityBlockOfferings")
    assert not may_change("DescribeInstances")
    assert not may_change("GetParameter")
