import os
import signal
import sys
import threading

import pytest

from torchneuron.processes import run_to_its_end

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
    seen = []
    code = "import sys; print('one'); print('two'); print('oh', file=sys.stderr); sys.exit(3)"
    done = run_to_its_end([sys.executable, "-c", code], folder=tmp_path, environment=os.environ, on_line=seen.append)
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
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    code = f"import os; open('pid', 'w').write(str(os.getpid()))\n{PATIENT}"
    with pytest.raises(KeyboardInterrupt):
        run_to_its_end([sys.executable, "-c", code], folder=tmp_path, environment=os.environ, on_line=interrupt_both)
    assert (tmp_path / "done").exists()
