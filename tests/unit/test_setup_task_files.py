"""Any task file at all: refused with its problems named, or taken and sent as it was written."""

import json
import re
import shlex
import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from torchneuron.core.errors import InputError
from torchneuron.setup import definition
from torchneuron.setup.document import DOCUMENT, MAX_BYTES, STEP, compile_plan, identities
from torchneuron.setup.plan import make_plan
from torchneuron.setup.render import render

NAMES = st.sampled_from(["A", "B", "LONG_NAME", "task", "marks", "PATH"])
IDS = st.text("abcXYZ019-_", min_size=4, max_size=12)
# Printable text of all kinds, and what shells, SSM and JSON make something of.
TEXT = st.text(st.characters(exclude_categories=["C"]), max_size=40) | st.sampled_from(
    ["{{A}}", "{{ B }}", "{{.Names}}", "'", '"', "$A", "`id`", "\\", "END", "<<'X'", "\t", "{{{", "}}"]
)
VALUES = st.text(st.characters(exclude_categories=["C"]), max_size=20)
TASKS = st.fixed_dictionaries(
    {"id": IDS, "name": st.text(min_size=1, max_size=20), "commands": st.lists(TEXT, min_size=1, max_size=5)},
    optional={
        "description": TEXT,
        "timeoutSeconds": st.integers(5, 172800),
        "retries": st.integers(0, 20),
        "optional": st.booleans(),
        "onlyIf": TEXT.filter(str.strip),
    },
)
FILES = st.fixed_dictionaries(
    {"variables": st.dictionaries(NAMES, VALUES, max_size=4), "tasks": st.lists(TASKS, min_size=1, max_size=6)}
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["tasks", "variables", "id", "name", "commands", "script", "onlyIf"]), inner)
    ),
    max_leaves=15,
)


def load(folder, document):
    path = folder / "tasks.json"
    path.write_text(json.dumps(document))
    return definition.load(path)


def values_of(script):
    """What the script's own `values` function exports, as bash has it."""
    function = re.search(r"^values\(\) \{\n.*?^\}\n", script, re.DOTALL | re.MULTILINE)
    done = subprocess.run(["bash", "-c", f"{function[0]}\nvalues; env -0"], capture_output=True, check=True)
    return dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if "=" in entry)


def text_of(script):
    """What the script's own `text` function prints."""
    start, end = script.index("text() {\n"), script.rindex("\n}\n")
    done = subprocess.run(["bash", "-c", f"{script[start:end]}\n}}\ntext"], capture_output=True, check=True)
    return done.stdout.decode()


@settings(max_examples=150, deadline=None)
@given(document=FILES)
def test_texts_and_values_of_a_valid_file_arrive_unchanged(document, tmp_path_factory):
    try:
        task_file = load(tmp_path_factory.getbasetemp(), document)
        tasks = render(task_file, definition.fill(task_file, {}))
        plan = make_plan(tasks, {})
        requests = compile_plan(plan, DOCUMENT)
    except InputError:
        return
    assert all(len(request.content.encode()) <= MAX_BYTES for request in requests)
    assert [task.id for request in requests for task in request.tasks] == [task["id"] for task in document["tasks"]]
    assert all("{{" not in (request.content or "") for request in requests)
    assert {k: v for request in requests for k, v in identities(request.parameters).items()} == {
        task.id: task.digest for task in tasks
    }
    scripts = [script for _, script in plan.scripts()]
    steps = ["\n".join(request.parameters["commands"]) + "\n" for request in compile_plan(plan, STEP)]
    assert steps == scripts
    for task, script in zip(tasks, scripts, strict=True):
        assert text_of(script) == task.body + "\n"
        seen = values_of(script)
        assert {name: seen[name] for name in task.values} == dict(task.values)
        assert shlex.split(re.search(r"^only_if=(.*?)\nvalues\(\)", script, re.DOTALL | re.MULTILINE)[1]) == [
            task.only_if
        ]


@settings(max_examples=300, deadline=None)
@given(document=ANYTHING)
def test_invalid_file_is_refused_with_its_problems(document, tmp_path_factory):
    problems = ""
    try:
        load(tmp_path_factory.getbasetemp(), document)
    except InputError as refused:
        problems = refused.why
    # Nothing this makes has ids and names of the length that a task needs.
    assert problems


@settings(max_examples=100, deadline=None)
@given(document=FILES, number=st.integers(0, 5), change=st.sampled_from(["commands", "onlyIf"]))
def test_change_affects_digests_from_its_task_on(document, number, change, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    number %= len(document["tasks"])
    changed = json.loads(json.dumps(document))
    changed["tasks"][number][change] = ["echo changed"] if change == "commands" else "echo changed"
    try:
        before, after = (
            render(load(folder, version), definition.fill(load(folder, version), {})) for version in (document, changed)
        )
    except InputError:
        return
    same = [old.digest == new.digest for old, new in zip(before, after, strict=True)]
    assert same == [True] * number + [False] * (len(same) - number)
