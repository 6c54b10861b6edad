"""What `setup_tasks/` ships: the task file holds by its own schema, and its scripts are fit to be sent."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from torchneuron.core import config
from torchneuron.setup import code_server, definition, library
from torchneuron.setup.document import DOCUMENT, compile_plan
from torchneuron.setup.plan import TaskSelection, make_plan
from torchneuron.setup.references import Reference
from torchneuron.setup.render import render

FOLDER = Path(__file__).parents[2] / "setup_tasks"
SCHEMA = json.loads((FOLDER / "task-file.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
TASK_FILE = json.loads((FOLDER / "code-server-setup.json").read_text())
SCRIPTS = sorted((FOLDER / "scripts").iterdir())
IDS = [
    "01-configure-needrestart",
    "02-cleanup-neuron-repo",
    "03-wait-for-dpkg-lock",
    "04-install-base-packages",
    "05-create-user",
    "06-configure-sudo",
    "07-create-home-dir",
    "08-configure-profile",
    "09-install-code-server",
    "10-configure-code-server",
    "11-configure-vscode-settings",
    "12-configure-nginx",
    "13-create-systemd-service",
    "14-enable-and-start-service",
    "15-install-vscode-extensions",
    "16-create-code-command",
    "17-verify-installation",
]
USERS_EXAMPLE = {
    "variables": {
        "USER": "coder",
        "PASSWORD": "",
        "HOME_DIR": "/work",
        "INTERNAL_PORT": "8080",
        "NGINX_PORT": "80",
    },
    "tasks": [
        {
            "id": "18-custom-task",
            "name": "Custom Task",
            "description": "…",
            "commands": ["echo 'Running custom task for user: {{USER}}'"],
        }
    ],
}
TASK = {"id": "a", "name": "A", "commands": ["true"]}

by_name = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def matches(name: str, value: str) -> bool:
    """Whether `value` passes the pattern the task file sets for variable `name`."""
    schema = {"type": "string", "pattern": TASK_FILE["variables"][name]["pattern"]}
    return Draft202012Validator(schema).is_valid(value)


def test_schema_is_valid():
    Draft202012Validator.check_schema(SCHEMA)


def test_task_file_is_valid():
    assert [error.message for error in VALIDATOR.iter_errors(TASK_FILE)] == []


def test_users_example_is_valid():
    assert [error.message for error in VALIDATOR.iter_errors(USERS_EXAMPLE)] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"tasks": []},
        {"tasks": [TASK], "taks": []},
        {"tasks": [TASK | {"id": "a b"}]},
        {"tasks": [TASK | {"id": ""}]},
        {"tasks": [TASK | {"script": "a.sh"}]},
        {"tasks": [{"id": "a", "name": "A"}]},
        {"tasks": [TASK | {"commands": []}]},
        {"tasks": [TASK | {"commands": ["", "  "]}]},
        {"tasks": [TASK | {"comands": ["true"]}]},
        {"tasks": [TASK | {"timeoutSeconds": 4}]},
        {"tasks": [TASK | {"timeoutSeconds": 172801}]},
        {"tasks": [TASK | {"timeoutSeconds": 7.5}]},
        {"tasks": [TASK | {"retries": -1}]},
        {"tasks": [TASK | {"onlyIf": " "}]},
        {"tasks": [TASK | {"optional": "yes"}]},
        {"tasks": [{"id": "a", "name": "A", "script": "/etc/passwd"}]},
        {"tasks": [{"id": "a", "name": "A", "script": "scripts/../../a.sh"}]},
        {"tasks": [TASK], "variables": {"1A": "x"}},
        {"tasks": [TASK], "variables": {"A": 1}},
        {"tasks": [TASK], "variables": {"A": {"default": "x"}}},
        {"tasks": [TASK], "variables": {"A": {"pattern": "("}}},
        {"tasks": [TASK], "variables": {"A": {"value": "x", "secret": True}}},
    ],
    ids=json.dumps,
)
def test_schema_refuses(wrong):
    assert not VALIDATOR.is_valid(wrong)


def test_tasks_are_in_the_products_order():
    assert [task["id"] for task in TASK_FILE["tasks"]] == IDS


def test_each_script_is_used_by_the_task_of_its_name():
    assert [task["script"] for task in TASK_FILE["tasks"]] == [f"scripts/{name}.sh" for name in IDS]
    assert [script.name for script in SCRIPTS] == [f"{name}.sh" for name in IDS]


def test_no_secret_has_a_value_in_the_file():
    secret = {name for name, rules in TASK_FILE["variables"].items() if rules.get("secret")}
    assert secret == {"PASSWORD"}


def test_default_values_match_their_patterns():
    values = {name: rules["value"] for name, rules in TASK_FILE["variables"].items() if "value" in rules}
    assert len(values) == 13
    assert [name for name, value in values.items() if not matches(name, value)] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("USER", "root"),
        ("USER", "a b"),
        ("USER", "$(id)"),
        ("HOME_DIR", "work"),
        ("HOME_DIR", "/"),
        ("HOME_DIR", "/etc"),
        ("HOME_DIR", "/work/../etc"),
        ("HOME_DIR", "/work/'"),
        ("DATA_VOLUME", "vol-"),
        ("DATA_VOLUME", "vol-0123456789abcdef01"),
        ("DATA_VOLUME", "/dev/sdf"),
        ("DATA_VOLUME", "vol-01234567;"),
        ("NGINX_PORT", "0"),
        ("NGINX_PORT", "80;"),
        ("NGINX_LISTEN", "0.0.0.0"),
        ("CODE_SERVER_SHA256", "a" * 64),
        ("CODE_SERVER_SHA256", f"amd64={'a' * 63}"),
        ("EXTENSIONS", "publisher"),
        ("EXTENSIONS", "a.b; id"),
        ("EXTENSIONS", "a.b --force"),
        ("TLS", "on"),
        ("TLS", ""),
        ("TLS_CERTIFICATE", "mine.pem"),
        ("TLS_CERTIFICATE", "/etc/ssl/a b.pem"),
        ("TLS_KEY", "/etc/ssl/../key"),
        ("TLS_KEY", "/etc/ssl/key;"),
        ("CODE_SERVER_VERSION", "latest"),
    ],
)
def test_unsafe_value_is_refused(name, value):
    assert not matches(name, value)


@by_name
def test_script_is_executable_and_strict(script):
    lines = script.read_text().splitlines()
    assert script.stat().st_mode & 0o111 == 0o111
    assert lines[0] == "#!/bin/bash"
    assert "set -euo pipefail" in lines


@by_name
def test_script_ends_with_a_summary_on_stderr(script):
    last = script.read_text().splitlines()[-1]
    assert last.startswith('echo "')
    assert last.endswith('" >&2')


@by_name
def test_script_has_no_braces_that_ssm_would_replace(script):
    assert "{{" not in script.read_text()


@by_name
def test_password_is_not_an_argument_of_a_program(script):
    """Only the shell's own constructs may touch it, and nothing that is run inherits it."""
    inside_the_shell = ("chpasswd <<<", "printf '%s\\n' ", "if [[ ", "export -n PASSWORD")
    lines = [line for line in script.read_text().splitlines() if "PASSWORD" in line]
    for line in lines:
        assert any(construct in line for construct in inside_the_shell), line
    assert not lines or lines[0].startswith("export -n PASSWORD ")


