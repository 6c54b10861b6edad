"""The last task finds every piece that is broken, says which, and passes over none: each is broken in turn."""

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
    """How one is broken, and what is told of it. What is at `kept` is put back afterwards; `mends` does the rest."""

    breaks: str
    told: tuple[str, ...]
    kept: str = ""
    mends: str = "true"


def file(path: str, breaks: str, *told: str, then: str = "true") -> Piece:
    """A piece that is a file: `breaks` is a command that gets its path, `then` what makes the change felt."""
    return Piece(f"{breaks} {path} && {then}", told, kept=path, mends=then)


PIECES = {
    "needrestart": Piece(
        "mkdir -p /etc/needrestart/conf.d; touch /etc/needrestart/conf.d/50-code-server-setup.conf",
        ("needrestart is held back by an earlier setup",),
        mends="rm /etc/needrestart/conf.d/50-code-server-setup.conf",
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
    "home's owner": Piece("chown root /work", ("/work does not belong to coder",), mends="chown coder /work"),
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
        mends=f"rm {ENABLED}/default",
    ),
    "nginx is stopped": Piece(
        "systemctl stop nginx",
        ("nginx.service does not run", NO_LOGIN, NO_WEBSOCKETS),
        mends="systemctl start nginx",
    ),
    "nginx is disabled": Piece(
        "systemctl disable nginx", ("nginx.service does not start at boot",), mends="systemctl enable nginx"
    ),
    "editor is stopped": Piece(
        f"systemctl stop {UNIT}",
        (f"{UNIT} does not run", "code-server does not answer on port 8080", NO_LOGIN, NO_WEBSOCKETS),
        mends=f"systemctl start {UNIT}; {EDITOR_UP}",
    ),
    "editor is disabled": Piece(
        f"systemctl disable {UNIT}", (f"{UNIT} does not start at boot",), mends=f"systemctl enable {UNIT}"
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
tar --create --file /run/kept.tar --directory / --files-from - <<'KEPT'
{kept}
KEPT
({breaks}) >/dev/null 2>&1
status=0
bash /run/verify.sh >/run/told 2>&1 || status=$?
tar --extract --file /run/kept.tar --directory / --preserve-permissions --unlink-first
({mends}) >/dev/null 2>&1
cat /run/told
echo "status $status"
"""


@pytest.fixture(scope="module")
def verify(machine):
    """Breaks a piece, runs the last task as the setup renders it, mends the piece; what the task said."""
    (secret,) = client(machine.sandbox, "secretsmanager").list_secrets()["SecretList"]
    task = scripts(Reference("secretsmanager", secret["ARN"]))["17-verify-installation"]
    machine.on_host(f"cat >/run/verify.sh <<'THE_TASK'\n{task}\nTHE_TASK")

    def verify(piece: Piece) -> list[str]:
        script = TRY.format(kept=piece.kept.lstrip("/"), breaks=piece.breaks, mends=piece.mends)
        told: list[str] = machine.on_host(script).splitlines()
        return told

    yield verify
    assert verify(Piece("true", ()))[-1] == "status 0"


@pytest.mark.parametrize("name", PIECES)
def test_a_broken_piece_is_named_and_nothing_else(verify, name):
    piece = PIECES[name]
    assert verify(piece) == [
        *(f"broken: {told}" for told in piece.told),
        f"{len(piece.told)} checks failed",
        "status 1",
    ]


def test_a_missing_user_is_named_before_what_belongs_to_it(verify):
    told = verify(Piece("sed -i s/^coder:/other:/ /etc/passwd", (), kept="/etc/passwd"))
    assert told[:2] == ["broken: user coder does not exist", "broken: coder can't use sudo without a password"]
    assert told[-1] == "status 1"


@pytest.mark.parametrize("how", ["gone", "unknown"])
def test_a_missing_extension_is_named_and_breaks_nothing(verify, how):
    folder = f"{DATA}/extensions"
    breaks = {"gone": f"rm -r {folder}/saoudrizwan.claude-dev-*", "unknown": f"echo '[]' >{folder}/extensions.json"}
    told = verify(Piece(breaks[how], (), kept=folder))
    missing = re.findall(r"^missing: extension (\S+) \(install it", "\n".join(told), flags=re.MULTILINE)
    assert "saoudrizwan.claude-dev" in missing
    assert len(missing) == (1 if how == "gone" else 3)
    assert told[-2].startswith(f"all is well but for missing extensions ({' '.join(missing)}): log in")
    assert told[-1] == "status 0"


def test_a_gallery_out_of_reach_stops_nothing_and_the_next_setup_gets_what_is_missing(machine, verify):
    machine.on_host(
        f"cp /etc/hosts /run/hosts; sed -i s/open-vsx.org/none.example/ /etc/hosts; rm -r {DATA}/extensions/*"
    )
    told = machine.invoke("setup", "--start-from", "15")
    machine.on_host("cat /run/hosts >/etc/hosts")
    assert re.search(r"15-install-vscode-extensions +FAILED ", told)
    assert re.search(r"17-verify-installation +done .* all is well but for missing extensions \(amazonweb", told)
    assert re.search(r"15-install-vscode-extensions +done ", machine.invoke("setup"))
    assert verify(Piece("true", ()))[-2].startswith("all is well: log in")
