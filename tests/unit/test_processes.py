import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from torchneuron.core.processes import run_to_completion

ROOT = Path(__file__).resolve().parents[2]

# Says it is ready, takes a Ctrl-C as Terraform does, and ends well a moment later.
PATIENT = """
import signal, time
interrupted = []
signal.signal(signal.SIGINT, lambda *_: interrupted.append(1))
print("ready", flush=True)
while not interrupted: time.sleep(0.01)
time.sleep(0.2)
print("finished", flush=True)
open("done", "w").close()
"""


def test_lines_come_as_they_are_written_and_the_end_is_told(tmp_path):
    seen: list[str] = []
    code = "import sys; print('one'); print('two'); print('oh', file=sys.stderr); sys.exit(3)"
    done = run_to_completion([sys.executable, "-c", code], folder=tmp_path, environment=os.environ, on_line=seen.append)
    assert seen == ["one\n", "two\n"]
    assert (done.status, done.stdout, done.stderr) == (3, "one\ntwo\n", "oh\n")


def test_ctrl_c_is_raised_only_once_the_process_has_finished(tmp_path):
    children = []

    def interrupt_both(line):
        if line == "ready\n":
            (child,) = (tmp_path / "pid").read_text().split()
            children.append(int(child))
            # The terminal would send it to both.
            os.kill(int(child), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    code = f"import os; open('pid', 'w').write(str(os.getpid()))\n{PATIENT}"
    with pytest.raises(KeyboardInterrupt):
        run_to_completion([sys.executable, "-c", code], folder=tmp_path, environment=os.environ, on_line=interrupt_both)
    assert (tmp_path / "done").exists()


# Runs what is in the file `child.py` as `deploy` runs Terraform, and says when more than that was done.
PARENT = """
import os, pathlib, signal, sys
# As in a terminal, whoever runs the tests: `nohup` has it ignored, and then it is.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from torchneuron.core.processes import run_to_completion
def told(line):
    print("told", line, end="", flush=True)
    {nobody_reads}
run_to_completion([sys.executable, "child.py"], folder=pathlib.Path.cwd(), environment=os.environ, on_line=told)
print("went on", flush=True)
"""
ENDS_BY_ITSELF = """
import os, time
print("ready", flush=True)
while not os.path.exists("end"): time.sleep(0.01)
print("finished", flush=True)
open("done", "w").close()
"""


def started(tmp_path, child, nobody_reads="pass"):
    (tmp_path / "child.py").write_text(child)
    return subprocess.Popen(
        [sys.executable, "-c", PARENT.format(nobody_reads=nobody_reads)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("number", "child"),
    # Terraform takes SIGTERM as it takes Ctrl-C; of a terminal that is closed it knows nothing.
    [(signal.SIGTERM, PATIENT.replace("SIGINT", "SIGTERM")), (signal.SIGHUP, ENDS_BY_ITSELF)],
)
def test_a_signal_to_all_of_them_ends_this_process_once_the_other_has_finished(tmp_path, number, child):
    process = started(tmp_path, child)
    assert process.stdout.readline() == "told ready\n"
    os.killpg(process.pid, number)
    (tmp_path / "end").touch()
    out, _ = process.communicate(timeout=120)
    assert (process.returncode, out) == (-number, "told finished\n")
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("gone", ["raise OSError(5, 'the terminal is gone')", "raise SystemExit(1)"])
def test_where_nobody_reads_any_more_the_process_is_still_read_to_its_end(tmp_path, gone):
    (tmp_path / "end").touch()
    process = started(tmp_path, ENDS_BY_ITSELF, gone)
    out, _ = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "told ready\ntold finished\nwent on\n")
    assert (tmp_path / "done").exists()
