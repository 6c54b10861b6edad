"""Folders that are full, read-only or no folders: one message before anything is done, and no traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional.conftest import REGION
from tests.functional.invoking import ROOT
from tests.unit.setup_support import task, write_task_file

KINDS = ("full", "read-only", "a file")
REASONS = {"full": "No space left on device", "read-only": "Read-only file system", "a file": "a file, not a folder"}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def spoil(tmp_path):
    """Makes a folder, with files in it, unusable: `spoil("full", {"name": "text"})` returns it."""
    place = tmp_path / "place"
    mounted = []

    def mount(*options):
        subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(place)], check=True)
        mounted.append(place)

    def spoilt(kind, files):
        if kind == "a file":
            place.write_text("")
            return place
        place.mkdir()
        mount("-o", "size=32k")
        for name, text in files.items():
            (place / name).write_text(text)
        if kind == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        return place

    yield spoilt
    for each in mounted:
        subprocess.run(["umount", str(each)], check=True)


def settle_in(config, **changed):
    document = {**json.loads(config.path.read_text()), **changed}
    config.path.write_text(json.dumps(document))


def check(done, reason, place):
    assert reason in done.err
    assert str(place) in done.err
    assert done.err.count("Error:") == 1
    assert "Traceback" not in done.err + done.out


@pytest.mark.attack("runs a setup whose state folder is full, read-only or a file")
def test_a_setup_without_a_place_for_its_state_sends_nothing(invoke, config, spoil, kind, instance, ssm, tmp_path):
    settle_in(config, stateDir=str(spoil(kind, {})))
    written = write_task_file(tmp_path, [task("task-01", "out x")])
    done = invoke("run-tasks", "--file", str(written), "-i", instance, "-r", REGION, status=2)
    check(done, REASONS[kind], tmp_path / "place")
    assert "Nothing was changed." in done.err
    assert ssm.list_commands()["Commands"] == []


@pytest.mark.attack("deploys, looks and destroys with an output folder that is full, read-only or a file")
@pytest.mark.parametrize("words", [("deploy", "--skip-setup"), ("info",), ("destroy", "--yes")])
def test_terraform_without_a_folder_changes_nothing(invoke, config, spoil, kind, control, words, tmp_path):
    settle_in(config, outputDir=str(spoil(kind, {})), backend={"type": "local"})
    done = invoke(*words, "-r", REGION, status=2)
    check(done, REASONS[kind], tmp_path / "place")
    made = [name for names in control("calls").values() for name in names if name.startswith(("Create", "Run", "Put"))]
    assert made == []


@pytest.mark.attack("bootstraps with settings that cannot be written")
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_bootstrap_makes_no_bucket_where_its_name_cannot_be_saved(
    invoke, config, spoil, how, client, monkeypatch, tmp_path
):
    place = spoil(how, {"config.json": config.path.read_text()})
    monkeypatch.setenv("TORCHNEURON_CONFIG", str(place / "config.json"))
    done = invoke("bootstrap", "-r", REGION, status=2)
    check(done, REASONS[how], place)
    assert client("s3").list_buckets()["Buckets"] == []


@pytest.mark.attack("writes a result to a disk that is full")
@pytest.mark.parametrize("words", [["cb.search"], ["cb.list", "-o", "json"], ["doctor", "--policy", "deploy"]])
def test_a_result_that_cannot_be_written_is_one_message(rehearsal_endpoint, config, words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *words],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "Error: A file, or standard output, cannot be used: No space left on device." in done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
