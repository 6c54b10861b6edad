import pytest

from tests.unit.setup_support import task, write_task_file
from torchneuron.core.errors import InputError
from torchneuron.setup import definition

REFERENCE = "ssm:/team/token"


def test_users_example_loads(tmp_path):
    path = write_task_file(
        tmp_path,
        [
            {
                "id": "18-custom-task",
                "name": "Custom Task",
                "description": "…",
                "commands": ["echo 'Running custom task for user: {{USER}}'"],
            }
        ],
        {"USER": "coder", "PASSWORD": "", "HOME_DIR": "/work", "INTERNAL_PORT": "8080", "NGINX_PORT": "80"},
    )
    loaded = definition.load(path)
    assert loaded.tasks[0].text == "echo 'Running custom task for user: {{USER}}'"
    assert loaded.variables["PASSWORD"].value == ""


def test_all_problems_are_reported_at_once(tmp_path):
    path = write_task_file(
        tmp_path,
        [
            task("first", "echo {{USR}}"),
            task("first"),
            task("third", "  "),
            {"id": "fourth", "name": "fourth", "description": "", "script": "missing.sh"},
        ],
        {"USER": "coder"},
    )
    with pytest.raises(InputError) as refused:
        definition.load(path)
    message = str(refused.value)
    assert "tasks[0].commands[0]: {{USR}}: unknown name 'USR'; did you mean 'USER'?" in message
    assert "tasks[1].id: 'first' is also the id of tasks[0]" in message
    assert "tasks[2].commands" in message
    assert "tasks[3].script: the file 'missing.sh' does not exist" in message


def test_unknown_keys_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"tasks\[0\].*comands.*did you mean 'commands'"):
        definition.load(write_task_file(tmp_path, [{"id": "task-a", "name": "a", "comands": ["true"]}]))


def test_id_too_short_for_ssm_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"tasks\[0\]\.id: invalid value 'one': .*at least 4"):
        definition.load(write_task_file(tmp_path, [task("one")]))


@pytest.mark.attack("ends a task's id or a variable's name with a newline")
def test_ids_and_names_that_end_with_a_newline_are_refused(tmp_path):
    path = write_task_file(tmp_path, [task("task-a\n")], {"USER\n": "coder"})
    with pytest.raises(InputError) as refused:
        definition.load(path)
    message = str(refused.value)
    assert "tasks[0].id: invalid value 'task-a\\n'" in message
    assert "'USER\\n'" in message


@pytest.mark.attack("gives a variable with a pattern a value that ends with a newline")
def test_value_that_ends_with_a_newline_is_refused(tmp_path):
    loaded = definition.load(write_task_file(tmp_path, [task("task-a")], {"USER": {"pattern": "^[a-z]+$"}}))
    with pytest.raises(InputError, match="USER: must be one line"):
        definition.fill(loaded, {"USER": "coder\n"})


def scripted(name):
    return {"id": "task-a", "name": "a", "script": name}


@pytest.mark.attack("makes a task file send another file of the laptop through a symbolic link")
@pytest.mark.parametrize("link", ["a.sh", "scripts"])
def test_script_linked_from_outside_the_folder_is_refused(tmp_path, link):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "a.sh").write_text("echo the private key")
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / link).symlink_to(tmp_path / "secrets" / ("a.sh" if link == "a.sh" else ""))
    script = link if link == "a.sh" else f"{link}/a.sh"
    with pytest.raises(InputError, match=rf"tasks\[0\].script: '{script}' is a symbolic link to a place outside"):
        definition.load(write_task_file(folder, [scripted(script)]))


def test_links_within_the_folder_and_to_the_folder_are_followed(tmp_path):
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "b.sh").write_text("echo b")
    (folder / "a.sh").symlink_to("b.sh")
    write_task_file(folder, [scripted("a.sh")])
    (tmp_path / "mine").symlink_to(folder)
    assert definition.load(tmp_path / "mine" / "tasks.json").tasks[0].text == "echo b"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "TOKEN: has no value"),
        ({"TOKEN": REFERENCE, "USER": "Not A User"}, "'Not A User' does not match"),
        ({"TOKEN": REFERENCE, "USR": "y"}, "did you mean 'USER'"),
        ({"TOKEN": REFERENCE, "USER": "two\nlines"}, "USER: must be one line"),
        ({"TOKEN": "wrong"}, "TOKEN: its value is not a reference"),
        ({"TOKEN": "ssm:/a b"}, "TOKEN: its value is not a reference"),
        ({"TOKEN": "secretsmanager:arn:aws:secretsmanager:x"}, "TOKEN: its value is not a reference"),
    ],
)
def test_invalid_values_are_refused_and_secrets_not_shown(tmp_path, given, message):
    loaded = definition.load(
        write_task_file(
            tmp_path,
            [task("task-a", 'echo "$USER"')],
            {"USER": {"value": "coder", "pattern": "[a-z]+"}, "TOKEN": {"secret": True, "pattern": "x?"}},
        )
    )
    with pytest.raises(InputError) as refused:
        definition.fill(loaded, given)
    assert message in str(refused.value)
    assert "wrong" not in str(refused.value)


def test_unreadable_shell_texts_and_read_only_variables_are_refused(tmp_path):
    (tmp_path / "empty.sh").write_text("\n")
    (tmp_path / "latin.sh").write_bytes(b"echo \xe4")
    tasks = [
        task("first", "echo a\r"),
        task("second", "true", "echo {{B}}"),
        {"id": "third", "name": "third", "script": "empty.sh"},
        {"id": "fourth", "name": "fourth", "script": "latin.sh"},
        task("fifth", onlyIf="[ {{A}} ]"),
    ]
    with pytest.raises(InputError) as refused:
        definition.load(write_task_file(tmp_path, tasks, {"UID": "1", "P": {"pattern": "("}}))
    for message in (
        "variables.UID: this variable is read-only in bash",
        "variables.P.pattern: '(' is not a regular expression",
        "tasks[0].commands[0]: has carriage returns",
        "tasks[1].commands[1]: {{B}}",
        "tasks[2].script: 'empty.sh' is empty",
        "tasks[3].script: 'latin.sh' is not UTF-8 text",
        "tasks[4].onlyIf: {{A}}",
    ):
        assert message in str(refused.value)
