"""The table of permissions: complete, true to AWS's own names, and short enough for IAM."""

import json
import re
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tasks
from tests.unit.stack_support import GOLDEN
from torchneuron.aws.iam_policies import LONGEST, Scope, policies
from torchneuron.deploy import state_bucket
from torchneuron.doctor.permissions import NEEDED, needed_by

# What IAM calls otherwise than the API, and what is no operation at all (Service Authorization Reference).
NO_OPERATION = {
    "s3:ListBucket",
    "s3:GetBucketPublicAccessBlock",
    "s3:PutBucketPublicAccessBlock",
    "s3:GetEncryptionConfiguration",
    "s3:PutEncryptionConfiguration",
    "iam:PassRole",
    "ssmmessages:OpenDataChannel",
}
# Services that botocore has under another name than IAM.
OTHERWISE_NAMED = {"servicequotas": "service-quotas"}
SCOPE = Scope("torchneuron-code-server", "some-states", ("/aws/service/neuron/image_id",))
LONG = Scope("p" * 40, "b" * 63, tuple(f"/aws/service/neuron/dlami/{number}/ubuntu/latest/image_id" for number in "12"))


def actions(document):
    return {action for statement in document["Statement"] for action in statement["Action"]}


def policy(grants, scope):
    """The one policy that there is for grants which fit into one."""
    (made,) = policies(grants, scope)
    return made


def statements(grants, scope):
    """The statement of each grant, by its name."""
    return {grant.name: policy([grant], scope)["Statement"][0] for grant in grants}


def size(document):
    return len(json.dumps(document, separators=(",", ":")))


def test_every_command_is_in_the_table_and_nothing_else():
    """`setup.run` is what Invoke calls the default of `setup`."""
    assert set(NEEDED) == {name.removesuffix(".run") for name in tasks.namespace.task_names}


def test_every_action_is_one_of_aws():
    session = botocore.session.get_session()
    named = {action for grants in NEEDED.values() for grant in grants for action in grant.actions}
    known = {
        f"{service}:{operation}"
        for service in {action.partition(":")[0] for action in named - NO_OPERATION}
        for operation in session.get_service_model(OTHERWISE_NAMED.get(service, service)).operation_names
    }
    assert named - known - NO_OPERATION == set()
    assert named >= NO_OPERATION


def test_a_grant_has_one_name_and_that_is_a_sid():
    grants = [grant for grants in NEEDED.values() for grant in grants]
    assert len({grant.name for grant in grants}) == len({id(grant) for grant in grants})
    assert all(re.fullmatch("[A-Za-z0-9]+", grant.name) for grant in grants)
    assert all(grant.why and len(set(grant.actions)) == len(grant.actions) for grant in grants)


@pytest.mark.parametrize("scope", [SCOPE, LONG])
@pytest.mark.parametrize("commands", [*([name] for name in NEEDED), list(NEEDED)])
def test_a_policy_allows_what_was_granted_and_iam_takes_it(commands, scope):
    grants = needed_by(commands)
    documents = policies(grants, scope)
    assert {document["Version"] for document in documents} == {"2012-10-17"}
    assert set().union(*map(actions, documents)) == {action for grant in grants for action in grant.actions}
    assert all(size(document) <= LONGEST for document in documents)
    for statement in (one for document in documents for one in document["Statement"]):
        assert statement["Resource"]
        assert all(one == "*" or one.startswith("arn:aws:") for one in statement["Resource"])
        assert not re.search(r"(?<!\$){", json.dumps(statement["Resource"]))


def test_statements_are_joined_only_with_others_about_the_same():
    grants = needed_by(NEEDED)
    by_resources: dict[Any, Any] = {}
    for grant in grants:
        (alone,) = policy([grant], SCOPE)["Statement"]
        key = json.dumps([alone["Resource"], alone.get("Condition")])
        by_resources.setdefault(key, set()).update(alone["Action"])
    joined = {
        json.dumps([one["Resource"], one.get("Condition")]): set(one["Action"])
        for made in policies(grants, SCOPE)
        for one in made["Statement"]
    }
    assert joined == by_resources


def test_resources_are_named_where_they_can_be():
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
def test_names_and_policies_are_those_of_the_stack(file):
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
        for one in resources[kind].values():
            assert any(f"{one['name_prefix']}*" in arn for arn in by_name[sid]["Resource"])


@given(
    st.from_regex("[a-z][a-z0-9-]{1,38}[a-z0-9]", fullmatch=True),
    st.sampled_from(["sa-east-1", "us-east-2", "ap-southeast-4", "ap-northeast-1"]),
)
def test_the_state_bucket_is_covered_before_there_is_one(project, region):
    name = state_bucket.bucket_name(project, "123456789012", region)
    pattern = re.escape(state_bucket.bucket_pattern(project)).replace(r"\*", ".*")
    assert re.fullmatch(pattern, name)


def test_what_has_an_id_only_is_told_by_its_tags():
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


CHANGES_OF_EC2 = re.compile("ec2:(?!Describe|Get)")


def test_every_change_in_ec2_and_every_command_is_limited():
    """But for what no tag or name can tell: extending and cancelling reservations, and what a launch uses."""
    unlimited = {"ExtendBlocks", "CancelReservations", "UseNetwork", "TryNetwork"}
    for name, one in statements(needed_by(NEEDED), SCOPE).items():
        changes = [action for action in one["Action"] if CHANGES_OF_EC2.match(action)]
        if changes and name not in unlimited:
            assert one.get("Condition"), name
        if "ssm:SendCommand" in one["Action"]:
            assert one.get("Condition") or all(":document/" in arn for arn in one["Resource"]), name


def test_what_is_too_long_for_one_policy_is_several():
    grants = needed_by(NEEDED)
    documents = policies(grants, LONG)
    assert len(documents) > 1
    assert all(size(document) <= LONGEST for document in documents)
