"""`icrl-bench bench`: the document, the table and the files of every benchmark at tiny sizes, and what is left out."""

import json
import shlex
from importlib.util import find_spec

import numpy as np
import pytest
from typer.testing import CliRunner

from icrl_bench.benchmarking import backbones, source_jobs
from icrl_bench.benchmarking.catalogue import benchmark_names, make_benchmark
from icrl_bench.benchmarking.markdown import as_markdown
from icrl_bench.benchmarking.showing import as_document, draw, print_report
from icrl_bench.cli.main import app
from icrl_plugins.benchmarks.scan import FLAT, slowest_to_fastest
from icrl_registry.benchmarks import Absent, BenchmarkReport, Growth, Measurement, Requirement, finished_on
from icrl_registry.configuration import parse_assignments
from icrl_registry.errors import UnknownNameError

TINY = {
    "attention": {"threads": 1, "repeats": 2, "heads": 2, "lengths": (8, 40), "seconds_per_turn": 0.0},
    "scan": {
        "threads": 1, "repeats": 2, "batch": 1, "channels": 32, "lengths": (16, 40, 100), "memory_lengths": (100,),
        "limits": {"mambapy pscan": 40, "sequential formula": 40, "fused block": 40, "transformers block": 40}, "flat_from": 40,
        "seconds_per_turn": 0.0, "flat_turns": 2, "context": 64, "context_model_size": 16, "context_layers": 1,
    },
    "backbones": {
        "threads": 1, "repeats": 2, "names": ("mamba", "dt", "gru"), "training_contexts": (20, 50), "tasks": 2,
        "action_contexts": (10, 30), "actions": 2, "seconds_per_turn": 0.0,
    },
    "sources": {"names": ("sb3-ppo",), "repeats": 1, "warm_up": 100, "seconds": 0.01, "total_steps": 4000},
    "run": {"repeats": 1, "jobs": 1},
    "learning": {"tasks": 2, "steps": 500, "settings": {"hidden_sizes": (16, 16), "batch_size": 32}},
}  # fmt: skip
NUMBER_KEYS = {
    "subject", "quantity", "unit", "more_is_better", "at", "median", "lower_quartile", "upper_quartile", "repeats",
}  # fmt: skip


def assert_is_document(document: dict) -> None:
    json.dumps(document, allow_nan=False)
    assert set(document) == {
        "benchmark", "title", "quick", "seconds", "machine", "versions", "axis", "measurements", "ratios", "growths",
        "requirements", "absent", "notes", "settings", "over",
    }  # fmt: skip
    for number in document["measurements"] + document["ratios"]:
        assert set(number) == NUMBER_KEYS
        assert number["lower_quartile"] <= number["median"] <= number["upper_quartile"]
    assert all(set(each) == {"name", "value", "limit", "unit", "passed"} for each in document["requirements"])
    assert all(set(each) == {"name", "reason", "remedy"} for each in document["absent"])


def run_tiny(name: str) -> tuple[BenchmarkReport, dict]:
    steps = []
    report = make_benchmark(name, False, TINY[name]).run(lambda done, total, what: steps.append((done, total)))
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
    document = as_document(name, report, False, 1.0)
    assert_is_document(document)
    return report, document


def test_scan_measures_time_memory_and_what_must_be_reached():
    report, _ = run_tiny("scan")
    ours = [each for each in report.measurements if each.subject == "fused scan"]
    assert {each.quantity for each in ours} == {"forward", "forward + backward", "peak memory added", FLAT}
    assert {each.at for each in ours} == {16, 40, 100}
    assert {each.at for each in ours if each.quantity == FLAT} == {40, 100}
    required = [each.name for each in report.requirements]
    pscan = ["mambapy's pscan"] if find_spec("mambapy") else []
    for name, words in zip(required, [*pscan, "slowest : fastest", "forward + backward within"], strict=True):
        assert words in name
    [added] = [each.median for each in ours if each.quantity == "peak memory added"]
    assert added < 32  # MiB: what a first call imports and compiles is no part of it
    assert any("sequential formula" in each.subject for each in report.ratios)


def test_attention_is_timed_beside_pytorchs():
    report, _ = run_tiny("attention")
    assert {each.subject for each in report.measurements} == {"fused attention", "PyTorch's attention"}
    assert {(each.quantity, each.at) for each in report.measurements} == {
        (quantity, length) for quantity in ("forward", "forward + backward") for length in (8, 40)
    }
    assert len(report.ratios) == 4
    assert len(report.growths) == 2


