"""How long a plan will take: by hand from stages of known times, with a clock that is told what time it is."""

from __future__ import annotations

import itertools

import pytest

from icrl_bench.artefacts.datasets import WallClock
from icrl_bench.artefacts.store import Store
from icrl_bench.cli.runs.durations import about, total_lines
from icrl_bench.runs.durations import estimate
from icrl_bench.runs.durations.calibration import rounds_per_second, steps_per_second
from icrl_bench.runs.durations.own import own_speeds
from icrl_bench.runs.durations.speeds import Nearness, Speed, Subject, seconds_per_unit
from icrl_bench.runs.durations.table import SpeedTable, shipped_table
from icrl_registry.protocols.loading import load_protocol
from icrl_registry.testing.toy import ToyPoint

TOY = ("toy-method", "toy-point-v1")


def ticking(step: float):
    """A clock that says one step more each time it is read."""
    times = itertools.count(0.0, step)
    return lambda: next(times)


def keep_training(store: Store, seconds: float, updates: int, name: str = "a" * 16, method: str = TOY[0]) -> None:
    """A checkpoint as the train stage describes it."""
    about = {"method": method, "environment": TOY[1], "seconds": seconds, "config": {"method": {"updates": updates}}}
    with store.write("checkpoints", name, about) as folder:
        (folder / "checkpoint.safetensors").write_bytes(b"")


def keep_adaptation(store: Store, seconds: float, steps: int) -> None:
    with store.write("adaptations", "b" * 16, {"checkpoint": "a" * 16}) as folder:
        (folder / "returns.json").write_text(f'{{"seconds": {seconds}, "env_steps": {steps}}}')


# --- Speeds ------------------------------------------------------------------------------------------------------------


def speed(seconds: float, environment: str = "pusher-goal-v1", algorithm: str = "ad-dt", **settings: object) -> Speed:
    named = {key.replace("__", "."): value for key, value in settings.items()}
    return Speed(Subject("train", algorithm, environment, "cpu", named), seconds)


WANTED = Subject("train", "ad-dt", "pusher-goal-v2", "cpu", {"method.batch_size": 32, "backbone.num_layers": 4})


def test_the_most_alike_speed_counts_and_of_several_the_median():
    alike = [speed(seconds, method__batch_size=32, backbone__num_layers=4) for seconds in (1.0, 2.0, 9.0)]
    others = [
        speed(50.0, method__batch_size=32, backbone__num_layers=5),
        speed(70.0, "ant-dir-v1", method__batch_size=32),
    ]
    assert seconds_per_unit([*others, *alike], WANTED, Nearness.SAME) == 2.0


def test_a_numbers_share_of_the_time_is_in_proportion():
    known = [speed(1.5, method__batch_size=8, backbone__num_layers=2)]
    assert seconds_per_unit(known, WANTED, Nearness.SAME) == pytest.approx(1.5 * 4 * 2)
    assert seconds_per_unit([speed(1.5, method__batch_size="full")], WANTED, Nearness.SAME) == 1.5


def test_other_environments_and_methods_count_only_where_they_may():
    elsewhere, sibling = speed(3.0, "ant-dir-v1"), speed(5.0, algorithm="dpt-dt")
    assert seconds_per_unit([elsewhere, sibling], WANTED, Nearness.SAME) is None
    assert seconds_per_unit([elsewhere, sibling], WANTED, Nearness.ELSEWHERE) == 3.0
    assert seconds_per_unit([sibling], WANTED, Nearness.ELSEWHERE) is None
    assert seconds_per_unit([sibling], WANTED, Nearness.BACKBONE) == 5.0
    assert seconds_per_unit([speed(1.0, algorithm="mql")], WANTED, Nearness.BACKBONE) is None
    on_gpu = Speed(Subject("train", "ad-dt", "pusher-goal-v2", "cuda"), 0.1)
    assert seconds_per_unit([on_gpu], WANTED, Nearness.BACKBONE) is None


def test_a_homes_stages_say_how_fast_they_were(tmp_path):
    store = Store(tmp_path)
    keep_training(store, seconds=30.0, updates=60)
    keep_adaptation(store, seconds=8.0, steps=400)
    found = {each.of.kind: each.seconds for each in own_speeds(store)}
    assert found == {"train": 0.5, "adapt": 0.02}
    (tmp_path / "checkpoints" / ("a" * 16) / "manifest.json").write_text("{}")
    assert own_speeds(store) == []  # damaged, and the adaptation no longer tells whose it was


# --- Calibration -------------------------------------------------------------------------------------------------------


def test_rounds_and_steps_are_counted_by_the_clock():
    assert rounds_per_second(ticking(0.25)) == pytest.approx(4.0)
    environment = ToyPoint()
    (task,) = environment.tasks(1)
    assert steps_per_second(environment, task, ticking(0.125)) == pytest.approx(8.0)


def test_a_machine_of_half_the_speed_takes_twice_as_long(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "rounds_per_second", lambda: 50.0)
    of = Subject("train", *TOY)
    table = SpeedTable(2, 100.0, (Speed(of, 3.0), Speed(Subject("collect", "toy-source", TOY[1]), 1.0)))
    speeds = estimate.Speeds(Store(tmp_path), 1, table)
    assert speeds.seconds_a_unit(of) == (6.0, estimate.TABLE)
    collecting = Subject("collect", "toy-source", TOY[1])
    assert speeds.seconds_a_unit(collecting, groups=5)[0] == 4.0, "one process does what two cores did"
    assert estimate.Speeds(Store(tmp_path), 8, table).seconds_a_unit(collecting, groups=4)[0] == 1.0
    keep_training(Store(tmp_path), seconds=12.0, updates=12)
    assert estimate.Speeds(Store(tmp_path), 1, table).seconds_a_unit(of) == (1.0, estimate.OWN)


