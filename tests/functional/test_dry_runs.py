"""`--dry-run` of every command that changes AWS resources: it only reads.

Commands that run Terraform are in tests/e2e/test_dry_runs.py.
"""

import re

import pytest

import tasks
from torchneuron.doctor import permissions

REGION = "sa-east-1"
READ_ONLY = re.compile(r"\w+:(Describe|List|Get|Head)")
# These have write actions but change no resources: they read a log with Run Command, or open a session.
WITHOUT_CHANGES = {"setup.logs", "info"}


def test_every_command_that_changes_resources_has_a_dry_run():
    changing = {
        command
        for command, grants in permissions.NEEDED.items()
        # Actions of the Try… grants are only called with EC2's DryRun.
        for grant in grants
        if not grant.name.startswith("Try") and any(not READ_ONLY.match(action) for action in grant.actions)
    }
    without = {
        command
        for command in changing - WITHOUT_CHANGES
        if all(argument.name != "dry_run" for argument in tasks.namespace[command].get_arguments())
    }
    assert without == set()
    assert {"cb.purchase", "cb.extend", "cb.save-params", "cb.cancel", "bootstrap", "deploy", "destroy"} <= changing


@pytest.fixture
def changes(control):
    """The operations that are not read-only among the calls of `command`."""

    def during(command):
        before = control("calls")
        command()
        return {
            operation
            for service, times in control("calls").items()
            for operation, count in times.items()
            if count > before.get(service, {}).get(operation, 0) and not READ_ONLY.match(f"x:{operation}")
        }

    return during


@pytest.mark.attack("makes a newcomer's cb.save-params --dry-run replace the saved block")
def test_dry_run_of_save_params_saves_nothing(invoke, bought, ssm, changes):
    name = f"/capacity-block/{REGION}/reservation-id"
    ssm.put_parameter(Name=name, Value="cr-0123456789abcdef0", Overwrite=True, Type="String")
    done = []
    save = ("cb.save-params", "--reservation-id", bought, "-r", REGION, "--dry-run")
    assert changes(lambda: done.append(invoke(*save))) == set()
    assert f"{name}  " in done[0].out
    assert bought in done[0].out
    assert "It would replace cr-0123456789abcdef0" in done[0].err
    assert "Dry run. Nothing was saved." in done[0].err
    assert ssm.get_parameter(Name=name)["Parameter"]["Value"] == "cr-0123456789abcdef0"


@pytest.mark.attack("makes a newcomer's cb.cancel --dry-run cancel the reservation")
def test_dry_run_of_cancel_cancels_nothing(invoke, ec2):
    made = ec2.create_capacity_reservation(
        InstanceType="inf2.xlarge", InstancePlatform="Linux/UNIX", AvailabilityZone=f"{REGION}c", InstanceCount=1
    )["CapacityReservation"]
    which = ("--reservation-id", made["CapacityReservationId"], "-r", REGION)
    done = invoke("cb.cancel", *which, "--dry-run")
    assert "you may cancel it. Nothing was cancelled (dry run)." in done.out
    (after,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    assert after["State"] == "active"


@pytest.mark.attack("makes a newcomer's bootstrap --dry-run create a bucket and write the settings")
def test_dry_run_of_bootstrap_creates_no_bucket(invoke, config, client, changes):
    before = config.path.read_bytes()
    done = []
    assert changes(lambda: done.append(invoke("bootstrap", "-r", REGION, "--dry-run"))) == set()
    assert "would be created." in done[0].out
    assert "Would be set: public access blocked," in done[0].out
    assert "Dry run. Nothing was changed." in done[0].err
    assert client("s3").list_buckets()["Buckets"] == []
    assert config.path.read_bytes() == before


def test_dry_run_of_bootstrap_shows_missing_settings(invoke, config, client, changes):
    invoke("bootstrap", "-r", REGION)
    (bucket,) = client("s3").list_buckets()["Buckets"]
    client("s3").put_bucket_versioning(Bucket=bucket["Name"], VersioningConfiguration={"Status": "Suspended"})
    done = []
    assert changes(lambda: done.append(invoke("bootstrap", "-r", REGION, "--dry-run"))) == set()
    assert "already exists.\nWould be set: versioned.\n" in done[0].out


@pytest.mark.attack("makes a newcomer's setup --cancel --dry-run cancel the run")
@pytest.mark.parametrize("command", [("setup",), ("run-tasks", "--file", "none.json")])
def test_dry_run_of_setup_cancel_cancels_nothing(invoke, instance, changes, command):
    assert changes(lambda: invoke(*command, "-i", instance, "-r", REGION, "--cancel", "--dry-run")) == set()
