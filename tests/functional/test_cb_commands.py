import subprocess

import pytest

from torchneuron.capacity_blocks import commands
from torchneuron.errors import NotFoundError, PurchaseError

REGION = "sa-east-1"
OFFERING = {"start_time": "", "region": REGION, "instance_type": "", "duration_hours": 0, "count": 0}


@pytest.fixture
def proposed(aws, config, capsys):
    """The id of the offering a search proposes to buy."""
    commands.search("", 24, REGION, 1)
    words = capsys.readouterr().out.split()
    return words[words.index("--offering-id") + 1]


def test_from_search_to_what_a_shell_reads(aws, proposed, capsys):
    commands.purchase(proposed, yes=True, save=True, **OFFERING)
    bought = capsys.readouterr()
    assert "53.64 USD" in bought.out
    reservation = bought.err.split("Bought: ")[1].split(".")[0]
    commands.list_blocks("")
    assert f"{reservation} " in capsys.readouterr().out
    commands.load_params("", "shell")
    script = f'{capsys.readouterr().out}\necho "$CAPACITY_RESERVATION_ID $CAPACITY_SUBNET_ID"'
    seen = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True).stdout.split()
    assert seen[0] == reservation
    assert seen[1].startswith("subnet-")


def test_a_block_that_cannot_be_saved_is_still_told_as_bought(aws, proposed, capsys):
    for subnet in aws.ec2().describe_subnets()["Subnets"]:
        aws.ec2().delete_subnet(SubnetId=subnet["SubnetId"])
    with pytest.raises(PurchaseError, match="is bought, but was not saved") as failed:
        commands.purchase(proposed, yes=True, save=True, **OFFERING)
    assert "create-default-subnet" in failed.value.do
    assert "invoke cb.save-params --reservation-id cr-" in failed.value.do


def test_without_saving_nothing_is_saved(aws, proposed):
    commands.purchase(proposed, yes=True, save=False, **OFFERING)
    with pytest.raises(NotFoundError):
        commands.load_params(REGION, "text")
