"""The whole setup with the home folder on a volume, and again on the next machine that gets the volume."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rehearsal.hosts.booted import factory
from rehearsal.hosts.code_server_package import VERSION
from rehearsal.hosts.volumes import Volume
from tests.e2e.conftest import PROJECT
from torchneuron import code_server, config
from torchneuron.passwords import hash_password
from torchneuron.setup import definition
from torchneuron.setup.render import render

VOLUME = "vol-0123456789abcdef0"


@pytest.fixture
def machines():
    """Two hosts, of which the second, of a newer release, gets the volume when the first is gone."""
    volume = Volume(VOLUME, 20)
    with contextlib.ExitStack() as undo:
        undo.callback(volume.delete)
        hosts = [factory(suite)(f"i-{suite}", region="sa-east-1") for suite in ("bookworm", "trixie")]
        for host in hosts:
            undo.callback(host.destroy)
        hosts[0].attach_volume(volume)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: host.boot(), hosts))
        yield hosts, volume


def run(host, script):
    done = host.run(
        script,
        environment={},
        working_directory=None,
        timeout=300,
        cancelled=threading.Event(),
        script_path="/var/lib/amazon/ssm/_script.sh",
    )
    assert done.exit_code == 0, done.stderr
    return done.stderr or done.stdout


def set_up(host, password):
    """Run every task; what each says last."""
    settings = config.load(PROJECT / "config.json")
    assert settings.code_server_version == VERSION
    hashes = hash_password(password, instance_id=host.name)
    given = code_server.variables(settings, hashes, data_volume=VOLUME)
    task_file = definition.load(code_server.TASK_FILE)
    tasks = render(task_file, definition.fill(task_file, given))
    return {task.id: run(host, task.script(after=None)).splitlines()[-1] for task in tasks}


def test_the_next_machine_goes_on_where_the_last_one_ended(machines):
    (first, second), volume = machines
    told = set_up(first, "the first password")
    assert told["07-create-home-dir"] == f"/work belongs to coder, on volume {VOLUME}"
    run(first, "runuser -u coder -- sh -c 'echo mine >/work/notes; echo alias mine=true >>/work/.bashrc'")
    first.destroy()
    second.attach_volume(volume)
    told = set_up(second, "another password")
    assert told["17-verify-installation"].startswith("all is well")
    assert run(second, "cat /work/notes") == "mine\n"
    assert run(second, "grep -c -e 'alias mine' -e '>>> code-server' /work/.bashrc") == "2\n"
    assert set(run(second, "stat -c %U /work /work/.[!.]*").split()) == {"coder"}