@pytest.mark.parametrize(
    "command",
    [["bash", "-n"], ["shellcheck", "--shell=bash", "--severity=style"]],
    ids=lambda words: words[0],
)
def test_scripts_pass_the_linter(command):
    assert shutil.which(command[0]), f"{command[0]} is missing: apt-get install {command[0]}"
    checks = [subprocess.run([*command, script], capture_output=True, text=True) for script in SCRIPTS]
    assert "".join(check.stdout + check.stderr for check in checks) == ""
    assert all(check.returncode == 0 for check in checks)


@pytest.mark.parametrize("script", [*SCRIPTS, *library.FILES], ids=lambda path: path.stem)
def test_script_without_comments_parses_the_same(script):
    def parsed(text):
        done = subprocess.run(["bash", "--pretty-print", "/dev/stdin"], input=text, capture_output=True, text=True)
        return [line for line in done.stdout.splitlines() if line]

    text = script.read_text()
    assert parsed(library.without_comments(text)) == parsed(text) != []
    assert len(library.without_comments(text)) < len(text)


def test_all_steps_fit_into_one_command_document():
    task_file = definition.load(code_server.TASK_FILE)
    settings = config.load(config.PROJECT_ROOT / "config.json")
    # The longest values in use: a name with the provider's 26 digits, a data volume, a certificate's paths.
    secret = f"arn:aws:secretsmanager:ap-southeast-4:123456789012:secret:torchneuron-code-server-{'0' * 26}-abcdef"
    password = Reference("secretsmanager", secret, "00000000-0000-4000-8000-000000000000")
    values = code_server.variables(settings, password, data_volume="vol-0123456789abcdef0")
    values |= {"TLS": "given", "TLS_CERTIFICATE": f"/etc/{'c' * 60}", "TLS_KEY": f"/etc/{'k' * 60}"}
    tasks = render(task_file, definition.fill(task_file, values))
    (request,) = compile_plan(make_plan(tasks, {}, TaskSelection(clean=True)), DOCUMENT)
    assert len(request.content.encode()) < 60_000


def test_only_the_extensions_are_optional():
    assert [task["id"] for task in TASK_FILE["tasks"] if task.get("optional")] == ["15-install-vscode-extensions"]
