"""Documents that runs left behind are deleted, unless a command under way uses them."""

from datetime import timedelta

import pytest

from tests.functional.rehearsal_support import run
from tests.functional.support import eventually
from torchneuron.core import tags as project_tags
from torchneuron.setup.document import NAME_PREFIX
from torchneuron.setup.stale_documents import delete_stale_documents

AT_ONCE = timedelta(0)


@pytest.fixture
def left(document, ssm):
    """Creates a document that a run of a project left behind."""

    def make(name, project="ours", *lines, tags=None):
        made = document(("task-a", list(lines) or ["out done"]), name=f"{NAME_PREFIX}{name}")
        marked = project_tags.for_project(project) if tags is None else tags
        ssm.add_tags_to_resource(ResourceType="Document", ResourceId=made, Tags=project_tags.to_aws(marked))
        return made

    return make


@pytest.fixture
def there(ssm):
    def names():
        found = ssm.list_documents(Filters=[{"Key": "Owner", "Values": ["Self"]}])["DocumentIdentifiers"]
        return {one["Name"] for one in found}

    return names


@pytest.mark.attack("reads the tasks of a run from a document that a dead laptop left")
def test_document_is_deleted_once_its_command_has_ended(ssm, left, there, instance):
    ended, unsent = left("ended"), left("unsent")
    run(ssm, instance, ended)
    assert delete_stale_documents(ssm, "ours") == [ended]
    assert there() == {unsent}
    assert delete_stale_documents(ssm, "ours", unsent=AT_ONCE) == [unsent]


def test_documents_of_others_are_kept_and_those_of_older_versions_deleted(ssm, left, there):
    ours, older = left("ours"), left("older", tags=project_tags.MANAGED)
    foreign = {left("foreign", "theirs"), left("untagged", tags={"Other": "tag"})}
    assert set(delete_stale_documents(ssm, "ours", unsent=AT_ONCE)) == {ours, older}
    assert there() == foreign


def test_document_in_use_is_kept_unless_its_machine_is_gone(ssm, left, instance):
    used = left("used", "ours", "wait")
    ssm.send_command(InstanceIds=[instance], DocumentName=used)
    eventually(lambda: ssm.list_command_invocations(Filters=[{"key": "Status", "value": "InProgress"}]))
    assert delete_stale_documents(ssm, "ours", unsent=AT_ONCE) == []
    assert delete_stale_documents(ssm, "ours", unsent=AT_ONCE, terminated=[instance]) == [used]
