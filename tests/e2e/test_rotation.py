"""Another password for a machine that has one: who is logged in then, and what is told."""

import pytest

from rehearsal.scenarios.login import log_in, upgrade_to_websocket
from tests.e2e import leaks
from tests.e2e.conftest import REGION, client


@pytest.fixture(scope="module")
def rotated(machine):
    """The session from before `setup --random-password`, what that printed, and the password that is told since."""
    before = log_in(machine.port, machine.password)
    assert upgrade_to_websocket(machine.port, before.session) == 101
    told = machine.invoke("setup", "--random-password")
    yield before.session, told, machine.invoke("password").strip()
    # Other tests use the machine as it was.
    machine.invoke("setup", "--password", machine.password)


@pytest.mark.attack("go on with a session from before the password was changed", long=True)
def test_a_new_password_ends_the_sessions_there_were(machine, rotated):
    old, _, _ = rotated
    assert upgrade_to_websocket(machine.port, old) != 101
    assert not log_in(machine.port, machine.password).accepted


def test_the_password_that_is_told_is_the_one_that_logs_in(machine, rotated):
    _, told, password = rotated
    assert password not in told
    assert log_in(machine.port, password).accepted
    assert "17 already finished" in machine.invoke("setup")


def test_the_new_password_went_through_the_secret_alone(machine, rotated):
    places = dict(leaks.on_aws(machine.sandbox, REGION))
    assert leaks.search(places, rotated[2]) == []


def test_the_next_deploy_keeps_it_whatever_became_of_terraforms_own_version(machine, rotated):
    secrets = client(machine.sandbox, "secretsmanager")
    (secret,) = secrets.list_secrets()["SecretList"]
    for text in ("yet-another-password", rotated[2]):
        secrets.put_secret_value(SecretId=secret["ARN"], SecretString=text)
    labels = secrets.describe_secret(SecretId=secret["ARN"])["VersionIdsToStages"]
    assert next(one for one, held in labels.items() if held == ["TERRAFORM"]).startswith("terraform-")
    assert "Nothing to change." in machine.invoke("deploy", "--use-capacity-block", "--skip-setup")
    assert machine.invoke("password").strip() == rotated[2]


@pytest.mark.attack("read another secret, a parameter or a document with the role of our machine", long=True)
def test_the_role_of_our_machine_reads_its_own_secret_alone(machine):
    secrets, ssm = client(machine.sandbox, "secretsmanager"), client(machine.sandbox, "ssm")
    foreign = secrets.create_secret(Name="foreign", SecretString="some other password")["ARN"]
    ssm.put_parameter(Name="/team/token", Value="some other password", Type="SecureString")
    library = machine.on_host("cat /var/lib/torchneuron/run-task-*.sh").partition("export HOME=/root")[0]
    for reference in (f"secretsmanager:{foreign}", "ssm:/team/token"):
        told = machine.on_host(f"#!/bin/bash\n{library}\n(secret X {reference}) 2>&1 || true")
        assert "AccessDeniedException" in told
    secrets.delete_secret(SecretId=foreign, ForceDeleteWithoutRecovery=True)
