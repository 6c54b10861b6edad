import pytest

from torchneuron.deployment import refuse_losses
from torchneuron.errors import ReplacementRefusedError
from torchneuron.terraform import Change


def change(type, *actions, because=()):
    return Change(f"{type}.x", type, actions, because)


@pytest.mark.parametrize("actions", [("delete",), ("delete", "create"), ("create", "delete")])
def test_losing_a_machine_is_refused_with_the_attribute_that_causes_it(actions):
    with pytest.raises(ReplacementRefusedError, match=r"aws_instance\.x, because of ami"):
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
