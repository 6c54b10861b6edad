import json
import re
import subprocess

import pytest

from tests.unit.setup_support import rendered, task
from torchneuron.core.errors import InputError
from torchneuron.setup.document import DOCUMENT, MAX_BYTES, STEP, compile_plan, identities
from torchneuron.setup.plan import TaskSelection, make_plan


def documents(tasks, mode=DOCUMENT):
    return compile_plan(make_plan(tasks, {}), mode)


def test_values_are_exported_quoted_and_replaced_in_the_text(tmp_path):
    (one,) = rendered(
        tmp_path, [task("task-a", 'echo "$GREETING" {{USER}}')], {"GREETING": "it's $HOME", "USER": "coder"}
    )
    script = one.script(after=None)
    assert "export GREETING='it'\"'\"'s $HOME'\n" in script
    assert 'echo "$GREETING" coder\n' in script


def test_task_gets_only_the_variables_it_names(tmp_path):
    first, second = rendered(
        tmp_path, [task("task-a", "echo $ONE"), task("task-b", "echo ${TWO}")], {"ONE": "1", "TWO": "2"}
    )
    assert "TWO" not in first.script(after=None)
    assert "ONE" not in second.script(after=first)


def test_volatile_value_does_not_change_the_digest(tmp_path):
    variables = {"SUM": {"value": "", "volatile": True}, "OTHER": ""}
    tasks = [task("task-a", 'echo "$SUM" "$OTHER"')]
    (first,), (same,), (another,) = (
        rendered(tmp_path, tasks, variables, **given) for given in ({}, {"SUM": "s"}, {"OTHER": "s"})
    )
    assert "export SUM=s\n" in same.script(after=None)
    assert first.digest == same.digest != another.digest


def test_unsafe_value_in_the_text_is_refused(tmp_path):
    with pytest.raises(InputError, match=r'is not safe(.|\n)*"\$NAME"'):
        rendered(tmp_path, [task("task-a", "echo {{USER}}")], {"USER": "a; rm -rf /"})


@pytest.mark.attack("read a secret variable's value from the document of a run")
def test_secret_is_a_reference_and_not_replaced_in_the_text(tmp_path):
    secret = {"TOKEN": {"secret": True}}
    (one,) = rendered(tmp_path, [task("task-a", 'echo "$TOKEN"')], secret, TOKEN="given:0123456789")
    script = one.script(after=None)
    assert "  secret TOKEN given:0123456789 '' || return\n" in script
    assert "export TOKEN" not in script
    with pytest.raises(InputError, match="puts the secret TOKEN into its text"):
        rendered(tmp_path, [task("task-a", "echo {{TOKEN}}")], secret, TOKEN="given:0123456789")
    with pytest.raises(InputError, match=r"TOKEN: .*not a reference"):
        rendered(tmp_path, [task("task-a", 'echo "$TOKEN"')], secret, TOKEN="hush")


def test_digest_changes_with_the_version_of_a_secret(tmp_path):
    def digest(version):
        reference = f"secretsmanager:arn:aws:secretsmanager:sa-east-1:123456789012:secret:a-b#{version * 32}"
        variables = {"TOKEN": {"secret": True}}
        return rendered(tmp_path, [task("task-a", 'echo "$TOKEN"')], variables, TOKEN=reference)[0].digest

    assert digest("1") == digest("1") != digest("2")


def test_secret_values_are_removed_by_a_failed_task_and_by_the_last(tmp_path):
    variables = {"TOKEN": {"secret": True}}
    tasks = [task("task-a", 'echo "$TOKEN"'), task("task-b", optional=True), task("task-c", optional=True)]
    made = rendered(tmp_path, tasks, variables, TOKEN="given:0123456789")
    drops = [re.search(r" (drop=\S* last=\S*)\n", script)[1] for _, script in make_plan(made, {}).scripts()]
    assert drops == ["drop=0123456789 last=", "drop= last=", "drop=0123456789 last=1"]


def test_braces_in_the_text_are_encoded(tmp_path):
    tasks = rendered(tmp_path, [task("task-a", "docker ps --format '{{.Names}}'")])
    (document,) = documents(tasks)
    assert "{{" not in document.content


def test_braces_in_a_value_are_quoted_apart(tmp_path):
    value = "{{{.Names}}} it's"
    (one,) = rendered(tmp_path, [task("task-a", 'echo "$FORMAT"')], {"FORMAT": value})
    script = one.script(after=None)
    assert "{{" not in script
    export = next(line for line in script.splitlines() if line.startswith("  export FORMAT="))
    echoed = subprocess.run(
        ["bash", "-c", f'{export}; printf %s "$FORMAT"'], capture_output=True, text=True, check=True
    )
    assert echoed.stdout == value


def test_digest_covers_text_used_values_and_earlier_tasks(tmp_path):
    def digests(*tasks, **variables):
        return [rendered_task.digest for rendered_task in rendered(tmp_path, tasks, variables)]

    base = digests(task("task-a", "echo $X"), task("task-b", "echo b"), X="1", Y="1")
    assert digests(task("task-a", "echo $X"), task("task-b", "echo b"), X="1", Y="2") == base
    changed_value = digests(task("task-a", "echo $X"), task("task-b", "echo b"), X="2", Y="1")
    assert changed_value[0] != base[0]
    assert changed_value[1] != base[1]
    changed_text = digests(task("task-a", "echo $X"), task("task-b", "echo B"), X="1", Y="1")
    assert changed_text[0] == base[0]
    assert changed_text[1] != base[1]


