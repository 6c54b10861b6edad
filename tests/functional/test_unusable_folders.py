"""Folders that are full, read-only or files: one error message before any change, and no traceback."""

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
def unusable(tmp_path):
    """Creates an unusable folder with files: `unusable("full", {"name": "text"})` returns it."""
    place = tmp_path / "place"
    mounted = []

    def mount(*options):
        subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(place)], check=True)
        mounted.append(place)

    def create(kind, files):
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

    yield create
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def change_settings(config, **changed):
    document = {**json.loads(config.path.read_text()), **changed}
    config.path.write_text(json.dumps(document))


def check(done, reason, place):
    assert reason in done.err
    assert str(place) in done.err
    assert done.err.count("Error:") == 1
    assert "Traceback" not in done.err + done.out


@pytest.mark.attack("makes the state folder of a setup full, read-only or a file")
def test_setup_with_an_unusable_state_folder_sends_nothing(invoke, config, unusable, kind, instance, ssm, tmp_path):
    change_settings(config, stateDir=str(unusable(kind, {})))
    written = write_task_file(tmp_path, [task("task-01", "out x")])
    done = invoke("run-tasks", "--file", str(written), "-i", instance, "-r", REGION, status=2)
    check(done, REASONS[kind], tmp_path / "place")
    assert "Nothing was changed." in done.err
    assert ssm.list_commands()["Commands"] == []


@pytest.mark.attack("makes the output folder of deploy, info and destroy full, read-only or a file")
@pytest.mark.parametrize("words", [("deploy", "--skip-setup"), ("info",), ("destroy", "--yes")])
def test_terraform_with_an_unusable_output_folder_changes_nothing(
    invoke, config, unusable, kind, control, words, tmp_path
):
    change_settings(config, outputDir=str(unusable(kind, {})), backend={"type": "local"})
    done = invoke(*words, "-r", REGION, status=2)
    check(done, REASONS[kind], tmp_path / "place")
    made = [name for names in control("calls").values() for name in names if name.startswith(("Create", "Run", "Put"))]
    assert made == []


@pytest.mark.attack("makes the settings unwritable before bootstrap")
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_bootstrap_creates_no_bucket_when_its_name_cannot_be_saved(
    invoke, config, unusable, how, client, monkeypatch, tmp_path
):
    place = unusable(how, {"config.json": config.path.read_text()})
    monkeypatch.setenv("TORCHNEURON_CONFIG", str(place / "config.json"))
    done = invoke("bootstrap", "-r", REGION, status=2)
    check(done, REASONS[how], place)
    assert client("s3").list_buckets()["Buckets"] == []


@pytest.mark.attack("redirects the output of a command to a full disk")
@pytest.mark.parametrize("words", [["cb.search"], ["cb.list", "-o", "json"], ["doctor", "--policy", "deploy"]])
def test_unwritable_output_is_reported_once(rehearsal_endpoint, config, words):
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
