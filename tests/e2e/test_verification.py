"""The verification task reports every broken part of the installation: each part is broken in turn."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import client
from tests.e2e.own_host import scripts
from torchneuron.setup.references import Reference

UNIT = "code-server@coder.service"
CONFIG = "/work/.config/code-server/config.yaml"
DATA = "/work/.local/share/code-server"
SITE = "/etc/nginx/sites-available/code-server"
ENABLED = "/etc/nginx/sites-enabled"
NO_LOGIN = "nginx does not serve the login page on port 80"
NO_WEBSOCKETS = "nginx does not pass websockets on"
EDITOR_UP = "until curl -fso /dev/null http://127.0.0.1:8080/healthz; do sleep 0.1; done"


@dataclass(frozen=True)
class Piece:
    """A part of the installation: the command that breaks it, and the expected messages.

    Afterwards the file at `backup` is restored, and `fixes` undoes the rest.
    """

    breaks: str
    messages: tuple[str, ...]
    backup: str = ""
    fixes: str = "true"


def file(path: str, breaks: str, *messages: str, then: str = "true") -> Piece:
    """A piece that is a file. `breaks` is a command that gets the path, `then` applies the change."""
    return Piece(f"{breaks} {path} && {then}", messages, backup=path, fixes=then)


PIECES = {
    "needrestart": Piece(
        "mkdir -p /etc/needrestart/conf.d; touch /etc/needrestart/conf.d/50-code-server-setup.conf",
        ("needrestart is held back by an earlier setup",),
        fixes="rm /etc/needrestart/conf.d/50-code-server-setup.conf",
    ),
    "nginx listens for others": file(
        SITE,
        "sed -i 's/listen 127.0.0.1/listen 0.0.0.0/'",
        "nginx does not listen for this host only on port 80",
        then="systemctl restart nginx",
    ),
    "password": file(
        "/etc/shadow", "sed -i 's/^coder:[^:]*/coder:!/'", "password of coder is not the one that was set"
    ),
    "sudo": file("/etc/sudoers.d/90-code-server-coder", "rm", "coder can't use sudo without a password"),
    "home's owner": Piece("chown root /work", ("/work does not belong to coder",), fixes="chown coder /work"),
    "bashrc": file("/work/.bashrc", "sed -i /neuron-venv/d", "/work/.bashrc lacks the Neuron environments"),
    "profile": file("/etc/profile.d/neuron-tools.sh", "rm", "the Neuron tools' profile is missing"),
    "package": file(
        "/var/lib/dpkg/status",
        "sed -i '/^Package: code-server$/,/^$/s/^Status: .*/Status: install ok half-installed/'",
        "code-server 4.139.1 is not installed",
    ),
    "config's mode": file(CONFIG, "chmod 640", f"{CONFIG} is not coder's alone"),
    "config's owner": file(CONFIG, "chown ubuntu", f"{CONFIG} is not coder's alone"),
    "config's address": file(CONFIG, "sed -i s/127.0.0.1:8080/0.0.0.0:8080/", f"{CONFIG} listens elsewhere"),
    "config's way in": file(CONFIG, "sed -i 's/^auth: .*/auth: none/'", f"{CONFIG} does not ask for a password"),
    "config's password": file(CONFIG, "sed -i 's/argon2id/argon2i/'", f"{CONFIG} has another password"),
    "settings": file(f"{DATA}/User/settings.json", "sed -i s/}/]/", "VS Code settings are not valid JSON"),
    "nginx's configuration": file("/etc/nginx/nginx.conf", "sed -i s/http/htp/", "nginx's configuration is not valid"),
    "site is off": file(f"{ENABLED}/code-server", "rm", "nginx's site for code-server is not enabled"),
    "site is gone": file(
        SITE,
        "rm",
        "nginx's configuration is not valid",
        "nginx's site for code-server is not enabled",
    ),
    "site leads elsewhere": file(
        SITE, "sed -i s/127.0.0.1:8080/127.0.0.1:8081/", NO_LOGIN, NO_WEBSOCKETS, then="systemctl restart nginx"
    ),
    "websockets": file(SITE, "sed -i /Upgrade/d", NO_WEBSOCKETS, then="systemctl restart nginx"),
    "default site": Piece(
        f"ln -s ../sites-available/default {ENABLED}/default",
        ("nginx's default site is still there",),
        fixes=f"rm {ENABLED}/default",
    ),
    "nginx is stopped": Piece(
        "systemctl stop nginx",
        ("nginx.service does not run", NO_LOGIN, NO_WEBSOCKETS),
        fixes="systemctl start nginx",
    ),
    "nginx is disabled": Piece(
        "systemctl disable nginx", ("nginx.service does not start at boot",), fixes="systemctl enable nginx"
    ),
    "editor is stopped": Piece(
        f"systemctl stop {UNIT}",
        (f"{UNIT} does not run", "code-server does not answer on port 8080", NO_LOGIN, NO_WEBSOCKETS),
        fixes=f"systemctl start {UNIT}; {EDITOR_UP}",
    ),
    "editor is disabled": Piece(
        f"systemctl disable {UNIT}", (f"{UNIT} does not start at boot",), fixes=f"systemctl enable {UNIT}"
    ),
    "editor's unit": file(
        f"/etc/systemd/system/{UNIT}", "rm", f"{UNIT} is not the setup's own", then="systemctl daemon-reload"
    ),
    "editor's user": file(
        f"/etc/systemd/system/{UNIT}",
        "sed -i s/User=coder/User=ubuntu/",
        f"{UNIT} does not run as coder",
        then="systemctl daemon-reload",
    ),
    "code command": file("/usr/local/bin/code", "chmod -x", "the code command is missing"),
}

TRY = """
tar --create --file /run/backup.tar --directory / --files-from - <<'BACKUP'
{backup}
BACKUP
({breaks}) >/dev/null 2>&1
status=0
bash /run/verify.sh >/run/output 2>&1 || status=$?
tar --extract --file /run/backup.tar --directory / --preserve-permissions --unlink-first
({fixes}) >/dev/null 2>&1
cat /run/output
echo "status $status"
"""


@pytest.fixture(scope="module")
def verify(machine):
    """Breaks a piece, runs the verification task, fixes the piece, and returns the output lines of the task."""
    (secret,) = client(machine.sandbox, "secretsmanager").list_secrets()["SecretList"]
    task = scripts(Reference("secretsmanager", secret["ARN"]))["17-verify-installation"]
    machine.on_host(f"cat >/run/verify.sh <<'THE_TASK'\n{task}\nTHE_TASK")

    def verify(piece: Piece) -> list[str]:
        script = TRY.format(backup=piece.backup.lstrip("/"), breaks=piece.breaks, fixes=piece.fixes)
        output: list[str] = machine.on_host(script).splitlines()
        return output

    yield verify
    assert verify(Piece("true", ()))[-1] == "status 0"


@pytest.mark.parametrize("name", PIECES)
def test_only_the_broken_piece_is_reported(verify, name):
    piece = PIECES[name]
    assert verify(piece) == [
        *(f"broken: {message}" for message in piece.messages),
        f"{len(piece.messages)} checks failed",
        "status 1",
    ]


def test_missing_user_is_reported_first(verify):
    output = verify(Piece("sed -i s/^coder:/other:/ /etc/passwd", (), backup="/etc/passwd"))
    assert output[:2] == ["broken: user coder does not exist", "broken: coder can't use sudo without a password"]
    assert output[-1] == "status 1"


@pytest.mark.parametrize("how", ["gone", "unknown"])
def test_missing_extension_is_reported_without_failing(verify, how):
    folder = f"{DATA}/extensions"
    breaks = {"gone": f"rm -r {folder}/saoudrizwan.claude-dev-*", "unknown": f"echo '[]' >{folder}/extensions.json"}
    output = verify(Piece(breaks[how], (), backup=folder))
    missing = re.findall(r"^missing: extension (\S+) \(install it", "\n".join(output), flags=re.MULTILINE)
    assert "saoudrizwan.claude-dev" in missing
    assert len(missing) == (1 if how == "gone" else 3)
    assert output[-2].startswith(f"all is well but for missing extensions ({' '.join(missing)}): log in")
    assert output[-1] == "status 0"


def test_unreachable_gallery_does_not_stop_setup_and_the_next_run_installs_extensions(machine, verify):
    machine.on_host(
        f"cp /etc/hosts /run/hosts; sed -i s/open-vsx.org/none.example/ /etc/hosts; rm -r {DATA}/extensions/*"
    )
    output = machine.invoke("setup", "--start-from", "15")
    machine.on_host("cat /run/hosts >/etc/hosts")
    assert re.search(r"15-install-vscode-extensions +FAILED ", output)
    assert re.search(r"17-verify-installation +done .* all is well but for missing extensions \(amazonweb", output)
    assert re.search(r"15-install-vscode-extensions +done ", machine.invoke("setup"))
    assert verify(Piece("true", ()))[-2].startswith("all is well: log in")
