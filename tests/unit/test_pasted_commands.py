"""Every command that a message offers for pasting quotes the values in it: read from the sources."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.fakes import StandIn
from torchneuron.connectivity import remedies
from torchneuron.deploy import orphans

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "torchneuron").rglob("*.py"))
# A value that follows the words of a command, with nothing between that ends it. \0 stands for an earlier value.
IN_A_COMMAND = re.compile(r"\b(?:invoke|aws|terraform|mv|rm) (?:[^\s.,:;()]*[ =])?(?:[\w.=/\0-]*[\w=/\0-][ =,])*\Z")
QUOTING = {"quoted", "command", "text.command", "shlex.join", "shlex.quote"}
"""text.quoted, text.command, shlex.join, shlex.quote."""
HARMLESS = re.compile(r"(.*\.)?(region|_?[A-Z][A-Z_]*)")
"""A region is one that botocore knows, else `Aws` has refused it; constants are our own."""
COMPOSED = {"named", "reservation_options", "self._in_a_shell", "aside"}
"""Options and paths that are quoted where they are put together."""
OWN = {"needed", "config.nginx_port", "verb", "operation", "arguments[0]"}
"""Numbers, and names of operations in this project's own code."""


def is_quoted(value):
    name = ast.unparse(value.func) if isinstance(value, ast.Call) else ""
    text = ast.unparse(value)
    return (
        name in QUOTING
        or text.startswith("' '.join(map(quoted,")
        or text in COMPOSED | OWN
        or bool(HARMLESS.fullmatch(text))
    )


def unquoted(source):
    """The f-strings of a source that put a value into a command as it is."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        text = ""
        for part in node.values:
            if not isinstance(part, ast.FormattedValue):
                text += str(getattr(part, "value", ""))
                continue
            if IN_A_COMMAND.search(text) and not is_quoted(part.value):
                yield f"line {part.lineno}: {ast.unparse(part.value)} after {text[-50:]!r}"
            text += "\0"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('f"invoke info -i {instance_id} -r {region}"', 1),
        ('f"See it later: invoke info -i {quoted(one)} --tag {tag}"', 1),
        ("f\"{command('invoke info', '-i', one)} shows {what}\"", 0),
        ('f"See invoke info. {why}"', 0),
        ('f"aws ec2 delete-volume --volume-id {volume}"', 1),
    ],
)
def test_an_unquoted_value_is_found(source, found):
    assert len(list(unquoted(source))) == found


@pytest.mark.attack("A tag, ARN or parameter with shell syntax stands in a command to paste")
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "torchneuron")))
def test_values_in_commands_to_paste_are_quoted(path):
    assert list(unquoted(path.read_text())) == []


HOSTILE = "x; rm -rf ~ `id` $(id)\n\x1b]52;c;aGk=\x07"


class FakeAws(StandIn):
    region = "sa-east-1"


@pytest.mark.attack("An instance or a secret has a name with shell syntax, a newline and a control sequence")
def test_a_hostile_value_stays_one_word_of_the_command():
    lines = [
        *remedies.start("sa-east-1", HOSTILE),
        remedies.describe_instances("sa-east-1", HOSTILE),
        orphans._command(FakeAws(), "secretsmanager delete-secret", "--secret-id", HOSTILE),
    ]
    for line in lines:
        assert line.isprintable()
        start = line.index("aws ")
        script = f"aws() {{ for word; do printf '%s\\0' \"$word\"; done; }}; {line[start:]}"
        words = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.decode().split("\0")
        assert HOSTILE in words
