"""The rehearsal's evaluation of IAM policies, by the rules and examples of the IAM user guide."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.aws.iam.policies import Decision, Request, decide

ALLOWED, EXPLICITLY, IMPLICITLY = Decision.ALLOWED, Decision.EXPLICITLY_DENIED, Decision.IMPLICITLY_DENIED
MACHINE = "arn:aws:ec2:sa-east-1:123456789012:instance/i-0123456789abcdef0"


def statement(effect="Allow", **elements):
    named = {"Action": "ec2:*"} if "NotAction" not in elements else {}
    named |= {"Resource": "*"} if "NotResource" not in elements else {}
    return {"Effect": effect, **named, **elements}


def policy(*statements, version="2012-10-17"):
    return {"Version": version, "Statement": list(statements)}


def decision(*statements, action="ec2:StopInstances", resource=MACHINE, version="2012-10-17", **context):
    named = {key.replace("__", "/").replace("_", ":", 1): value for key, value in context.items()}
    return decide([policy(*statements, version=version)], Request(action, resource, named))


def holds(condition, **context):
    """Whether a condition holds for a request with this context; `aws_RequestTag__Project` for its key."""
    return decision(statement(Condition=condition), **context) is ALLOWED


def test_nothing_is_allowed_without_a_policy():
    assert decide([], Request("ec2:StopInstances", MACHINE)) is IMPLICITLY


def test_an_explicit_deny_wins_wherever_it_stands():
    allow, deny = policy(statement()), policy(statement("Deny", Action="ec2:Stop*"))
    request = Request("ec2:StopInstances", MACHINE)
    assert decide([allow, deny], request) is decide([deny, allow], request) is EXPLICITLY
    assert decide([allow, deny], Request("ec2:StartInstances", MACHINE)) is ALLOWED


def test_a_single_statement_needs_no_list():
    document = {"Version": "2012-10-17", "Statement": statement()}
    assert decide([document], Request("ec2:StopInstances", MACHINE)) is ALLOWED


@pytest.mark.parametrize(
    ("pattern", "action", "covered"),
    [
        ("ec2:StopInstances", "ec2:StopInstances", True),
        ("EC2:stopinstances", "ec2:StopInstances", True),
        ("ec2:Stop*", "ec2:StopInstances", True),
        ("ec2:St?pInstances", "ec2:StopInstances", True),
        ("*", "ec2:StopInstances", True),
        ("ec2:Stop", "ec2:StopInstances", False),
        ("ec2:Stop?", "ec2:StopInstances", False),
        ("ssm:*", "ec2:StopInstances", False),
        ("ec2:Stop.nstances", "ec2:StopInstances", False),
    ],
)
def test_actions(pattern, action, covered):
    assert (decision(statement(Action=[pattern]), action=action) is ALLOWED) is covered
    assert (decision(statement(NotAction=[pattern]), action=action) is ALLOWED) is not covered


@pytest.mark.parametrize(
    ("pattern", "resource", "covered"),
    [
        (MACHINE, MACHINE, True),
        ("arn:aws:ec2:*:*:instance/*", MACHINE, True),
        ("arn:aws:ec2:*:*:instance/i-*0", MACHINE, True),
        ("arn:aws:ec2:*:*:volume/*", MACHINE, False),
        ("arn:aws:ec2:*:*:Instance/*", MACHINE, False),
        ("arn:aws:ssm:*:*:document/own-*", "arn:aws:ssm:sa-east-1:123456789012:document/own-1", True),
        ("arn:aws:ssm:*::document/AWS-*", "arn:aws:ssm:sa-east-1::document/AWS-RunShellScript", True),
        # A wildcard at a segment's end goes beyond its colon, one within it does not.
        ("arn:aws:sns:*", "arn:aws:sns:sa-east-1:123456789012:topic", True),
        ("arn:aws:sns:*topic", "arn:aws:sns:sa-east-1:123456789012:topic", False),
        ("arn:aws:sns:sa-?:123456789012:topic", "arn:aws:sns:sa-e:123456789012:topic", True),
        ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a/b/c", True),
        ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket", False),
    ],
)
def test_resources(pattern, resource, covered):
    assert (decision(statement(Resource=[pattern]), resource=resource) is ALLOWED) is covered
    assert (decision(statement(NotResource=[pattern]), resource=resource) is ALLOWED) is not covered


def test_every_condition_and_key_has_to_hold():
    condition = {
        "StringEquals": {"aws:RequestTag/A": "1", "aws:RequestTag/B": "2"},
        "Bool": {"aws:SecureTransport": "true"},
    }
    context = {"aws_RequestTag__A": "1", "aws_RequestTag__B": "2", "aws_SecureTransport": "true"}
    assert holds(condition, **context)
    for key in context:
        assert not holds(condition, **{**context, key: "other"})
        assert not holds(condition, **{name: value for name, value in context.items() if name != key})


def test_one_of_several_values_is_enough_and_none_for_a_negated_operator():
    assert holds({"StringEquals": {"aws:RequestedRegion": ["a", "b"]}}, aws_RequestedRegion="b")
    assert not holds({"StringNotEquals": {"aws:RequestedRegion": ["a", "b"]}}, aws_RequestedRegion="b")
    assert holds({"StringNotEquals": {"aws:RequestedRegion": ["a", "b"]}}, aws_RequestedRegion="c")


def test_keys_ignore_case_and_values_do_not():
    assert holds({"StringEquals": {"AWS:requesttag/PROJECT": "p"}}, aws_RequestTag__Project="p")
    assert not holds({"StringEquals": {"aws:RequestTag/Project": "P"}}, aws_RequestTag__Project="p")
    assert holds({"StringEqualsIgnoreCase": {"aws:RequestTag/Project": "P"}}, aws_RequestTag__Project="p")


@pytest.mark.parametrize(
    ("operator", "without_the_key"),
    [
        ("StringEquals", False),
        ("StringEqualsIfExists", True),
        ("StringNotEquals", True),
        ("StringNotLike", True),
        ("StringLike", False),
        ("ArnLike", False),
        ("Bool", False),
        ("BoolIfExists", True),
        ("ForAllValues:StringEquals", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAnyValue:StringEqualsIfExists", False),
    ],
)
def test_a_key_that_the_request_does_not_have(operator, without_the_key):
    assert holds({operator: {"ssm:Other": "true"}}) is without_the_key


def test_null():
    assert holds({"Null": {"aws:TagKeys": "true"}})
    assert not holds({"Null": {"aws:TagKeys": "false"}})
    assert holds({"Null": {"aws:TagKeys": "false"}}, aws_TagKeys=["a"])
    assert not holds({"Null": {"aws:TagKeys": "true"}}, aws_TagKeys=["a"])


@pytest.mark.parametrize(
    ("operator", "asked", "expected"),
    [
        ("ForAllValues:StringEquals", ["a", "b"], True),
        ("ForAllValues:StringEquals", ["a", "c"], False),
        ("ForAllValues:StringEquals", [], True),
        ("ForAnyValue:StringEquals", ["a", "c"], True),
        ("ForAnyValue:StringEquals", ["c"], False),
        ("ForAnyValue:StringEquals", [], False),
        ("ForAllValues:StringNotEquals", ["c", "d"], True),
        ("ForAllValues:StringNotEquals", ["a", "c"], False),
        ("ForAnyValue:StringNotEquals", ["a", "c"], True),
        ("ForAnyValue:StringNotEquals", ["a", "b"], False),
    ],
)
def test_sets(operator, asked, expected):
    assert holds({operator: {"aws:TagKeys": ["a", "b"]}}, aws_TagKeys=asked) is expected


def test_likeness():
    assert holds({"StringLike": {"ec2:CreateAction": ["Run*", "CreateVol?me"]}}, ec2_CreateAction="CreateVolume")
    assert not holds({"StringEquals": {"ec2:CreateAction": "Run*"}}, ec2_CreateAction="RunInstances")
    role = "arn:aws:iam::123456789012:role/path/own-1"
    for operator in ("ArnLike", "ArnEquals"):
        assert holds({operator: {"aws:PrincipalArn": "arn:aws:iam::*:role/*/own-*"}}, aws_PrincipalArn=role)
        assert not holds({operator: {"aws:PrincipalArn": "arn:aws:iam::*"}}, aws_PrincipalArn=role)
    assert not holds({"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}}, aws_PrincipalArn=role)


def test_numbers():
    assert holds({"NumericLessThanEquals": {"ec2:VolumeSize": "100"}}, ec2_VolumeSize="100")
    assert not holds({"NumericLessThan": {"ec2:VolumeSize": "100"}}, ec2_VolumeSize="100")
    assert holds({"NumericNotEquals": {"ec2:VolumeSize": "100"}}, ec2_VolumeSize="99")


def test_variables_have_the_requests_values():
    own = statement(Action="ssm:*", Resource="arn:aws:ssm:*:*:session/${aws:username}-*")
    for name, allowed in (("ann", True), ("bob", False), ("*", False)):
        resource = "arn:aws:ssm:sa-east-1:123456789012:session/ann-1"
        given = decision(own, action="ssm:TerminateSession", resource=resource, aws_username=name)
        assert (given is ALLOWED) is allowed
    account = {"StringEquals": {"aws:ResourceAccount": "${aws:PrincipalAccount}"}}
    assert holds(account, aws_ResourceAccount="1", aws_PrincipalAccount="1")
    assert not holds(account, aws_ResourceAccount="1", aws_PrincipalAccount="2")


def test_a_variable_without_a_value_matches_nothing_unless_it_has_a_default():
    assert not holds({"StringLike": {"aws:username": "${aws:PrincipalTag/Team}"}}, aws_username="")
    assert not holds({"StringEquals": {"aws:username": "a${aws:PrincipalTag/Team}"}}, aws_username="a")
    assert holds({"StringEquals": {"aws:username": "a-${aws:PrincipalTag/Team, 'core'}"}}, aws_username="a-core")


def test_variables_for_the_special_characters_themselves():
    assert holds({"StringLike": {"aws:username": "${*}${?}${$}"}}, aws_username="*?$")
    assert not holds({"StringLike": {"aws:username": "${*}"}}, aws_username="any")


def test_variables_are_text_in_the_older_version():
    older = statement(Condition={"StringEquals": {"aws:username": "${aws:username}"}})
    assert decision(older, version="2008-10-17", aws_username="ann") is IMPLICITLY
    assert decision(older, version="2008-10-17", aws_username="${aws:username}") is ALLOWED


def test_an_operator_that_is_not_modelled_is_said_to_be():
    with pytest.raises(NotImplementedError, match="IpAddress"):
        holds({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, aws_SourceIp="10.0.0.1")


names = st.text(string.ascii_letters + string.digits + "-_.*?[]^$+()|\\/{}", max_size=12)
patterns = st.text("ab*?", max_size=8)


def globbed(pattern, value):
    """`*` and `?` as a textbook has them."""
    if not pattern:
        return not value
    if pattern[0] == "*":
        return globbed(pattern[1:], value) or (bool(value) and globbed(pattern, value[1:]))
    return bool(value) and pattern[0] in ("?", value[0]) and globbed(pattern[1:], value[1:])


@given(patterns, st.text("ab", max_size=6))
def test_wildcards_match_as_a_textbook_has_them(pattern, value):
    expected = globbed(pattern, value)
    assert (decision(statement(Action=f"ec2:{pattern}"), action=f"ec2:{value}") is ALLOWED) is expected
    assert holds({"StringLike": {"aws:username": pattern}}, aws_username=value) is expected
    resource = decision(statement(Resource=f"arn:aws:s3:::{pattern}"), resource=f"arn:aws:s3:::{value}")
    assert (resource is ALLOWED) is expected


@given(names, names)
def test_values_are_compared_as_they_are(wanted, value):
    plain = wanted.replace("$", "").replace("{", "")
    assert holds({"StringEquals": {"aws:username": plain}}, aws_username=value) is (plain == value)


@given(names, names)
def test_a_variables_value_is_never_a_pattern(own, other):
    """Whoever may choose a name of `*` gains nothing by it."""
    condition = {"StringLike": {"aws:RequestTag/Owner": "${aws:username}"}}
    assert holds(condition, aws_RequestTag__Owner=other, aws_username=own) is (own == other)


@given(st.lists(st.sampled_from(["a", "b", "c"])), st.lists(st.sampled_from(["a", "b", "c"]), min_size=1))
def test_sets_are_all_and_any(asked, wanted):
    everything = holds({"ForAllValues:StringEquals": {"aws:TagKeys": wanted}}, aws_TagKeys=asked)
    something = holds({"ForAnyValue:StringEquals": {"aws:TagKeys": wanted}}, aws_TagKeys=asked)
    assert everything is (set(asked) <= set(wanted))
    assert something is bool(set(asked) & set(wanted))


effects = st.lists(st.sampled_from([("Allow", True), ("Allow", False), ("Deny", True), ("Deny", False)]), max_size=6)


@given(effects)
def test_the_order_and_grouping_of_statements_change_nothing(chosen):
    made = [statement(effect, Action="ec2:*" if covers else "s3:*") for effect, covers in chosen]
    request = Request("ec2:StopInstances", MACHINE)
    expected = EXPLICITLY if ("Deny", True) in chosen else ALLOWED if ("Allow", True) in chosen else IMPLICITLY
    assert decide([policy(*made)], request) is expected
    assert decide([policy(*reversed(made))], request) is expected
    assert decide([policy(single) for single in made], request) is expected