def test_the_shipped_table_knows_the_protocol_of_the_grid():
    table, protocol = shipped_table(), load_protocol("laptop")
    assert table.rounds_per_second > 0
    assert all(0 < each.seconds < 10 for each in table.speeds)
    methods = {method.removesuffix("@offline") for method in protocol.grid} - {"source"}
    for method, kind in itertools.product(sorted(methods), ("train", "adapt")):
        wanted = Subject(kind, method, "reacher-goal-v1")
        assert any(seconds_per_unit(table.speeds, wanted, near) is not None for near in Nearness), (method, kind)
    for environment, plan in protocol.environments.items():
        wanted = Subject("collect", plan.source, environment)
        assert seconds_per_unit(table.speeds, wanted, Nearness.ELSEWHERE) is not None, environment


# --- Plans -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def steady(monkeypatch):
    """Environments that take 100 steps a second, on a machine as fast as the table's."""
    monkeypatch.setattr(estimate, "steps_per_second", lambda environment, task: 100.0)
    monkeypatch.setattr(estimate, "rounds_per_second", lambda: shipped_table().rounds_per_second)


def stages_of(document):
    return {(each["kind"], each["seed"]): each for each in document["plan"]["stages"]}


def test_a_dry_run_multiplies_what_is_left_by_what_it_took_here(run, tmp_path, steady):
    home = Store(tmp_path / "home")
    keep_training(home, seconds=24.0, updates=6)
    keep_adaptation(home, seconds=10.0, steps=100)
    plan = run("--dry-run", "--json", "--seeds", "0,1").document["plan"]
    stages = stages_of({"plan": plan})
    horizon = ToyPoint().spec.horizon
    assert stages["train", 0]["seconds"] == stages["train", 1]["seconds"] == 12 * 4.0  # 12 updates of 4 s
    assert stages["train", 0]["basis"] == estimate.OWN
    assert stages["adapt", 0]["seconds"] == pytest.approx(2 * 3 * horizon * 0.1)  # 2 tasks, 3 episodes
    assert stages["floors", None]["seconds"] == pytest.approx(2 * 2 * 2 * horizon / 100, abs=0.05)
    assert stages["collect", None]["seconds"] is None, "no toy source ever collected here, nor in the table"
    total = plan["duration"]
    assert total["unknown"] == ["collect"]
    known = [each["seconds"] for each in plan["stages"] if each["seconds"] is not None]
    assert total["seconds"] == pytest.approx(sum(known), abs=0.2)
    text = run("--dry-run", "--seeds", "0,1").out
    assert "train: to do, about 48 s" in text
    assert "  time     at least" in text
    assert estimate.OWN in text


def test_what_is_done_takes_no_time(run, tmp_path, steady):
    run("--json")
    document = run("--dry-run", "--json").document
    assert document["plan"]["duration"]["seconds"] == 0
    assert document["plan"]["duration"]["complete"] is True
    assert "nothing is left to do" in run("--dry-run").out


def test_collecting_is_timed_by_the_data_sets_that_are_there(run, tmp_path, steady):
    first = run("--json").document["runs"][0]
    clock = WallClock(Store(tmp_path / "home"), first["dataset"])
    steps = first["collect_env_steps"]
    clock.path.write_text(f"{steps * 0.5:.3f}\n")  # half a second a step
    plan = run("--dry-run", "--json", "--set", "source.total_steps=40").document["plan"]
    collect = stages_of({"plan": plan})["collect", None]
    assert collect["seconds"] == pytest.approx(5 * 40 * 0.5)
    assert collect["basis"] == estimate.OWN


def test_an_environment_that_does_not_run_leaves_its_floors_unknown(run, monkeypatch):
    def fails(environment, task):
        raise RuntimeError("no such body")

    monkeypatch.setattr(estimate, "steps_per_second", fails)
    output = run("--dry-run", "--json")
    assert output.code == 0
    assert "floors" in output.document["plan"]["duration"]["unknown"]


def test_a_grid_counts_what_rows_share_once(cli, toy, inline, tmp_path, steady):
    keep_training(Store(tmp_path / "home"), seconds=12.0, updates=12)
    common = ("-p", toy / "toy.toml", "--methods", "toy-method", "--envs", "toy-point", "--dry-run", "--json")
    one = cli("grid", *common, "--seeds", "0").document["duration"]["by_kind"]
    three = cli("grid", *common, "--seeds", "0-2").document["duration"]["by_kind"]
    assert three["train"] == pytest.approx(3 * one["train"])
    assert three["floors"] == one["floors"]
    text = cli("grid", *common[:-1], "--seeds", "0-2").out
    assert "about 36 s" in text or "train 36 s" in text


# --- Words -------------------------------------------------------------------------------------------------------------


def test_lengths_have_two_digits_and_a_fitting_unit():
    said = {0.2: "a moment", 1: "about 1 s", 71.3: "about 71 s", 89.9: "about 90 s", 91: "about 1.5 min"}
    said |= {754: "about 13 min", 5300: "about 88 min", 5500: "about 1.5 h", 430_000: "about 120 h"}
    assert {seconds: about(seconds) for seconds in said} == said


def test_a_total_says_what_it_leaves_out():
    total = {"seconds": 120.0, "by_kind": {"collect": 60.0, "adapt": 60.0}, "unknown": ["train"], "basis": ["a guess"]}
    assert total_lines(total) == [
        "at least 2 min",
        "collect 60 s, adapt 60 s",
        "of unknown length: train",
        "by a guess",
    ]
    assert total_lines({**total, "unknown": []})[0] == "about 2 min"
    assert total_lines({**total, "seconds": 0.0, "by_kind": {}, "basis": []}) == [
        "not known",
        "of unknown length: train",
    ]
