"""Whole rows side by side in processes: the same rows as one after the other, whatever becomes of a process on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icrl_bench.artefacts.store import Store
from icrl_bench.artefacts.tensors import encode_tensors
from icrl_bench.executors.local import LocalExecutor, visible_gpus
from icrl_bench.stages.stage import Unit
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_registry.errors import BenchError, UsageError

TIMEOUT = 300


@pytest.fixture
def executor(tmp_path):
    with LocalExecutor(tmp_path, jobs=2) as executor:
        yield executor


def outcomes(executor, units):
    for unit in units:
        executor.submit(unit)
    found, end = {}, time.monotonic() + TIMEOUT
    while len(found) < len(units) and time.monotonic() < end:
        found |= {outcome.unit.name: outcome for outcome in executor.wait(0.2)}
    return found


# --- Units: functions of the home folder, known to the worker by this module's name ---


def note(home, name):
    (home / name).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))


def stumble(home, how):
    if how == "words":
        raise BenchError("no luck", "try again")
    if how == "exit":
        raise SystemExit(3)
    raise ZeroDivisionError("stumbled")


def die(home, name, times):
    """Kills its own process so many times, then is done."""
    deaths = len(list(home.glob(f"{name}-death-*")))
    if deaths < times:
        (home / f"{name}-death-{deaths}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (home / name).touch()


def map_and_read(home, kind, name):
    """Reads a mapped history from which somebody cuts all but the first page meanwhile."""
    import numpy as np

    from icrl_bench.artefacts.tensors import map_file

    path = home / kind / name / "history.safetensors"
    column = map_file(path)[0]["rewards"]
    if (home / "cut").exists():
        with path.open("r+b") as handle:
            handle.truncate(4096)
    (home / f"read {np.asarray(column).sum()}").touch()


def fall(home, number):
    """Dies as a process does whose disk fails, with files that are whole when somebody looks."""
    os.kill(os.getpid(), signal.SIGBUS)


def threads(home, name):
    import torch

    (home / name).write_text(str(torch.get_num_threads()))


def unit(function, *arguments, device="cpu"):
    name = "-".join(map(str, arguments))
    return Unit(name, (function.__name__, name), function, arguments, device=device)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Workers find the functions of this module by its name."""
    import sys

    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    for function in (note, stumble, die, map_and_read, fall, threads):
        monkeypatch.setattr(function, "__module__", "test_local")
    monkeypatch.setitem(sys.modules, "test_local", sys.modules[__name__])


def test_a_unit_that_fails_comes_back_with_its_traceback(executor, tmp_path):
    units = [unit(stumble, how) for how in ("words", "exit", "error")] + [unit(note, "fine")]
    found = outcomes(executor, units)
    assert found["fine"].failure is None
    assert (found["words"].failure.message, found["words"].failure.hint) == ("no luck", "try again")
    assert found["exit"].failure.message == "SystemExit: 3"
    assert found["error"].failure.message == "ZeroDivisionError: stumbled"
    assert 'raise ZeroDivisionError("stumbled")' in found["error"].failure.traceback


def test_a_unit_whose_process_dies_is_made_again_but_not_for_ever(executor, tmp_path, monkeypatch):
    monkeypatch.setattr("icrl_bench.executors.local.RETRIES", 1)
    found = outcomes(executor, [unit(die, "once", 1), unit(die, "always", 99), unit(note, "fine")])
    assert found["once-1"].failure is None
    assert (tmp_path / "once").exists()
    assert "died 2 times, at last with signal 9" in found["always-99"].failure.message
    assert found["fine"].failure is None


def reader(tmp_path, function, *arguments):
    """A unit that reads a history, which is there."""
    kind, name = "datasets/0123", "train-000"
    with Store(tmp_path).write(kind, name, {}) as folder:
        (folder / "history.safetensors").write_bytes(encode_tensors({"rewards": np.ones(100_000, np.float32)}))
    return replace(unit(function, *(arguments or (kind, name))), reads=((kind, name),))


