"""The whole setup with the home folder on a volume, and again on the next machine that gets the volume."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from rehearsal.hosts.booted import factory
from rehearsal.hosts.volumes import Volume
from tests.e2e.own_host import run, set_up

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


def test_the_next_machine_goes_on_where_the_last_one_ended(machines):
    (first, second), volume = machines
    told = set_up(first, "the first password", DATA_VOLUME=VOLUME)
    assert told["07-create-home-dir"] == f"/work belongs to coder, on volume {VOLUME}"
    run(first, "runuser -u coder -- sh -c 'echo mine >/work/notes; echo alias mine=true >>/work/.bashrc'")
    first.destroy()
    second.attach_volume(volume)
    told = set_up(second, "another password", DATA_VOLUME=VOLUME)
    assert told["17-verify-installation"].startswith("all is well")
    assert run(second, "cat /work/notes") == "mine\n"
    assert run(second, "grep -c -e 'alias mine' -e '>>> code-server' /work/.bashrc") == "2\n"
    assert set(run(second, "stat -c %U /work /work/.[!.]*").split()) == {"coder"}