def test_document_stops_at_the_first_failure(tmp_path):
    tasks = rendered(tmp_path, [task("task-a", timeoutSeconds=60), task("task-b")])
    (document,) = documents(tasks)
    content = json.loads(document.content)
    assert content["schemaVersion"] == "2.2"
    assert [step["name"] for step in content["mainSteps"]] == ["task-a", "task-b"]
    assert content["mainSteps"][0]["inputs"]["onFailure"] == "exit"
    assert content["mainSteps"][0]["inputs"]["timeoutSeconds"] == "60"
    assert content["mainSteps"][0]["inputs"]["runCommand"][0] == "#!/bin/bash"


def test_step_requires_the_mark_of_the_step_before_it_in_the_same_document(tmp_path):
    tasks = rendered(tmp_path, [task("task-a"), task("task-b"), task("task-c")])
    (document,) = documents(tasks[1:])
    first, second = ("\n".join(s["inputs"]["runCommand"]) for s in json.loads(document.content)["mainSteps"])
    assert tasks[0].digest not in first
    assert f"after=task-b after_digest={tasks[1].digest}" in second


def test_many_tasks_become_several_documents_in_order(tmp_path):
    tasks = rendered(tmp_path, [task(f"task-{number}", "#" + "x" * 20_000) for number in range(7)])
    made = documents(tasks)
    assert len(made) > 1
    assert all(size(document) <= MAX_BYTES for document in made)
    assert [each.id for document in made for each in document.tasks] == [each.id for each in tasks]


def test_task_too_large_for_a_document_is_refused(tmp_path):
    large = [task("task-a", "#" + "x" * 70_000), task("task-b"), task("task-c", "#" + "x" * 80_000)]
    for mode in (DOCUMENT, STEP):
        with pytest.raises(InputError, match=r"larger(.|\n)*task-a: \d+ KB(.|\n)*task-c: \d+ KB"):
            documents(rendered(tmp_path, large), mode)


def size(request):
    """As SSM counts it: the content, and the values of the parameters."""
    values = [value for values in request.parameters.values() for value in values]
    return sum(len(text.encode()) for text in (request.content, *values))


def test_step_mode_reserves_room_for_amazons_document(tmp_path):
    (least,) = documents(rendered(tmp_path, [task("task-a", "#")]))
    rest = MAX_BYTES - size(least)
    nearly = rendered(tmp_path, [task("task-a", "#" + "x" * rest)])
    assert size(documents(nearly)[0]) == MAX_BYTES
    with pytest.raises(InputError, match="larger"):
        documents(nearly, STEP)


def test_all_unsafe_places_are_reported_at_once(tmp_path):
    tasks = [task("task-a", "echo {{USER}}"), task("task-b", onlyIf="[ {{USER}} ]"), task("task-c", "echo {{T}}")]
    with pytest.raises(InputError, match=r"tasks\[0\](.|\n)*tasks\[1\](.|\n)*tasks\[2\].*secret T"):
        rendered(tmp_path, tasks, {"USER": "a b", "T": {"secret": True}}, T="given:0123456789")


def test_digest_leaves_out_what_does_not_affect_a_finished_task(tmp_path):
    def digest(**more):
        return rendered(tmp_path, [task("task-a", "echo a", **more)])[0].digest

    assert digest() == digest(retries=3, timeoutSeconds=5, optional=True, description="other")
    assert digest() != digest(onlyIf="true")


def test_optional_step_does_not_stop_the_run_and_later_steps_do_not_require_it(tmp_path):
    tasks = rendered(tmp_path, [task("task-a"), task("task-b", optional=True), task("task-c")])
    (document,) = documents(tasks)
    first, second, third = (step["inputs"] for step in json.loads(document.content)["mainSteps"])
    assert [inputs.get("onFailure") for inputs in (first, second, third)] == ["exit", None, "exit"]
    assert any(line.startswith("after=task-a ") for line in third["runCommand"])


def test_step_mode_sends_the_same_scripts_by_amazons_document(tmp_path):
    tasks = rendered(tmp_path, [task("task-a", timeoutSeconds=60), task("task-b", "echo '{{.Names}}'")])
    (document,) = documents(tasks)
    steps = [step["inputs"]["runCommand"] for step in json.loads(document.content)["mainSteps"]]
    made = documents(tasks, STEP)
    assert [request.parameters["commands"] for request in made] == steps
    assert made[0].parameters["executionTimeout"] == ["60"]
    assert not any("{{" in line for request in made for line in request.parameters["commands"])


def test_tasks_of_a_command_are_read_from_its_parameters(tmp_path):
    tasks = rendered(tmp_path, [task("task-a"), task("task-b")])
    (document,) = documents(tasks)
    assert identities(document.parameters) == {each.id: each.digest for each in tasks}
    step = documents(tasks, STEP)[1]
    assert identities(step.parameters) == {"task-b": tasks[1].digest}
    assert identities({"commands": ["echo hello"]}) == identities({}) == {}


def test_only_the_first_script_installs_the_library_and_removes_marks(tmp_path):
    tasks = rendered(tmp_path, [task("task-a"), task("task-b")])
    first, second = (script for _, script in make_plan(tasks, {}, TaskSelection(clean=True)).scripts())
    assert "run-task-" in first.partition("task=task-a")[0]
    assert "run-task-" not in second.partition("task=task-b")[0]
    assert "forget='task-a task-b'" in first
    assert "forget=''" in second