def test_a_mapped_file_that_is_cut_short_is_named(executor, tmp_path):
    """The system ends a process that touches what is gone (SIGBUS): no error of its own could tell which file it was."""
    mapped = reader(tmp_path, map_and_read)
    assert outcomes(executor, [mapped])[mapped.name].failure is None
    (tmp_path / "cut").touch()
    failure = outcomes(executor, [mapped])[mapped.name].failure
    path = tmp_path / "datasets/0123/train-000/history.safetensors"
    assert f"died of signal 7 (SIGBUS): {path} differs from its checksum" in failure.message
    assert f"`icrl-bench data verify --home {tmp_path} --discard-damaged`, then the same command again" in failure.hint


def test_where_nothing_is_found_the_folder_is_named(executor, tmp_path, monkeypatch):
    monkeypatch.setattr("icrl_bench.executors.local.RETRIES", 1)
    falling = reader(tmp_path, fall, 1)
    failure = outcomes(executor, [falling])[falling.name].failure
    assert (
        "died 2 times, at last with signal 7 (SIGBUS): a file that it had mapped could not be read" in failure.message
    )
    assert f"it reads {tmp_path / 'datasets/0123'}" in failure.message
    assert f"`icrl-bench data verify --home {tmp_path}`" in failure.hint


def test_units_have_as_many_threads_as_they_are_given(tmp_path):
    with LocalExecutor(tmp_path, jobs=1, cores=2) as executor:
        outcomes(executor, [unit(threads, "a")])
    assert (tmp_path / "a").read_text() == "2"


