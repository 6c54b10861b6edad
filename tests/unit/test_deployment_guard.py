import pytest

from torchneuron.core.errors import ReplacementRefusedError
from torchneuron.deploy.terraform_plan import Change, Plan, read, refuse_losses


def change(type, *actions, because=(), index=0):
    return Change(f"{type}.x[{index}]", type, actions, because)


@pytest.mark.parametrize("actions", [("delete",), ("delete", "create"), ("create", "delete")])
def test_losing_a_machine_is_refused_with_the_attribute_that_causes_it(actions):
    with pytest.raises(ReplacementRefusedError, match=r"aws_instance\.x\[0\], because of ami"):
        refuse_losses([change("aws_instance", *actions, because=("ami",))], allow_replace=False)


def test_what_loses_no_machine_passes():
    refuse_losses(
        [
            change("aws_instance", "update"),
            change("aws_instance", "create"),
            change("aws_iam_role", "delete"),
        ],
        allow_replace=False,
    )


def test_a_replacement_that_was_asked_for_passes():
    refuse_losses([change("aws_instance", "delete", "create")], allow_replace=True)


def planned(address, type, actions, before, after, paths=()):
    change = {"actions": actions, "before": before, "after": after, "replace_paths": list(paths), "after_unknown": {}}
    return {"address": address, "type": type, "change": change}


INSTANCE = planned(
    "aws_instance.machine[0]",
    "aws_instance",
    ["delete", "create"],
    {"ami": "ami-1", "launch_template": [{"version": "1"}]},
    {"ami": "ami-1", "launch_template": [{"version": "2"}]},
    [["launch_template", 0, "version"]],
)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            {"instance_type": "trn2.3xlarge"},
            {"instance_type": "trn2.48xlarge"},
            "instance_type trn2.3xlarge -> ",
        ),
        ({"ebs": [{"size": 500}]}, {"ebs": [{"size": 640}]}, "ebs.0.size 500 -> 640"),
        ({"market": [{"type": "block"}]}, {"market": []}, "market something -> nothing"),
    ],
)
def test_what_changed_in_the_template_is_named_not_its_version(before, after, told):
    template = planned("aws_launch_template.machine", "aws_launch_template", ["update"], before, after)
    with pytest.raises(ReplacementRefusedError) as refused:
        refuse_losses(read({"resource_changes": [template, INSTANCE]}).changes, allow_replace=False)
    assert f"because of aws_launch_template.machine: {told}" in refused.value.why
    assert "launch_template.0.version" not in refused.value.why


def test_a_newer_ami_replaces_a_machine_on_request_but_only_that():
    newer = change("aws_instance", "delete", "create", because=("ami",))
    refuse_losses([newer], allow_replace=False, refresh_ami=True)
    for lost in (
        change("aws_instance", "delete", "create", because=("ami", "launch_template.0.version")),
        change("aws_ebs_volume", "delete", "create", because=("ami",)),
        change("aws_instance", "delete"),
    ):
        with pytest.raises(ReplacementRefusedError):
            refuse_losses([newer, lost], allow_replace=False, refresh_ami=True)


def test_a_volume_in_another_zone_is_told_how_its_data_gets_there():
    lost = change("aws_ebs_volume", "delete", "create", because=("availability_zone",))
    with pytest.raises(ReplacementRefusedError) as refused:
        refuse_losses([lost, change("aws_instance", "create")], allow_replace=False)
    assert "begin with an empty volume: --release-data" in refused.value.do


def test_what_is_secret_or_not_known_yet_is_not_shown():
    one = planned("x.y", "x", ["update"], {"a": "1", "b": "2", "c": "3"}, {"a": "4", "b": "5", "c": None})
    one["change"] |= {"after_unknown": {"c": True}, "before_sensitive": {"a": True}, "after_sensitive": {"b": []}}
    (seen,) = read({"resource_changes": [one]}).changes
    assert seen.differences == ("b 2 -> 5",)


@pytest.mark.parametrize(
    ("reason", "unfinished"), [("replace_because_tainted", True), ("replace_because_cannot_update", False)]
)
def test_what_was_cut_while_it_was_made_is_known_by_the_reason(reason, unfinished):
    one = {
        **planned("aws_instance.machine[0]", "aws_instance", ["delete", "create"], {"id": "i-1"}, {}),
        "action_reason": reason,
    }
    (seen,) = read({"resource_changes": [one]}).changes
    assert (seen.is_unfinished, seen.identity) == (unfinished, "i-1")


def test_outputs_alone_may_change():
    assert read({"output_changes": {"choices": {"actions": ["update"]}, "region": {"actions": ["no-op"]}}}).outputs
    assert not read({"output_changes": {"region": {"actions": ["no-op"]}}}).outputs


def test_what_a_machine_is_made_from_comes_before_it():
    actions = ["create"]
    plan = read(
        {
            "resource_changes": [
                planned("aws_launch_template.machine", "aws_launch_template", actions, None, {}),
                planned("aws_instance.machine[0]", "aws_instance", actions, None, {}),
                planned("aws_volume_attachment.data[0]", "aws_volume_attachment", actions, None, {}),
            ]
        }
    )
    assert plan.launches
    assert plan.groundwork == ("aws_launch_template.machine",)


def test_groundwork_is_left_to_the_whole_plan_where_anything_of_it_goes():
    """A group or a volume goes only after the machine that has it, which a part of the plan does not know."""
    machine = change("aws_instance", "delete", "create")
    template = change("aws_launch_template", "update")
    assert Plan((machine, template)).groundwork == ("aws_launch_template.x[0]",)
    assert Plan((machine, template, change("aws_security_group", "delete", "create"))).groundwork == ()


@pytest.mark.parametrize("actions", [("delete",), ("delete", "create")])
def test_a_volume_does_not_go_while_its_machine_stays(actions):
    """Not even when that is allowed: EC2 would not let it."""
    going = change("aws_ebs_volume", *actions, index=1)
    for others in ([], [change("aws_instance", "update", index=1)], [change("aws_instance", "delete", index=0)]):
        with pytest.raises(ReplacementRefusedError, match="would go while its machine stays") as refused:
            refuse_losses([going, *others], allow_replace=True)
        assert "--release-data" in refused.value.do
    refuse_losses([going, change("aws_instance", "delete", index=1)], allow_replace=True)
    refuse_losses([going, change("aws_instance", "create", index=1)], allow_replace=True)