@pytest.mark.parametrize("name", ["attention", "scan", "backbones"])
def test_everything_is_on_the_device_that_was_asked_for(name: str):
    """PyTorch's device of shapes without numbers: a tensor that was left on the processor would not go with its others."""
    settings = {**TINY[name], "device": "meta"}
    if name == "backbones":
        settings["names"] = ("mamba", "gru")  # dt asks the device for a number
    report = make_benchmark(name, False, settings).run(lambda done, total, what: None)
    assert report.measurements
    assert not report.requirements
    assert not [each for each in report.measurements if "memory" in each.quantity]


def test_a_pass_is_over_when_the_device_is_done(monkeypatch):
    calls = []
    monkeypatch.setattr("torch.cuda.synchronize", lambda device: calls.append(device))
    finished_on("cpu", lambda: calls.append("work"))()
    assert calls == ["work"]
    finished_on("cuda:1", lambda: calls.append("more"))()
    assert calls == ["work", "more", "cuda:1"]


@pytest.mark.parametrize("given", [["--device", "cuda"], ["--set", "bench.device=cuda:0"]])
@pytest.mark.parametrize("name", ["attention", "scan", "backbones"])
def test_without_a_gpu_it_says_so(name: str, given: list[str], cli, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    found = cli("bench", name, *given, "--json")
    assert found.code == 2
    assert found.error["message"].startswith("no CUDA device for --device cuda")
    assert "--device cpu" in found.error["hint"]


def test_what_measures_processors_takes_no_gpu(cli, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    found = cli("bench", "sources", "--device", "cuda", "--json")
    assert found.code == 2
    assert found.error["message"] == "bench sources measures the processor alone, not cuda:0"


def test_learning_compares_a_population_with_its_reference():
    report, _ = run_tiny("learning")
    assert {each.subject for each in report.measurements} == {"sac", "sb3-sac"}
    assert {len(each.values) for each in report.measurements} == {2}
    assert all(each.median < 0 for each in report.measurements)


def test_learning_that_differs_is_seen():
    """Means of 10 ± 1.84 (Student's t, three degrees of freedom) beside such that are 1 and 2 apart."""
    benchmark = make_benchmark("learning", False, {})
    values = np.array([9.0, 11.0, 9.0, 11.0])
    for apart, passed in ((1.0, True), (2.0, False)):
        found = BenchmarkReport("")
        benchmark._compare(found, "return", ("sac", "sb3-sac"), [values, values + apart])
        requirement, paired = found.requirements
        assert (requirement.value, requirement.passed) == (pytest.approx(apart), passed)
        assert requirement.limit == pytest.approx(3.182 * np.sqrt(4 / 3) / 2, rel=1e-3)
        assert (paired.value, paired.limit, paired.passed) == (pytest.approx(apart), 0.0, False)  # on every task alike


def test_a_difference_on_every_task_is_seen_though_tasks_differ_more():
    benchmark = make_benchmark("learning", False, {})
    values, noise = np.array([-500.0, -300.0, -100.0, -50.0]), np.array([1.0, -1.0, 1.0, -1.0])
    for apart, passed in ((1.0, True), (2.0, False)):  # beside 1.84, as above
        found = BenchmarkReport("")
        benchmark._compare(found, "return", ("sac", "sb3-sac"), [values, values + noise + apart])
        by_mean, by_task = found.requirements
        assert by_mean.passed
        assert by_task.passed is passed
        assert by_task.limit == pytest.approx(3.182 * np.sqrt(4 / 3) / 2, rel=1e-3)


def test_markdown_has_every_number_of_the_tables():
    report = BenchmarkReport(
        "speeds", "context (tokens)",
        measurements=[
            Measurement("mamba", "time", "s", (1.0, 2.0, 3.0), 100),
            Measurement("dt", "time", "s", (4.0,), 100),
            Measurement("mamba", "time", "s", (2.5,), 1000),
        ],
        ratios=[Measurement("mamba : dt", "faster", "×", (4.0,), 100)],
        requirements=[Requirement("memory within", 3.0, 16.0, "GiB", True)],
        absent=[Absent("gru", "not installed", "pip install gru")],
    )  # fmt: skip
    text = as_markdown("backbones", report, as_document("backbones", report, True, 12.0))
    assert "`icrl-bench bench backbones --quick`" in text
    assert "over turns, which the contenders take" in text
    assert "- pass  memory within: 3 GiB (limit 16 GiB)" in text
    assert "| context (tokens) | mamba | dt |\n|---|--:|--:|\n| 100 | 2 ±25% | 4 |\n| 1,000 | 2.5 |  |" in text
    assert "## How many times faster\n\n| context (tokens) | mamba : dt |" in text
    assert "left out: gru, not installed" in text


def test_markdown_names_the_command_with_its_settings():
    report = BenchmarkReport("learning", over="tasks")
    settings = {"env": "ant-dir", "steps": 60_000, "settings": {"num_envs": 5}}
    text = as_markdown("learning", report, as_document("learning", report, False, 1.0, settings))
    words = shlex.split(text.split("`")[1])
    assert words[:4] == ["icrl-bench", "bench", "learning", "--set"]
    assert parse_assignments(words[4::2], sections=("bench",))["bench"] == settings
    assert "over tasks." in text


def test_a_slow_turn_is_no_slow_length():
    turns = np.array([[1.0, 1.1, 0.9], [1.0, 1.1, 0.9], [1.2, 1.32, 1.08]])
    assert slowest_to_fastest(turns) == pytest.approx(1.2)
    assert slowest_to_fastest(turns * [1.0, 2.0, 5.0]) == pytest.approx(1.2)


def test_a_rival_that_is_not_installed_is_left_out_by_name_with_the_command_that_brings_it(monkeypatch):
    from icrl_plugins.benchmarks import scan_contenders

    contender = scan_contenders.CONTENDERS["mambapy pscan"]._replace(module="no_such_module")
    monkeypatch.setitem(scan_contenders.CONTENDERS, "mambapy pscan", contender)
    settings = {**TINY["scan"], "memory_lengths": (), "context": 0}
    report = make_benchmark("scan", False, settings).run(lambda *_: None)
    assert Absent("mambapy pscan", "not installed", "pip install mambapy") in report.absent
    assert not any("mambapy" in each.subject for each in report.measurements)
    assert not any("mambapy" in each.name for each in report.requirements)


def test_backbones_get_speeds_actions_growth_and_ratios():
    report, _ = run_tiny("backbones")
    for name in ("mamba", "dt", "gru"):
        quantities = {each.quantity for each in report.measurements if each.subject == name}
        assert quantities == {"training speed", "time per action"}
        assert {each.quantity for each in report.growths if each.subject == name} == {
            "training, one pass", "time per action",
        }  # fmt: skip
    assert {each.subject for each in report.ratios} == {"mamba : dt", "mamba : gru"}


def test_backbones_are_compared_speed_by_speed_and_time_by_time():
    report = BenchmarkReport("", "context (tokens)")
    for name, speed, seconds in (("mamba", 600.0, 2.0), ("dt", 100.0, 8.0)):
        report.measurements.append(Measurement(name, "training speed", "tokens/s", (speed,), 50))
        report.measurements.append(Measurement(name, "time per action", "ms", (seconds,), 50))
    ratios = {each.quantity: each.median for each in backbones._ratios_to_first(report, ["dt", "mamba"])}
    assert ratios == {"faster, training speed": 6.0, "faster, time per action": 4.0}


def test_actions_are_timed_around_the_context_that_is_named():
    """The second and third turn of 10 actions of a context of 100 go from 90 to 110."""
    lengths = []
    benchmark = make_benchmark(
        "backbones", False, {"names": ("mamba",), "repeats": 2, "actions": 10, "action_contexts": (100,)}
    )
    found = BenchmarkReport("")
    makers = benchmark._makers(found)

    def make(context):
        backbone = makers["mamba"](context)
        step, prefill, seen = backbone.step, backbone.prefill, [0]

        def counted(tokens, state):
            seen[0] += 1
            lengths.append(seen[0])
            return step(tokens, state)

        def filled(tokens, state):
            seen[0] += tokens.shape[1]
            return prefill(tokens, state)

        backbone.step, backbone.prefill = counted, filled
        return backbone

    benchmark._measure_actions({"mamba": make}, found, lambda *_: None)
    assert lengths == list(range(81, 111))


def test_a_backbone_that_is_too_slow_is_tried_no_further():
    settings = {**TINY["backbones"], "longest_pass": 1e-9, "names": ("gru",)}
    report = make_benchmark("backbones", False, settings).run(lambda *_: None)
    assert {each.at for each in report.measurements if each.quantity == "training speed"} == {20}
    assert {each.at for each in report.measurements if each.quantity == "time per action"} == {10}


def test_sources_are_measured_in_processes_of_their_own():
    report, _ = run_tiny("sources")
    [measured] = report.measurements
    assert measured.subject == "sb3-ppo"
    assert measured.median > 10


def test_sources_are_held_to_how_many_times_the_references_speed_they_must_reach():
    benchmark = make_benchmark("sources", False, {})
    for speed, passed in ((501.0, True), (499.0, False)):
        found = BenchmarkReport("")
        for name, rate in (("sac", speed), ("sb3-sac", 100.0), ("sbx-sac", 250.0), ("ppo", 1.0)):
            found.measurements.append(Measurement(name, "training", "env steps/s", (rate, rate)))
        benchmark._compare(found)
        assert {each.subject: each.median for each in found.ratios} == {
            "sac : sb3-sac": pytest.approx(speed / 100), "sac : sbx-sac": pytest.approx(speed / 250),
        }  # fmt: skip
        [requirement] = found.requirements
        assert (requirement.limit, requirement.passed) == (5.0, passed)


def test_a_first_update_is_no_part_of_a_sources_speed(monkeypatch):
    """Ten rollouts of 100 steps in 1 s; after each an update of 1 s, the first of 50 s. Reports precede the updates."""
    now = 0.0
    monkeypatch.setattr(source_jobs.time, "perf_counter", lambda: now)
    watch = source_jobs._Stopwatch(warm_up_steps=100, seconds=7.5)

    def train():
        nonlocal now
        for step in range(1, 1001):
            now += 0.01
            watch.report(1)
            if step % 100 == 0:
                now += 50.0 if step == 100 else 1.0

    with pytest.raises(source_jobs._Enough):
        train()
    assert watch.rate == pytest.approx(50.0, rel=0.05)


def test_a_source_trains_as_many_tasks_at_once_as_it_takes_and_the_report_says_so():
    from icrl_bench.benchmarking.sources import SourcesBenchmark, SourcesConfig

    benchmark = SourcesBenchmark(SourcesConfig(names=("sac", "sb3-sac"), tasks=3))
    jobs = benchmark._jobs(BenchmarkReport(""))
    assert benchmark.tasks_at_once == {"sac": 3, "sb3-sac": 1}
    assert [arguments[4] for _, arguments in jobs.values()] == [3, 1]


def test_a_source_whose_rival_is_missing_is_named(monkeypatch):
    from icrl_bench.benchmarking import sources

    monkeypatch.setattr(sources, "find_spec", lambda name: None)
    settings = {**TINY["sources"], "names": ("sbx-sac", "no-such-source")}
    report = make_benchmark("sources", False, settings).run(lambda *_: None)
    assert report.absent[0] == Absent("sbx-sac", "not installed", "pip install sbx-rl")
    assert report.absent[1].name == "no-such-source"
    assert report.measurements == []


@pytest.mark.slow
def test_a_run_is_split_into_its_stages():
    report, _ = run_tiny("run")
    seconds = {each.subject: each.median for each in report.measurements if each.unit == "s"}
    whole = seconds.pop("whole run")
    assert sum(seconds.values()) == pytest.approx(whole)
    assert min(seconds[stage] for stage in ("collect", "train", "adapt")) > 0


def sample_report(axis: str) -> BenchmarkReport:
    places = (100.0, 50_000.0) if axis else (None,)
    names = ["fused scan", "mambapy pscan", "sequential formula", "fused block", "transformers block"]
    measured = [
        Measurement(name, "forward + backward", "µs/token", (1234.5, 1300.0, 1400.0), at)
        for name in names
        for at in places
    ]
    return BenchmarkReport(
        "selective scan", axis, measured, [Measurement("a : b", "faster", "×", (2.0, 3.0), places[0])],
        [Growth("a", "time", 1.0, (0.9, 1.1), 100, 50_000)], [Requirement("x", 36.0, 35.0, "×", True)],
        [Absent("c", "not installed", "pip install c")], ["a note"],
    )  # fmt: skip


@pytest.mark.parametrize("axis", ["context T (tokens)", ""])
def test_tables_fit_80_columns_and_plots_are_written(axis, tmp_path):
    from rich.console import Console

    console = Console(width=80, record=True, highlight=False)
    print_report(sample_report(axis), console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "pass  x: 36 × (limit 35 ×)" in text
    assert "left out: c, not installed; pip install c" in text
    assert "±" in text
    assert "…" not in text
    for suffix in ("svg", "png"):
        assert draw(sample_report(axis), str(tmp_path / f"plot.{suffix}"))
        assert (tmp_path / f"plot.{suffix}").stat().st_size > 1000


def test_quick_settings_lie_below_those_that_are_given():
    assert make_benchmark("run", True, {}).config.repeats == 1
    assert make_benchmark("run", True, {"repeats": 4}).config.repeats == 4


def test_unknown_names_and_settings_are_refused_with_the_nearest():
    with pytest.raises(UnknownNameError) as unknown:
        make_benchmark("scam", False, {})
    assert "scan" in unknown.value.hint
    with pytest.raises(UnknownNameError) as setting:
        make_benchmark("run", False, {"repeat": 3})
    assert "bench.repeats" in setting.value.hint


def test_the_command_lists_names_and_prints_one_document(tmp_path):
    names = CliRunner().invoke(app, ["bench", "list"]).stdout.split()
    assert names == benchmark_names() == sorted({*names, "attention", "backbones", "run", "scan", "sources"})
    sizes = [f"--set=bench.{key}={json.dumps(value)}" for key, value in TINY["backbones"].items() if key != "names"]
    arguments = ["bench", "backbones", *sizes, '--set=bench.names=["gru"]', "--json", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert_is_document(json.loads(result.stdout))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"backbones.{suffix}" for suffix in ("json", "md", "png", "svg")
    ]
