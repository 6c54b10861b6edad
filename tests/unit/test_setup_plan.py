"""Which tasks run, and why: pure."""

import pytest

from tests.unit.setup_support import rendered, task
from torchneuron.core.errors import InputError
from torchneuron.setup.plan import TaskSelection, grouped, make_plan


@pytest.fixture
def tasks(tmp_path):
    return rendered(tmp_path, [task("01-a", "echo a"), task("02-b", "echo b", optional=True), task("03-c", "echo c")])


def pending(plan):
    return [task.id for task in plan.pending]


def finished(*tasks):
    return {task.id: task.digest for task in tasks}


def test_start_from_accepts_an_id_or_a_unique_prefix(tasks):
    assert pending(make_plan(tasks, {}, TaskSelection(start_from="02"))) == ["02-b", "03-c"]
    assert pending(make_plan(tasks, {}, TaskSelection(start_from="03-c"))) == ["03-c"]
    with pytest.raises(InputError, match=r"matches 3 tasks(.|\n)*01-a(.|\n)*03-c(.|\n)*--start-from"):
        make_plan(tasks, {}, TaskSelection(start_from="0"))
    with pytest.raises(InputError, match=r"No task starts with '9'(.|\n)*--only"):
        make_plan(tasks, {}, TaskSelection(only="9"))


@pytest.mark.parametrize(
    "selection", [TaskSelection("01", "02"), TaskSelection("01", clean=True), TaskSelection(only="01", clean=True)]
)
def test_contradicting_selections_are_refused(selection):
    with pytest.raises(InputError, match="Give only one of"):
        selection.check()


def test_first_unfinished_task_and_all_after_it_run(tasks):
    assert pending(make_plan(tasks, finished(tasks[1], tasks[2]))) == ["01-a", "02-b", "03-c"]
    assert pending(make_plan(tasks, finished(tasks[0], tasks[1]))) == ["03-c"]


def test_unfinished_optional_task_runs_alone(tasks):
    assert pending(make_plan(tasks, finished(tasks[0], tasks[2]))) == ["02-b"]


def test_selected_tasks_run_again_unless_the_run_resumes_one_with_the_same_selection(tasks):
    everything = finished(*tasks)
    assert pending(make_plan(tasks, everything, TaskSelection(clean=True))) == ["01-a", "02-b", "03-c"]
    assert pending(make_plan(tasks, everything, TaskSelection(start_from="02", resumes=True))) == []
    assert make_plan(tasks, everything, TaskSelection(only="02")).again
    assert not make_plan(tasks, everything).again


def test_machines_with_the_same_tasks_share_a_group_with_everything_pending(tasks):
    plans = {"i-1": make_plan(tasks, finished(tasks[0])), "i-2": make_plan(tasks, {}), "i-3": make_plan(tasks[:1], {})}
    both, other = grouped(plans)
    assert (both.instance_ids, pending(both.plan)) == (("i-1", "i-2"), ["01-a", "02-b", "03-c"])
    assert (other.instance_ids, pending(other.plan)) == (("i-3",), ["01-a"])


def test_machine_with_nothing_pending_is_in_no_group(tasks):
    assert grouped({"i-1": make_plan(tasks, finished(*tasks))}) == ()