def test_each_unit_on_a_gpu_sees_one_of_its_own(tmp_path, monkeypatch):
    """Names as CUDA has them; no GPU is needed to hand them out."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert visible_gpus() == ["3", "5"]
    with LocalExecutor(tmp_path, jobs=3, gpus=visible_gpus()) as executor:
        for name in ("a", "b", "c", "d"):
            executor.submit(unit(note, name, device="cuda:0"))
        executor.submit(unit(note, "cpu"))
        seen, end = set(), time.monotonic() + TIMEOUT
        while len(seen) < 5 and time.monotonic() < end:
            seen |= {outcome.unit.name for outcome in executor.wait(0.2)}
            on_gpus = [worker.gpu for worker in executor._workers if worker.gpu]
            assert len(on_gpus) == len(set(on_gpus)) <= 2
    assert {(tmp_path / name).read_text() for name in "abcd"} == {"3", "5"}
    assert (tmp_path / "cpu").read_text() == "3, 5"  # as the driver's


def test_a_unit_on_a_gpu_is_refused_where_there_is_none(executor):
    with pytest.raises(UsageError, match="needs a GPU"):
        executor.submit(unit(note, "a", device="cuda:0"))


# --- The command ---


@pytest.fixture
def grid(toy, cli):
    def call(*arguments):
        fixed = ("grid", "-p", toy / "toy-certified.toml", "--device", "cpu", "--executor", "local", "--jobs", "2")
        return cli(*fixed, *arguments)

    return call


def artefacts_below(home: Path) -> dict[str, bytes]:
    """All that must be the same to the last bit."""
    names = ("history.safetensors", "policy.safetensors", "checkpoint.safetensors", "floors.json")
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.name in names}


def rows_of(home: Path) -> dict[str, object]:
    with Leaderboard(home / "leaderboard.sqlite") as board:
        return {run.run_id: (run.returns, run.oracle, run.random, run.train_env_steps) for run in board.runs()}


def test_the_rows_are_those_of_one_after_the_other(grid, toy, inline, cli, tmp_path):
    """With certificates, on which rows wait; every group of the data that rows share is collected once."""
    events, apart, together = tmp_path / "events.jsonl", tmp_path / "apart", tmp_path / "home"
    found = grid("--json", "--events", events)
    assert found.code == 0, found.err
    plain = cli("grid", "-p", toy / "toy-certified.toml", "--device", "cpu", "--home", apart, "--json")
    assert found.document == plain.document
    assert rows_of(together) == rows_of(apart)
    assert artefacts_below(together) == artefacts_below(apart)
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    units = [line["unit"] for line in lines if line["event"] == "unit_ended"]
    assert len(units) == len(set(units))
    assert sum(name.startswith("collect ") for name in units) == 10  # 6 training and 4 test tasks
    assert units.index("certify toy-measured-v1") < units.index("train toy-online on toy-measured-v1, seed 0")
    assert not list(together.rglob("*.partial"))


def test_a_row_that_fails_is_named_with_its_traceback_and_the_rest_is_made(grid, toy):
    protocol = toy / "toy-certified.toml"
    protocol.write_text(protocol.read_text() + '\n[method.toy-online]\nfault = "raise"\n')
    output = grid("--no-certify", "--seeds", "0")
    assert output.code == 1
    assert "train toy-online on toy-measured-v1, seed 0 failed: ZeroDivisionError: the method stumbled" in output.err
    assert "in _maybe_fail" in output.err
    assert "toy-online on toy-measured-v1, seed 0 failed" in output.err
    table = " ".join(output.out.replace("│", " ").split())
    assert "toy-method 1 of 1" in table
    assert "toy-online 0 of 1, 1 failed" in table


def test_run_and_sweep_take_it_too(toy, cli, tmp_path):
    fixed = ("-m", "toy-method", "-e", "toy-point", "-p", toy / "toy.toml", "--device", "cpu", "--executor", "local")
    found = cli("run", *fixed, "--seeds", "1,0", "--json")
    assert found.code == 0, found.err
    assert [row["seed"] for row in found.document["runs"]] == [1, 0]
    swept = cli("sweep", *fixed, "--seeds", "0", "--vary", "method.updates=12,3", "--json")
    assert swept.code == 0, swept.err
    with Leaderboard(tmp_path / "home" / "leaderboard.sqlite") as board:
        assert len(board.runs()) == 3  # 12 updates are the default's
        assert len(board.studies()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--executor", "slurm"), "unknown executor"),
        (("--address", "auto"), "for a Ray cluster"),
        (("--events", "-"), "for an executor"),
        (("--executor", "local", "--device", "cuda:1"), "a GPU of its own"),
        (("--executor", "ray", "--leaderboard", "postgresql://bench:secret@host/name"), "password"),
        (("--executor", "ray", "--leaderboard", "postgresql://host/name?password=secret"), "password"),
    ],
)
def test_options_that_do_not_go_together_are_refused(toy, cli, arguments, words):
    output = cli("run", "-m", "toy-method", "-e", "toy-point", "-p", toy / "toy.toml", *arguments, "--json")
    assert output.code == 2
    assert words in output.error["message"]
    assert "secret" not in output.out + output.err


def test_an_interrupt_leaves_no_process(toy, spawn, tmp_path):
    slow = ("--set", "source.pause=0.4")
    process = spawn(
        "run", "-m", "toy-method", "-e", "toy-point", "-p", toy / "toy.toml", "--device", "cpu",
        "--executor", "local", "--jobs", "2", "--json", *slow,
    )  # fmt: skip
    end = time.monotonic() + TIMEOUT
    while not list((tmp_path / "home").glob("datasets/*/*/manifest.json")) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, err
    assert json.loads(out)["error"]["kind"] == "interrupted"
    assert members(process.pid) == []


def test_workers_of_a_killed_driver_end_themselves(toy, spawn, tmp_path):
    process = spawn(
        "run", "-m", "toy-method", "-e", "toy-point", "-p", toy / "toy.toml", "--device", "cpu",
        "--executor", "local", "--jobs", "2", "--set", "source.pause=600",
    )  # fmt: skip
    end = time.monotonic() + TIMEOUT
    while len(members(process.pid)) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    while members(process.pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert members(process.pid) == []


def members(session: int) -> list[int]:
    """Living processes of a session, without multiprocessing's tracker, which ends when its pipe does."""
    listed = subprocess.run(["ps", "-eo", "pid=,sid=,stat="], capture_output=True, text=True, check=True).stdout
    found = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, sid, state in found if int(sid) == session and state[0] not in "ZX"]
