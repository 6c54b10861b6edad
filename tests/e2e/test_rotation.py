"""Password changes on a deployed machine: the effect on sessions, logins and later deploys."""

import pytest

from rehearsal.scenarios.login import log_in, upgrade_to_websocket
from tests.e2e import leaks
from tests.e2e.conftest import REGION, client


@pytest.fixture(scope="module")
def rotated(machine):
    """The session from before `setup --random-password`, the output of that command, and the new password."""
    before = log_in(machine.port, machine.password)
    assert upgrade_to_websocket(machine.port, before.session) == 101
    output = machine.invoke("setup", "--random-password")
    yield before.session, output, machine.invoke("password").strip()
    # Restore the password for other tests.
    machine.invoke("setup", "--password", machine.password)


@pytest.mark.attack("continues a session from before the password change", long=True)
def test_password_change_ends_existing_sessions(machine, rotated):
    old, _, _ = rotated
    assert upgrade_to_websocket(machine.port, old) != 101
    assert not log_in(machine.port, machine.password).accepted


def test_password_command_prints_the_new_password(machine, rotated):
    _, output, password = rotated
    assert password not in output
    assert log_in(machine.port, password).accepted
    assert "17 already finished" in machine.invoke("setup")


def test_new_password_is_only_in_the_secret(machine, rotated):
    places = dict(leaks.on_aws(machine.sandbox, REGION))
    assert leaks.search(places, rotated[2]) == []


def test_deploy_keeps_the_new_password_after_several_changes(machine, rotated):
    secrets = client(machine.sandbox, "secretsmanager")
    (secret,) = secrets.list_secrets()["SecretList"]
    for text in ("yet-another-password", rotated[2]):
        secrets.put_secret_value(SecretId=secret["ARN"], SecretString=text)
    labels = secrets.describe_secret(SecretId=secret["ARN"])["VersionIdsToStages"]
    assert next(version for version, stages in labels.items() if stages == ["TERRAFORM"]).startswith("terraform-")
    assert "Nothing to change." in machine.invoke("deploy", "--use-capacity-block", "--skip-setup")
    assert machine.invoke("password").strip() == rotated[2]


@pytest.mark.attack("reads another secret, a parameter or a document with the role of the machine", long=True)
def test_machine_role_reads_only_its_own_secret(machine):
    secrets, ssm = client(machine.sandbox, "secretsmanager"), client(machine.sandbox, "ssm")
    foreign = secrets.create_secret(Name="foreign", SecretString="some other password")["ARN"]
    ssm.put_parameter(Name="/team/token", Value="some other password", Type="SecureString")
    library = machine.on_host("cat /var/lib/torchneuron/run-task-*.sh").partition("export HOME=/root")[0]
    for reference in (f"secretsmanager:{foreign}", "ssm:/team/token"):
        output = machine.on_host(f"#!/bin/bash\n{library}\n(secret X {reference}) 2>&1 || true")
        assert "AccessDeniedException" in output
    secrets.delete_secret(SecretId=foreign, ForceDeleteWithoutRecovery=True)
