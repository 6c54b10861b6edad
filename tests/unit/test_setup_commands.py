"""SendCommand is sent once: a lost answer is settled by looking, never by sending again."""

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.fakes import StandIn
from tests.unit.setup_support import rendered, task
from torchneuron.core.errors import InputError, SetupError
from torchneuron.setup.document import DOCUMENT, Document, compile_plan
from torchneuron.setup.plan import make_plan
from torchneuron.setup.run_command import CommandTargets, RunCommand, check_rates

DOCUMENT_OF_OURS = Document("torchneuron-setup-p-1", "1", "hash")


class FakeSsm(StandIn):
    """Takes SendCommand and loses the answer; shows what it took after `shown_after` looks."""

    def __init__(self, *, takes, shown_after=0):
        self.takes = takes
        self.shown_after = shown_after
        self.sent = []
        self.looks = 0

    def send_command(self, **request):
        if self.takes:
            self.sent.append({**request, "CommandId": f"command-{len(self.sent)}"})
        raise ReadTimeoutError(endpoint_url="https://ssm")

    def get_paginator(self, operation):
        assert operation == "list_commands"
        return self

    def paginate(self, **request):
        self.looks += 1
        return [{"Commands": self.sent if self.looks > self.shown_after else []}]


@pytest.fixture
def request_(tmp_path):
    plan = make_plan(rendered(tmp_path, [task("task-a")]), {})
    (request,) = compile_plan(plan, DOCUMENT)
    return request


def test_command_whose_response_was_lost_is_found_by_its_comment(request_):
    ssm = FakeSsm(takes=True, shown_after=1)
    assert RunCommand(ssm, ssm, "p").send(request_, DOCUMENT_OF_OURS, CommandTargets(("i-1",))) == "command-0"
    assert len(ssm.sent) == 1


def test_command_that_cannot_be_found_is_an_error(request_, monkeypatch):
    monkeypatch.setattr("torchneuron.setup.run_command._LOOKS", (0.0, 0.0))
    ssm = FakeSsm(takes=False)
    with pytest.raises(SetupError, match="it first looks for a command under way"):
        RunCommand(ssm, ssm, "p").send(request_, DOCUMENT_OF_OURS, CommandTargets(("i-1",)))


class ForgetfulSsm:
    """Answers as the API reference of ListCommandInvocations has it for an id that is not known."""

    def get_paginator(self, operation):
        return self

    def paginate(self, **request):
        raise ClientError({"Error": {"Code": "InvalidCommandId"}}, "ListCommandInvocations")


@pytest.mark.attack("leaves a state file with an invalid command id")
@pytest.mark.parametrize(("ssm", "command_id"), [(None, "no id"), (ForgetfulSsm(), "0" * 36)], ids=["botocore", "SSM"])
def test_invalid_command_id_has_no_invocations(ssm, command_id):
    ssm = ssm or boto3.client("ssm", region_name="sa-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    assert RunCommand(ssm, ssm, "p").invocations(command_id, []) == {}


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (("0", ""), "--max-concurrency '0'"),
        (("ten", ""), "--max-concurrency 'ten'"),
        (("101%", ""), "more than 100%"),
        (("", "-1"), "--max-errors '-1'"),
        (("", "1.5%"), "--max-errors '1.5%'"),
    ],
)
def test_invalid_rates_are_refused(rates, message):
    with pytest.raises(InputError, match=message):
        check_rates(*rates)


def test_valid_rates_are_accepted():
    for rates in (("", ""), ("1", "0"), ("100%", "0%"), ("64", "10%")):
        check_rates(*rates)
