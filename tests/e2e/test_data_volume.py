"""The setup with the home folder on a data volume, repeated on the next machine with that volume."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from rehearsal.hosts.booted import factory
from rehearsal.hosts.volumes import Volume
from tests.e2e.own_host import run, set_up

VOLUME = "vol-0123456789abcdef0"


@pytest.fixture
def machines():
    """Two hosts. The second, with a newer Debian release, gets the volume after the first is destroyed."""
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


def test_next_machine_keeps_the_home_folder_of_the_last_one(machines):
    (first, second), volume = machines
    output = set_up(first, "the first password", DATA_VOLUME=VOLUME)
    assert output["07-create-home-dir"] == f"/work belongs to coder, on volume {VOLUME}"
    run(first, "runuser -u coder -- sh -c 'echo mine >/work/notes; echo alias mine=true >>/work/.bashrc'")
    first.destroy()
    second.attach_volume(volume)
    output = set_up(second, "another password", DATA_VOLUME=VOLUME)
    assert output["17-verify-installation"].startswith("all is well")
    assert run(second, "cat /work/notes") == "mine\n"
    assert run(second, "grep -c -e 'alias mine' -e '>>> code-server' /work/.bashrc") == "2\n"
    assert set(run(second, "stat -c %U /work /work/.[!.]*").split()) == {"coder"}
