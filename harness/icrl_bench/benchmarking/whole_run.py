"""`icrl-bench bench run`: the seconds of every stage of a smoke run in an empty home, and the share that each takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from icrl_registry.benchmarks import Benchmark, BenchmarkReport, Measurement, ReportStep
from icrl_registry.configuration import ComponentConfig

STAGES = ("collect", "floors", "train", "adapt")
REST, WHOLE = "start and record", "whole run"


class RunConfig(ComponentConfig):
    """What is run."""

    method: str = Field("ad-mamba", description="METHOD or METHOD-BACKBONE.")
    env: str = Field("reacher-goal", description="Environment.")
    protocol: str = Field("smoke", description="Protocol.")
    repeats: int = Field(3, ge=1, description="Runs, each in an empty home.")
    jobs: int = Field(2, ge=1, description="Processes that collect.")


class RunBenchmark(Benchmark):
    """Seconds and shares of the stages."""

    Config: ClassVar[type[ComponentConfig]] = RunConfig
    quick: ClassVar[Mapping[str, Any]] = {"repeats": 1}

    def __init__(self, config: ComponentConfig) -> None:
        assert isinstance(config, RunConfig)
        self.config = config

    def run(self, report: ReportStep) -> BenchmarkReport:
        """See `Benchmark.run`."""
        config = self.config
        title = f"{config.method} on {config.env}, {config.protocol} protocol, from an empty home"
        found = BenchmarkReport(title, over="runs")
        turns: list[dict[str, float]] = []
        for turn in range(config.repeats):
            report(turn, config.repeats, f"run {turn + 1}")
            with tempfile.TemporaryDirectory(prefix="icrl-bench-") as folder:
                turns.append(self._seconds(Path(folder)))
        for stage in (*STAGES, REST, WHOLE):
            seconds = tuple(turn[stage] for turn in turns)
            shares = tuple(100 * turn[stage] / turn[WHOLE] for turn in turns)
            found.measurements.append(Measurement(stage, "time", "s", seconds))
            found.measurements.append(Measurement(stage, "share", "%", shares))
        report(config.repeats, config.repeats, "done")
        return found

    def _seconds(self, home: Path) -> dict[str, float]:
        from icrl_bench.artefacts.store import Store
        from icrl_bench.machine.progress import Progress
        from icrl_bench.planning import Request, make_plan
        from icrl_bench.runs.execution import execute
        from icrl_bench.stages.stage import Context
        from icrl_leaderboards.database.leaderboard import Leaderboard
        from icrl_registry.protocols.loading import load_protocol

        config = self.config
        seconds = dict.fromkeys(STAGES, 0.0)

        def note(event: Mapping[str, Any]) -> None:
            if event["event"] == "stage_finished":
                seconds[event["stage"]] = seconds.get(event["stage"], 0.0) + event["seconds"]

        started = time.perf_counter()
        plan = make_plan(Request(config.method, config.env, load_protocol(config.protocol), {}, "cpu", "online"))
        board = Leaderboard(str(home / "leaderboard.sqlite"))
        with Progress([], quiet=True, on_event=note) as progress:
            execute(plan, [0], Context(Store(home), progress, config.jobs, board))
        whole = time.perf_counter() - started
        return {**seconds, REST: whole - sum(seconds.values()), WHOLE: whole}
