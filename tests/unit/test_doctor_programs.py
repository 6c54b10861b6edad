"""Version checks of programs: new, old, broken and hanging ones."""

import os
import re
import time
from pathlib import Path

import pytest

from torchneuron.doctor import programs, python
from torchneuron.doctor.findings import Verdict
from torchneuron.doctor.programs import PROGRAMS, Program

ROOT = Path(__file__).resolve().parents[2]
TOOL = Program("Tool", ("sometool", "version"), "It does a thing.", "Get it.", is_required=True, minimum=(1, 11))
OPTIONAL = Program("Extra", ("sometool", "--version"), "It does more.", "Get that.")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a shell script on PATH instead of the installed programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def put(script, name="sometool", mode=0o755):
        (folder / name).write_text(script)
        (folder / name).chmod(mode)

    return put


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ("Terraform v1.11.4", "1.11.4"),
        ("v20.20.2", "20.20.2"),
        ("1.11", "1.11"),
        ("aws-cli/2.15.30 Python/3.11.8 Linux/6.1 exe/x86_64", "2.15.30"),
        ("Terraform v1.12.0\non linux_amd64\n\nYour version is out of date! The latest version is 1.13.1.", "1.12.0"),
    ],
)
def test_sufficient_version(install, output, found):
    install(f"#!/bin/sh\ncat <<END\n{output}\nEND\n")
    finding = programs.check(TOOL)
    assert (finding.name, finding.found, finding.verdict, finding.remedy) == ("Tool", found, Verdict.OK, "")


@pytest.mark.parametrize("output", ["1.10.9", "v1.9", "0.99.99"])
def test_version_that_is_too_old(install, output):
    install(f"#!/bin/sh\necho {output}\n")
    finding = programs.check(TOOL)
    assert finding.verdict is Verdict.MISSING
    assert finding.found == f"{output.lstrip('v')}; 1.11 or newer is required"
    assert finding.remedy == "It does a thing.\nGet it."


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("#!/bin/sh\necho 1.12.0\necho 'no such library' >&2\nexit 127\n", "does not run: no such library"),
        ("#!/bin/sh\nexit 3\n", "does not run: status 3"),
        ("#!/bin/sh\necho hello\n", "does not run: hello"),
        ("#!/no/such/interpreter\n", "does not run: No such file or directory"),
        ("#!/bin/sh\nprintf '\\377\\376'\n", "does not run: \ufffd\ufffd"),
    ],
)
def test_broken_program(install, script, found):
    install(script)
    assert programs.check(TOOL).found == found
    assert programs.check(TOOL).verdict is Verdict.MISSING
    assert programs.check(OPTIONAL).verdict is Verdict.WARNING


def test_missing_program(install):
    assert (programs.check(TOOL).found, programs.check(TOOL).verdict) == ("not installed", Verdict.MISSING)
    assert (programs.check(OPTIONAL).found, programs.check(OPTIONAL).verdict) == ("not installed", Verdict.WARNING)


def test_hanging_program_is_killed_with_its_children(install, tmp_path):
    # The child keeps the output open for ten minutes.
    install(f"#!/bin/sh\nsleep 600 & echo $! >{tmp_path}/child\nwait\n")
    began = time.monotonic()
    finding = programs.check(TOOL, seconds=5)
    assert (finding.found, finding.verdict) == ("no answer within 5 s", Verdict.MISSING)
    child = int((tmp_path / "child").read_text())
    while is_running(child):
        assert time.monotonic() - began < 300
        time.sleep(0.05)
    assert time.monotonic() - began < 300


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_programs_run_in_parallel_and_findings_keep_their_order(install, tmp_path):
    names = [f"tool{number}" for number in range(4)]
    for name in names:
        # Each one answers when all have started.
        install(
            f"#!/bin/sh\ntouch {tmp_path}/{name}.started\n"
            f"until [ $(ls {tmp_path} | grep -c started) = 4 ]; do sleep 0.1; done\necho 2.0\n",
            name,
        )
    found = programs.check_all([Program(name, (name,), "", "") for name in names], seconds=60)
    assert [(finding.name, finding.verdict) for finding in found] == [(name, Verdict.OK) for name in names]


def test_update_checks_are_off(install):
    install('#!/bin/sh\ntest "$CHECKPOINT_DISABLE$DISABLE_VERSION_CHECK" = 11 && echo 1.12\n')
    assert programs.check(TOOL).verdict is Verdict.OK


def test_make_requires_the_same_versions():
    script = (ROOT / "tools" / "check-programs.sh").read_text()
    minimum = dict(re.findall(r"^need (\w+) ([\d.]+) ", script, re.MULTILINE))
    for program in PROGRAMS:
        if program.is_required:
            assert minimum[program.name].removesuffix(".0") == ".".join(map(str, program.minimum))
    assert minimum["Python"] == ".".join(map(str, python.OLDEST))


def test_every_program_has_a_purpose_and_a_remedy(install, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "_NODE_PROGRAMS", tmp_path)
    found = programs.check_all()
    assert [finding.name for finding in found] == [program.name for program in PROGRAMS]
    verdicts = {finding.name: finding.verdict for finding in found}
    needed = {"Terraform", "Node"}
    assert {name for name, verdict in verdicts.items() if verdict is Verdict.MISSING} == needed
    for finding in found:
        why, remedy = finding.remedy.splitlines()
        assert why.endswith(".")
        assert "https://" in remedy or remedy == "make setup"
