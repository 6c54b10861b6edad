"""What a plan loses, and what may be lost."""

import pytest

from torchneuron.core.errors import ReplacementRefusedError
from torchneuron.deploy.terraform_plan import Change, from_events, from_json, refuse_losses


def change(type, *actions, because=(), index=0):
    return Change(f"{type}.x[{index}]", type, actions, because)


@pytest.mark.parametrize("actions", [("delete",), ("delete", "create"), ("create", "delete")])
def test_losing_a_machine_is_refused_with_the_attribute_that_causes_it(actions):
    with pytest.raises(ReplacementRefusedError, match=r"aws_instance\.x\[0\], because of ami"):
        refuse_losses([change("aws_instance", *actions, because=("ami",))], allow_replace=False)


def test_plan_that_loses_no_machine_passes():
    refuse_losses(
        [
            change("aws_instance", "update"),
            change("aws_instance", "create"),
            change("aws_instance", "import"),
            change("aws_iam_role", "delete"),
        ],
        allow_replace=False,
    )


def test_allowed_replacement_passes():
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
    ("before", "after", "named"),
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
def test_changes_inside_the_template_are_named_instead_of_its_version(before, after, named):
    template = planned("aws_launch_template.machine", "aws_launch_template", ["update"], before, after)
    with pytest.raises(ReplacementRefusedError) as refused:
        refuse_losses(from_json({"resource_changes": [template, INSTANCE]}).changes, allow_replace=False)
    assert f"because of aws_launch_template.machine: {named}" in refused.value.why
    assert "launch_template.0.version" not in refused.value.why


def test_refresh_ami_allows_a_newer_ami_and_nothing_else():
    newer = change("aws_instance", "delete", "create", because=("ami",))
    refuse_losses([newer], allow_replace=False, refresh_ami=True)
    for lost in (
        change("aws_instance", "delete", "create", because=("ami", "launch_template.0.version")),
        change("aws_ebs_volume", "delete", "create", because=("ami",)),
        change("aws_instance", "delete"),
    ):
        with pytest.raises(ReplacementRefusedError):
            refuse_losses([newer, lost], allow_replace=False, refresh_ami=True)


def test_volume_in_another_zone_is_refused_with_a_way_to_keep_its_data():
    lost = change("aws_ebs_volume", "delete", "create", because=("availability_zone",))
    with pytest.raises(ReplacementRefusedError) as refused:
        refuse_losses([lost, change("aws_instance", "create")], allow_replace=False)
    assert "start with an empty volume: --release-data" in refused.value.do


def test_sensitive_and_unknown_values_are_not_shown():
    resource = planned("x.y", "x", ["update"], {"a": "1", "b": "2", "c": "3"}, {"a": "4", "b": "5", "c": None})
    resource["change"] |= {"after_unknown": {"c": True}, "before_sensitive": {"a": True}, "after_sensitive": {"b": []}}
    (seen,) = from_json({"resource_changes": [resource]}).changes
    assert seen.differences == ("b 2 -> 5",)


def test_json_plan_names_ids_and_imports():
    imported = planned("aws_instance.machine[0]", "aws_instance", ["no-op"], {"id": "i-1"}, {"id": "i-1"})
    imported["change"]["importing"] = {"id": "i-1"}
    unchanged = planned("aws_iam_role.machine", "aws_iam_role", ["no-op"], {"id": "r"}, {"id": "r"})
    (seen,) = from_json({"resource_changes": [imported, unchanged]}).changes
    assert (seen.verb, seen.identity, seen.is_loss) == ("import", "i-1", False)


def test_output_changes_alone_are_reported():
    changed = {"output_changes": {"choices": {"actions": ["update"]}, "region": {"actions": ["no-op"]}}}
    assert from_json(changed).outputs
    assert not from_json({"output_changes": {"region": {"actions": ["no-op"]}}}).outputs


def event(address, action, **more):
    resource = {"addr": address, "resource_type": address.partition(".")[0]}
    return {"type": "planned_change", "change": {"resource": resource, "action": action, **more}}


def test_events_of_a_plan_are_read():
    plan = from_events(
        [
            {"type": "version"},
            event("aws_instance.machine[0]", "replace", reason="cannot_update"),
            event("aws_instance.machine[1]", "create"),
            event("aws_instance.machine[2]", "import", importing={"id": "i-3"}),
            event("aws_ebs_volume.data[0]", "update"),
            event("aws_iam_role.machine", "noop"),
            {"type": "change_summary"},
            {"type": "outputs", "outputs": {"choices": {"action": "update"}, "region": {"action": "noop"}}},
        ],
        {"aws_instance.machine[0]": "i-1"},
    )
    assert [(change.verb, change.address, change.identity, change.is_loss) for change in plan.changes] == [
        ("replace", "aws_instance.machine[0]", "i-1", True),
        ("create", "aws_instance.machine[1]", "", False),
        ("import", "aws_instance.machine[2]", "i-3", False),
        ("update", "aws_ebs_volume.data[0]", "", False),
    ]
    assert plan.launches == 2
    assert plan.outputs


def test_events_without_changes_are_an_empty_plan():
    plan = from_events([{"type": "outputs", "outputs": {"region": {"action": "noop"}}}, {}], {})
    assert (plan.changes, plan.outputs) == ((), False)


@pytest.mark.parametrize("actions", [("delete",), ("delete", "create")])
def test_volume_is_not_deleted_while_its_machine_uses_it(actions):
    """Not even with --allow-replace: EC2 would refuse it."""
    deleted = change("aws_ebs_volume", *actions, index=1)
    for others in ([], [change("aws_instance", "update", index=1)], [change("aws_instance", "delete", index=0)]):
        with pytest.raises(ReplacementRefusedError, match="would be deleted while its machine uses it") as refused:
            refuse_losses([deleted, *others], allow_replace=True)
        assert "--release-data" in refused.value.do
    refuse_losses([deleted, change("aws_instance", "delete", index=1)], allow_replace=True)
    refuse_losses([deleted, change("aws_instance", "create", index=1)], allow_replace=True)
