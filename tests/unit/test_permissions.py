"""The table of permissions: complete, with names that AWS knows, and short enough for IAM."""

import json
import re
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tasks
from tests.unit.stack_support import GOLDEN
from torchneuron.aws.iam_policies import MAX_LENGTH, Scope, policies
from torchneuron.deploy import state_bucket
from torchneuron.doctor.permissions import NEEDED, needed_by

# Actions that are no API operation, or have another name than it (Service Authorization Reference).
NOT_OPERATIONS = {
    "s3:ListBucket",
    "s3:GetBucketPublicAccessBlock",
    "s3:PutBucketPublicAccessBlock",
    "s3:GetEncryptionConfiguration",
    "s3:PutEncryptionConfiguration",
    "iam:PassRole",
    "ssmmessages:OpenDataChannel",
}
# Services with another name in botocore than in IAM.
BOTOCORE_NAMES = {"servicequotas": "service-quotas"}
SCOPE = Scope("torchneuron-code-server", "some-states", ("/aws/service/neuron/image_id",))
LONG = Scope("p" * 40, "b" * 63, tuple(f"/aws/service/neuron/dlami/{number}/ubuntu/latest/image_id" for number in "12"))


def actions(document):
    return {action for statement in document["Statement"] for action in statement["Action"]}


def policy(grants, scope):
    """The policy of grants that fit into one."""
    (document,) = policies(grants, scope)
    return document


def statements(grants, scope):
    """The statement of each grant, by its name."""
    return {grant.name: policy([grant], scope)["Statement"][0] for grant in grants}


def size(document):
    return len(json.dumps(document, separators=(",", ":")))


def test_the_table_has_exactly_the_commands():
    """Invoke calls the default task of `setup` `setup.run`."""
    assert set(NEEDED) == {name.removesuffix(".run") for name in tasks.namespace.task_names}


def test_every_action_exists():
    session = botocore.session.get_session()
    named = {action for grants in NEEDED.values() for grant in grants for action in grant.actions}
    known = {
        f"{service}:{operation}"
        for service in {action.partition(":")[0] for action in named - NOT_OPERATIONS}
        for operation in session.get_service_model(BOTOCORE_NAMES.get(service, service)).operation_names
    }
    assert named - known - NOT_OPERATIONS == set()
    assert named >= NOT_OPERATIONS


def test_grant_names_are_unique_and_valid_sids():
    grants = [grant for grants in NEEDED.values() for grant in grants]
    assert len({grant.name for grant in grants}) == len({id(grant) for grant in grants})
    assert all(re.fullmatch("[A-Za-z0-9]+", grant.name) for grant in grants)
    assert all(grant.why and len(set(grant.actions)) == len(grant.actions) for grant in grants)


@pytest.mark.parametrize("scope", [SCOPE, LONG])
@pytest.mark.parametrize("commands", [*([name] for name in NEEDED), list(NEEDED)])
def test_a_policy_allows_exactly_the_grants_and_is_valid(commands, scope):
    grants = needed_by(commands)
    documents = policies(grants, scope)
    assert {document["Version"] for document in documents} == {"2012-10-17"}
    assert set().union(*map(actions, documents)) == {action for grant in grants for action in grant.actions}
    assert all(size(document) <= MAX_LENGTH for document in documents)
    for statement in (statement for document in documents for statement in document["Statement"]):
        assert statement["Resource"]
        assert all(arn == "*" or arn.startswith("arn:aws:") for arn in statement["Resource"])
        assert not re.search(r"(?<!\$){", json.dumps(statement["Resource"]))


def test_only_statements_about_the_same_resources_are_merged():
    grants = needed_by(NEEDED)
    by_resources: dict[Any, Any] = {}
    for grant in grants:
        (alone,) = policy([grant], SCOPE)["Statement"]
        key = json.dumps([alone["Resource"], alone.get("Condition")])
        by_resources.setdefault(key, set()).update(alone["Action"])
    merged = {
        json.dumps([statement["Resource"], statement.get("Condition")]): set(statement["Action"])
        for document in policies(grants, SCOPE)
        for statement in document["Statement"]
    }
    assert merged == by_resources


