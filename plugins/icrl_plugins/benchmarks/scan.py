"""`icrl-bench bench scan`: time and memory of the selective scan against the context, beside what can be installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from icrl_plugins.benchmarks.scan_contenders import (
    CONTENDERS,
    Mode,
    Pass,
    Shape,
    is_installed,
    prepare,
    prepare_warm,
    whole_model,
)
from icrl_plugins.kernels.selective_scan.operation import kernel_name
from icrl_registry.benchmarks import (
    Absent,
    Benchmark,
    BenchmarkReport,
    Measurement,
    ReportStep,
    Requirement,
    finished_on,
    fit_growth,
    in_fresh_process,
    ratio,
    seconds_of,
    take_turns,
)
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array

PSCAN_FACTOR, CONTEXT_GIB, FLATNESS = 35.0, 16.0, 1.15
QUANTITIES: dict[Mode, str] = {"forward": "forward", "training": "forward + backward"}
FLAT = "forward + backward, lengths taking turns"


def slowest_to_fastest(turns: Array) -> float:
    """(contenders, turns) → the slowest by the fastest contender; what slows a whole turn down does not count."""
    beside_mean = np.median(turns / turns.mean(axis=0), axis=1)  # (contenders,)
    return float(beside_mean.max() / beside_mean.min())


class ScanConfig(ComponentConfig):
    """Sizes of the scan benchmark."""

    device: str = Field("cpu", description="cpu; or cuda, where times are measured and nothing else.")
    threads: int = Field(2, ge=1, description="Threads of every contender.")
    repeats: int = Field(7, ge=1, description="Turns; medians and quartiles are over them.")
    batch: int = Field(4, ge=1, description="Sequences B.")
    channels: int = Field(128, ge=2, description="Inner channels E.")
    states: int = Field(16, ge=1, description="States N per channel.")
    lengths: tuple[int, ...] = Field((128, 1000, 2048, 5000, 10000, 20000, 50000), description="Contexts T.")
    memory_lengths: tuple[int, ...] = Field((2048, 10000, 50000), description="Contexts T at which memory is measured.")
    flat_from: int = Field(1000, ge=1, description="Shortest context of the flatness requirement.")
    flat_turns: int = Field(41, ge=1, description="Turns of that requirement, whose limit is narrow.")
    limits: dict[str, int] = Field(
        {"mambapy pscan": 2048, "sequential formula": 128, "transformers block": 128, "fused block": 128},
        description="Longest context of the contenders that explode, or that are there to be compared with such a one.",
    )
    seconds_per_turn: float = Field(0.2, ge=0, description="A turn repeats its pass until so much time has gone by.")
    context: int = Field(50_000, ge=0, description="Context of the whole model that must fit into memory; 0: skip it.")
    context_model_size: int = Field(512, ge=16, description="Its width D.")
    context_layers: int = Field(8, ge=1, description="Its layers L.")


class ScanBenchmark(Benchmark):
    """Time per token, peak memory, and three things that the fused scan must reach."""

    Config: ClassVar[type[ComponentConfig]] = ScanConfig
    quick: ClassVar[Mapping[str, Any]] = {
        "repeats": 3,
        "lengths": (128, 1000, 2048, 10000),
        "memory_lengths": (2048, 10000),
        "seconds_per_turn": 0.05,
        "flat_turns": 9,
        "context": 5_000,
        "context_layers": 2,
    }

    @staticmethod
    def check() -> str:
        """Whether this machine's kernels compile, load and run, in a sentence; raises what stands in their way."""
        from icrl_plugins.kernels.runtime.jit import probe

        return probe()

    def __init__(self, config: ComponentConfig) -> None:
        assert isinstance(config, ScanConfig)
        self.config = config

    def run(self, report: ReportStep) -> BenchmarkReport:
        """See `Benchmark.run`."""
        config = self.config
        sizes = f"B {config.batch}, E {config.channels}, N {config.states}"
        found = BenchmarkReport(f"selective scan, {sizes}, {config.threads} threads", "context T (tokens)")
        names = self._contenders(found)
        if config.device != "cpu":
            found.notes.append(f"{config.device}: the fused scan is {kernel_name(config.device)}")
            return self._only_times(names, found, report)
        timed, measured = len(QUANTITIES) * len(config.lengths), len(config.memory_lengths)
        steps = timed + measured + 2
        before = torch.get_num_threads()
        try:
            for done, (length, mode) in enumerate(product(config.lengths, QUANTITIES)):
                report(done, steps, f"{QUANTITIES[mode]}, T = {length:,}")
                self._measure_time(names, mode, length, found)
            for done, length in enumerate(config.memory_lengths):
                report(timed + done, steps, f"memory, T = {length:,}")
                self._measure_memory(names, length, found)
            report(steps - 2, steps, "time per token, lengths taking turns")
            self._measure_flatness(found)
            if config.context:
                report(steps - 1, steps, f"a whole model over {config.context:,} tokens")
                self._measure_context(found)
        finally:
            torch.set_num_threads(before)
        self._compare(names, found)
        report(steps, steps, "done")
        return found

    def _only_times(self, names: list[str], found: BenchmarkReport, report: ReportStep) -> BenchmarkReport:
        """On a GPU, whose memory is none of the process's, and for which nothing is claimed that must be reached."""
        places = list(product(self.config.lengths, QUANTITIES))
        for done, (length, mode) in enumerate(places):
            report(done, len(places), f"{QUANTITIES[mode]}, T = {length:,}")
            self._measure_time(names, mode, length, found)
        self._compare(names, found)
        found.requirements.clear()
        report(len(places), len(places), "done")
        return found

    def _contenders(self, found: BenchmarkReport) -> list[str]:
        names = []
        for name, contender in CONTENDERS.items():
            if not is_installed(contender):
                found.absent.append(Absent(name, "not installed", contender.install))
                continue
            names.append(name)
            if contender.why_limited and name in self.config.limits:
                found.notes.append(f"{name}: up to T = {self.config.limits[name]:,}, since {contender.why_limited}")
        return names

    def _within_limit(self, names: list[str], length: int) -> list[str]:
        return [name for name in names if length <= self.config.limits.get(name, length)]

    def _shape(self, length: int) -> Shape:
        return Shape(self.config.batch, length, self.config.channels, self.config.states, self.config.device)

    def _measure_time(self, names: list[str], mode: Mode, length: int, found: BenchmarkReport) -> None:
        config, shape = self.config, self._shape(length)
        tokens = config.batch * length

        def measured(once: Pass) -> Callable[[], float]:
            call = finished_on(config.device, once)
            return lambda: 1e6 * seconds_of(call, config.seconds_per_turn) / tokens

        passes = {name: prepare(name, shape, mode, config.threads) for name in self._within_limit(names, length)}
        contenders = {name: measured(once) for name, once in passes.items()}
        for name, values in take_turns(contenders, config.repeats).items():
            found.measurements.append(Measurement(name, QUANTITIES[mode], "µs/token", values, length))

    def _measure_memory(self, names: list[str], length: int, found: BenchmarkReport) -> None:
        for name in self._within_limit(names, length):
            cost = in_fresh_process(prepare_warm, name, self._shape(length), "training", self.config.threads)
            value = cost.added_bytes / 2**20
            found.measurements.append(Measurement(name, "peak memory added", "MiB", (value,), length))

    def _measure_flatness(self, found: BenchmarkReport) -> None:
        """How much the time per token depends on T: lengths take turns, since a machine's speed changes within minutes."""
        config = self.config
        lengths = [length for length in config.lengths if length >= config.flat_from]
        if len(lengths) < 2:
            return

        def measured(length: int) -> Callable[[], float]:
            once = prepare("fused scan", self._shape(length), "training", config.threads)
            return lambda: 1e6 * seconds_of(once, config.seconds_per_turn) / (config.batch * length)

        timed = take_turns({str(length): measured(length) for length in lengths}, config.flat_turns)
        turns = np.array(list(timed.values()))  # (lengths, repeats)
        for length, values in zip(lengths, turns, strict=True):
            found.measurements.append(Measurement("fused scan", FLAT, "µs/token", tuple(values), length))
        spread = slowest_to_fastest(turns)
        text = f"slowest : fastest time per token, T = {lengths[0]:,} … {lengths[-1]:,}, {FLAT}"
        found.requirements.append(Requirement(text, spread, FLATNESS, "×", spread <= FLATNESS))

    def _measure_context(self, found: BenchmarkReport) -> None:
        config = self.config
        cost = in_fresh_process(
            whole_model, config.context, config.context_model_size, config.context_layers, config.threads
        )
        name = f"{config.context_layers} layers x {config.context_model_size}, {config.context:,} tokens"
        gib = cost.peak_bytes / 2**30
        found.measurements.append(Measurement(name, QUANTITIES["training"], "s", (cost.seconds,), config.context))
        found.measurements.append(Measurement(name, "peak memory", "GiB", (gib,), config.context))
        found.requirements.append(
            Requirement(f"{name}: forward + backward within", gib, CONTEXT_GIB, "GiB", gib <= CONTEXT_GIB)
        )

    def _compare(self, names: list[str], found: BenchmarkReport) -> None:
        """Ratios, growths, and the requirements that come from them."""
        by_place = {(each.subject, each.quantity, each.at): each for each in found.measurements}
        rivals = {
            "mambapy pscan": "fused scan",
            "sequential formula": "fused scan",
            "transformers block": "fused block",
        }
        for quantity in QUANTITIES.values():
            for rival, ours in rivals.items():
                for length in self._lengths_of(rival) if rival in names else ():
                    pair = by_place[ours, quantity, length], by_place[rival, quantity, length]
                    found.ratios.append(ratio(*pair, f"faster, {quantity}"))
        pscan = [each for each in found.ratios if "mambapy" in each.subject and "backward" in each.quantity]
        if pscan:
            best = max(pscan, key=lambda each: each.at or 0)
            text = f"faster than mambapy's pscan at T = {best.at:,.0f}, forward + backward"
            found.requirements.insert(0, Requirement(text, best.median, PSCAN_FACTOR, "×", best.median >= PSCAN_FACTOR))
        for name in ("fused scan", "mambapy pscan"):
            per_pass = [
                Measurement(name, "seconds per pass", "s", tuple(v * (each.at or 1) for v in each.values), each.at)
                for each in found.measurements
                if each.subject == name and each.quantity == QUANTITIES["training"]
            ]
            if len(per_pass) > 1:
                found.growths.append(fit_growth(per_pass))

    def _lengths_of(self, name: str) -> list[int]:
        return [length for length in self.config.lengths if length <= self.config.limits.get(name, length)]
