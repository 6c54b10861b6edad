import json
import subprocess

import pytest

from tests.unit.setup_support import rendered, task
from torchneuron.errors import InputError
from torchneuron.setup.document import MAX_BYTES, compile_documents
from torchneuron.setup.render import MASK


def test_values_arrive_quoted_and_in_the_text(tmp_path):
    (one,) = rendered(
        tmp_path, [task("task-a", 'echo "$GREETING" {{USER}}')], {"GREETING": "it's $HOME", "USER": "coder"}
    )
    script = one.script(after=None)
    assert "export GREETING='it'\"'\"'s $HOME'\n" in script
    assert 'echo "$GREETING" coder\n' in script


def test_a_task_is_given_only_the_variables_it_names(tmp_path):
    first, second = rendered(
        tmp_path, [task("task-a", "echo $ONE"), task("task-b", "echo ${TWO}")], {"ONE": "1", "TWO": "2"}
    )
    assert "TWO" not in first.script(after=None)
    assert "ONE" not in second.script(after=first)


def test_an_unsafe_value_in_the_text_is_refused(tmp_path):
    with pytest.raises(InputError, match=r'not safe.*\n.*"\$USER"'):
        rendered(tmp_path, [task("task-a", "echo {{USER}}")], {"USER": "a; rm -rf /"})


def test_a_secret_is_masked_and_never_put_into_the_text(tmp_path):
    secret = {"TOKEN": {"secret": True}}
    (one,) = rendered(tmp_path, [task("task-a", 'echo "$TOKEN"')], secret, TOKEN="hush")
    assert "hush" in one.script(after=None)
    assert "hush" not in one.script(after=None, masked=True)
    assert MASK in one.script(after=None, masked=True)
    with pytest.raises(InputError, match="puts the secret TOKEN into its text"):
        rendered(tmp_path, [task("task-a", "echo {{TOKEN}}")], secret, TOKEN="hush")


def test_braces_meant_for_another_tool_never_reach_ssm(tmp_path):
    tasks = rendered(tmp_path, [task("task-a", "docker ps --format '{{.Names}}'")])
    (document,) = compile_documents(tasks)
    assert "{{" not in document.content


def test_braces_in_a_value_never_reach_ssm_and_arrive_whole(tmp_path):
    value = "{{{.Names}}} it's"
    (one,) = rendered(tmp_path, [task("task-a", 'echo "$FORMAT"')], {"FORMAT": value})
    script = one.script(after=None)
    assert "{{" not in script
    export = next(line for line in script.splitlines() if line.startswith("export FORMAT="))
    echoed = subprocess.run(
        ["bash", "-c", f'{export}; printf %s "$FORMAT"'], capture_output=True, text=True, check=True
    )
    assert echoed.stdout == value


def test_a_digest_covers_the_text_the_values_used_and_all_before(tmp_path):
    def digests(*tasks, **variables):
        return [one.digest for one in rendered(tmp_path, tasks, variables)]

    base = digests(task("task-a", "echo $X"), task("task-b", "echo b"), X="1", Y="1")
    assert digests(task("task-a", "echo $X"), task("task-b", "echo b"), X="1", Y="2") == base
    changed_value = digests(task("task-a", "echo $X"), task("task-b", "echo b"), X="2", Y="1")
    assert changed_value[0] != base[0]
    assert changed_value[1] != base[1]
    changed_text = digests(task("task-a", "echo $X"), task("task-b", "echo B"), X="1", Y="1")
    assert changed_text[0] == base[0]
    assert changed_text[1] != base[1]


def test_a_document_stops_at_the_first_failure_and_is_named_by_its_content(tmp_path):
    tasks = rendered(tmp_path, [task("task-a", timeoutSeconds=60), task("task-b")])
    (document,) = compile_documents(tasks)
    (again,) = compile_documents(tasks)
    (other,) = compile_documents(tasks[1:])
    assert document.name == again.name != other.name
    content = json.loads(document.content)
    assert content["schemaVersion"] == "2.2"
    assert [step["name"] for step in content["mainSteps"]] == ["task-a", "task-b"]
    assert content["mainSteps"][0]["inputs"]["onFailure"] == "exit"
    assert content["mainSteps"][0]["inputs"]["timeoutSeconds"] == "60"
    assert content["mainSteps"][0]["inputs"]["runCommand"][0] == "#!/bin/bash"


def test_a_step_asks_for_the_mark_of_the_one_before_it_in_its_document_only(tmp_path):
    tasks = rendered(tmp_path, [task("task-a"), task("task-b"), task("task-c")])
    (document,) = compile_documents(tasks[1:])
    first, second = ("\n".join(s["inputs"]["runCommand"]) for s in json.loads(document.content)["mainSteps"])
    assert tasks[0].digest not in first
    assert f'"$marks/task-b.done" 2>/dev/null)" != {tasks[1].digest}' in second


def test_many_tasks_become_several_documents_in_order(tmp_path):
    tasks = rendered(tmp_path, [task(f"task-{number}", "#" + "x" * 20_000) for number in range(7)])
    documents = compile_documents(tasks)
    assert len(documents) > 1
    assert all(len(document.content.encode()) <= MAX_BYTES for document in documents)
    assert [one.id for document in documents for one in document.tasks] == [one.id for one in tasks]


def test_a_task_too_large_for_a_document_is_refused(tmp_path):
    with pytest.raises(InputError, match="Task task-a is larger"):
        compile_documents(rendered(tmp_path, [task("task-a", "#" + "x" * 70_000)]))
