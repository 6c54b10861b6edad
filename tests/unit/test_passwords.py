from dataclasses import dataclass, field

import pytest

from tests.fakes import StandIn
from torchneuron.core.errors import InputError
from torchneuron.setup import passwords, secret_values


@dataclass
class FakeSecrets(StandIn):
    """One secret of Secrets Manager: its versions' labels, and what was written."""

    labels: dict[str, list[str]]
    written: list[str] = field(default_factory=list)

    def describe_secret(self, **asked):
        return {"VersionIdsToStages": self.labels}

    def update_secret_version_stage(self, **asked):
        self.labels[asked["MoveToVersionId"]].append(asked["VersionStage"])

    def put_secret_value(self, **asked):
        self.written.append(asked["SecretString"])
        return {"VersionId": asked["ClientRequestToken"]}


@pytest.mark.parametrize("weak", ["", "short", "aaaaaaaaaaaaaaaaaaaa", "with\nnewline-and-more"])
def test_weak_passwords_are_refused_before_they_are_stored(weak):
    client = FakeSecrets({"first": ["AWSCURRENT"]})
    with pytest.raises(InputError):
        passwords.store(client, "arn", weak)
    assert client.written == []


def test_random_passwords_are_strong_and_differ():
    made = {passwords.random_password() for _ in range(50)}
    assert len(made) == 50
    for password in made:
        passwords.check_strength(password)


def test_current_version_is_found_without_reading_the_password():
    labels = {"old": ["AWSPREVIOUS"], "new": ["AWSCURRENT"]}
    assert secret_values.current_version(FakeSecrets(labels), "arn") == "new"
    with pytest.raises(InputError, match="has no value"):
        secret_values.current_version(FakeSecrets({}), "arn")


def test_version_created_by_terraform_is_labelled():
    client = FakeSecrets({"terraform-2026": ["AWSPREVIOUS"], "other": ["AWSCURRENT"]})
    for text in ("correct-horse-battery", "correct-horse-staple"):
        assert passwords.store(client, "arn", text)
    assert client.labels == {"terraform-2026": ["AWSPREVIOUS", "TERRAFORM"], "other": ["AWSCURRENT"]}
    assert client.written == ["correct-horse-battery", "correct-horse-staple"]