def test_resources_are_limited_by_name():
    by_name = statements(needed_by(["deploy"]), SCOPE)
    assert by_name["ReadState"]["Resource"] == [
        "arn:aws:s3:::some-states",
        "arn:aws:s3:::some-states/torchneuron-code-server/*",
    ]
    assert by_name["UnlockState"]["Resource"] == ["arn:aws:s3:::some-states/torchneuron-code-server/*.tflock"]
    assert by_name["MakeRole"]["Resource"][0] == "arn:aws:iam::*:role/torchneuron-code-server-*"
    assert by_name["ReadImage"]["Resource"] == ["arn:aws:ssm:*:*:parameter/aws/service/neuron/image_id"]
    assert by_name["OwnSessions"]["Resource"] == ["arn:aws:ssm:*:*:session/${aws:userid}-*"]


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_names_match_the_stack(file):
    resources = json.loads(file.read_text())["resource"]
    scope = Scope(resources["aws_iam_role"]["machine"]["name_prefix"].rstrip("-"), "some-states", ("/ami",))
    by_name = statements(needed_by(["deploy"]), scope)
    assert "aws_iam_role_policy_attachment" not in resources
    assert by_name["LetSystemsManagerIn"]["Action"] == ["iam:DeleteRolePolicy", "iam:PutRolePolicy"]
    for kind, sid in (
        ("aws_iam_role", "MakeRole"),
        ("aws_iam_instance_profile", "MakeRole"),
        ("aws_secretsmanager_secret", "MakeSecret"),
    ):
        for resource in resources[kind].values():
            assert any(f"{resource['name_prefix']}*" in arn for arn in by_name[sid]["Resource"])


@given(
    st.from_regex("[a-z][a-z0-9-]{1,38}[a-z0-9]", fullmatch=True),
    st.sampled_from(["sa-east-1", "us-east-2", "ap-southeast-4", "ap-northeast-1"]),
)
def test_the_bucket_pattern_matches_every_bucket_name(project, region):
    name = state_bucket.bucket_name(project, "123456789012", region)
    pattern = re.escape(state_bucket.bucket_pattern(project)).replace(r"\*", ".*")
    assert re.fullmatch(pattern, name)


def test_resources_are_limited_by_tag():
    by_name = statements(needed_by(NEEDED), SCOPE)
    ours = {"StringEquals": {"aws:ResourceTag/Project": "torchneuron-code-server"}}
    assert by_name["ChangeMachine"]["Condition"] == by_name["RemoveMachine"]["Condition"] == ours
    assert by_name["OnMachines"]["Condition"] == {
        "StringEquals": {"ssm:resourceTag/Project": "torchneuron-code-server"}
    }
    for name in ("MakeMachine", "MakeSetupDocuments", "BuyBlocks"):
        assert by_name[name]["Condition"] == {"StringEquals": {"aws:RequestTag/Project": "torchneuron-code-server"}}
    for name in ("ReadState", "WriteState", "UnlockState", "MakeStateBucket"):
        assert by_name[name]["Condition"] == {"StringEquals": {"aws:ResourceAccount": "${aws:PrincipalAccount}"}}
    assert by_name["PassRole"]["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    assert by_name["ForwardPorts"]["Condition"]["BoolIfExists"] == {"ssm:SessionDocumentAccessCheck": "true"}


EC2_CHANGES = re.compile("ec2:(?!Describe|Get)")


def test_changes_in_ec2_and_commands_are_limited():
    """Except where IAM has no condition: extending and cancelling reservations, and what a launch uses."""
    unlimited = {"ExtendBlocks", "CancelReservations", "UseNetwork", "TryNetwork"}
    for name, statement in statements(needed_by(NEEDED), SCOPE).items():
        changes = [action for action in statement["Action"] if EC2_CHANGES.match(action)]
        if changes and name not in unlimited:
            assert statement.get("Condition"), name
        if "ssm:SendCommand" in statement["Action"]:
            assert statement.get("Condition") or all(":document/" in arn for arn in statement["Resource"]), name


def test_long_grants_are_split_into_several_policies():
    grants = needed_by(NEEDED)
    documents = policies(grants, LONG)
    assert len(documents) > 1
    assert all(size(document) <= MAX_LENGTH for document in documents)
