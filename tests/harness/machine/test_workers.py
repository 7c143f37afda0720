"""Worker processes: results that don't depend on them, errors that arrive in words, and none that is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icrl_bench.machine.workers import run_jobs
from icrl_registry.errors import BenchError, NumericalError, UsageError

HERE = Path(__file__).parent
TIMEOUT = 300


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def job(name: str) -> Callable[..., Any]:
    import job_functions

    return getattr(job_functions, name)


def test_results_do_not_depend_on_the_number_of_workers():
    jobs = [(seed, 10 * (8 - seed)) for seed in range(8)]
    units: dict[int, list[int]] = {1: [], 3: []}
    results = {count: sorted(run_jobs(job("draw"), jobs, count, units[count].append)) for count in units}
    assert results[1] == results[3]
    assert [seed for seed, _ in results[1]] == list(range(8))
    for seen in units.values():
        assert seen == sorted(seen)
        assert seen[-1] == sum(count for _, count in jobs)


def test_no_jobs_no_processes():
    assert list(run_jobs(job("draw"), [], 4, pytest.fail)) == []


@pytest.mark.parametrize(
    ("how", "kind", "message", "hint"),
    [
        ("bench", NumericalError, "reward is not finite", "look there"),
        ("usage", UsageError, "a wrong word", "another one"),
        ("other", BenchError, "ZeroDivisionError: by nothing", 'raise ZeroDivisionError("by nothing")'),
        ("noted", BenchError, "sb3 on task train-003: ZeroDivisionError: by nothing", "job_functions.py"),
        ("unpicklable", BenchError, "Local: ", "job_functions.py"),
        ("exit", BenchError, "SystemExit: 0", "sys.exit(0)"),
        ("kill", BenchError, "a worker process died of signal 9 (SIGKILL): killed, or out of memory", "it continues"),
        ("bus", BenchError, "a worker process died of signal 7 (SIGBUS): a file that it had mapped", "data verify`"),
    ],
)
def test_errors_arrive_in_words(how: str, kind: type[BenchError], message: str, hint: str):
    with pytest.raises(BenchError) as caught:
        list(run_jobs(job("fail"), [(how,)], 1, lambda units: None))
    assert type(caught.value) is kind
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint


def test_a_failing_job_stops_the_others_and_keeps_what_was_done(tmp_path: Path):
    done = []
    jobs = run_jobs(job("fail"), [("no",), ("no",), ("bench",), *[("no",)] * 50], 1, lambda units: None)
    with pytest.raises(NumericalError):
        done.extend(jobs)
    before = time.monotonic()
    sleeping = run_jobs(job("touch_and_sleep"), [("/nowhere", 0.0), (str(tmp_path), 600.0)], 2, lambda units: None)
    with pytest.raises(BenchError, match="FileNotFoundError"):
        list(sleeping)
    assert time.monotonic() - before < TIMEOUT


def test_a_worker_has_one_thread_no_interrupts_and_no_standard_output(capfd: pytest.CaptureFixture[str]):
    facts = next(iter(run_jobs(job("facts"), [()], 1, lambda units: None)))
    assert facts == {"threads": 1, "interrupts_blocked": True}
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "printed by a job" in captured.err
    assert "written by a job" in captured.err


PARENT = """
import sys
sys.path.insert(0, {here!r})
import job_functions
from icrl_bench.machine.workers import run_jobs
if __name__ == "__main__":
    list(run_jobs(job_functions.touch_and_sleep, [({folder!r}, 600.0)] * 2, 2, lambda units: None))
"""


def start_parent(folder: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A process with two workers that sleep, in a group of its own."""
    script = folder / "parent.py"
    marks = folder / "marks"
    marks.mkdir()
    script.write_text(PARENT.format(here=str(HERE), folder=str(marks)))
    parent = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + TIMEOUT
    while len(list(marks.iterdir())) < 2:
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return parent, [int(mark.name) for mark in marks.iterdir()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def seconds_until_gone(pids: list[int]) -> float:
    started = time.monotonic()
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() - started < 60, "a worker outlives its parent"
        time.sleep(0.02)
    return time.monotonic() - started


SECOND_START = """
import multiprocessing.process, multiprocessing.queues, pathlib, sys, threading, time
sys.path.insert(0, {here!r})
import job_functions
from icrl_bench.machine.workers import run_jobs
from icrl_registry.errors import BenchError
start, close = multiprocessing.process.BaseProcess.start, multiprocessing.queues.Queue.close
started, closing = [], threading.Event()
def second_start(process):
    if started and {refused}:
        raise OSError(11, "no more processes")
    start(process)
    started.append(process)
    if len(started) == 2:
        while len(list(pathlib.Path("marks").iterdir())) < 2:  # both are at work
            time.sleep(0.01)
        started[0].kill()
        closing.wait()  # the pool has ended all that it knows of
def slow_close(queue):
    closing.set()
    time.sleep(1)  # until it knows of the second, and waits for both
    close(queue)
if __name__ == "__main__":
    multiprocessing.process.BaseProcess.start = second_start
    multiprocessing.queues.Queue.close = slow_close
    try:
        list(run_jobs(job_functions.touch_and_sleep, [("marks", 600.0)] * 2, 2, lambda units: None))
    except (BenchError, OSError) as error:
        print(error, end="")
"""


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (False, "a worker process died of signal 9 (SIGKILL): killed, or out of memory"),
        (True, "[Errno 11] no more processes"),
    ],
    ids=["one dies while the next one starts", "the next one cannot start"],
)
def test_nobody_waits_for_a_worker_that_nobody_ends(refused: bool, message: str, tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(SECOND_START.format(here=str(HERE), refused=refused))
    (tmp_path / "marks").mkdir()
    command = [sys.executable, script]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT, check=True, cwd=tmp_path)
    assert ended.stdout.startswith(message)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
class TestNoOrphans:
    def test_workers_die_soon_after_a_killed_parent(self, tmp_path: Path):
        parent, workers = start_parent(tmp_path)
        parent.kill()
        parent.wait()
        seconds = seconds_until_gone(workers)
        assert seconds < 2 * max(1.0, os.getloadavg()[0]), "two seconds, times the load of the machine"

    @pytest.mark.parametrize("to_group", [True, False], ids=["group", "parent alone"])
    def test_an_interrupt_ends_everything(self, tmp_path: Path, to_group: bool):
        parent, workers = start_parent(tmp_path)
        os.killpg(parent.pid, signal.SIGINT) if to_group else parent.send_signal(signal.SIGINT)
        _, error = parent.communicate(timeout=TIMEOUT)
        assert parent.returncode == -signal.SIGINT
        assert error.count(b"KeyboardInterrupt") == 1, "a worker answered an interrupt that was its parent's"
        seconds_until_gone(workers)
