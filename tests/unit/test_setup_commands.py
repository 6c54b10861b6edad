"""SendCommand is sent once: a lost answer is settled by looking, never by sending again."""

import pytest
from botocore.exceptions import ReadTimeoutError

from tests.unit.setup_support import rendered, task
from torchneuron.errors import SetupError
from torchneuron.setup.commands import Commands
from torchneuron.setup.document import compile_documents


class FakeSsm:
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
def document(tmp_path):
    (document,) = compile_documents(rendered(tmp_path, [task("task-a")]))
    return document


def test_a_command_whose_answer_was_lost_is_found_again(document):
    ssm = FakeSsm(takes=True, shown_after=1)
    assert Commands(ssm, ssm, "i-1").send(document) == "command-0"
    assert len(ssm.sent) == 1


def test_one_that_cannot_be_found_is_said_to_be_unknown(document, monkeypatch):
    monkeypatch.setattr("torchneuron.setup.commands._LOOKS", (0.0, 0.0))
    ssm = FakeSsm(takes=False)
    with pytest.raises(SetupError, match="it first looks for one under way"):
        Commands(ssm, ssm, "i-1").send(document)
