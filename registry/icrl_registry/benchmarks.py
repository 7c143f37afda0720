"""The contract of a benchmark: how fast this machine is at something, beside what a user would pick instead.

A benchmark is a class that an entry point of the group `icrl_bench.benchmarks` names; `icrl-bench bench NAME` runs it, prints a
table, and can write JSON and a plot. Everything is measured in one run, contenders taking turns, and shown as medians with
quartiles: two runs of a machine that other people use differ by more than most differences that are worth knowing.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from icrl_registry.configuration import ComponentConfig
from icrl_registry.errors import BenchError

GROUP = "icrl_bench.benchmarks"

ReportStep = Callable[[int, int, str], None]
"""(steps done, steps in all, what is measured next)."""


@dataclass(frozen=True)
class Measurement:
    """One quantity of one contender, measured a few times."""

    subject: str
    quantity: str
    unit: str
    values: tuple[float, ...]
    at: float | None = None  # where on the report's axis, if it has one

    @property
    def median(self) -> float:
        return float(np.median(self.values))

    @property
    def quartiles(self) -> tuple[float, float]:
        """The lower and the upper one."""
        low, high = np.quantile(self.values, [0.25, 0.75])
        return float(low), float(high)


@dataclass(frozen=True)
class Growth:
    """quantity ∝ axis^exponent, fitted over [first, last]; the interval is 95 %, None with fewer than three points."""

    subject: str
    quantity: str
    exponent: float
    interval: tuple[float, float] | None
    first: float
    last: float


@dataclass(frozen=True)
class Requirement:
    """Something that must be reached; `value` and `limit` are in `unit`, and `passed` compares them."""

    name: str
    value: float
    limit: float
    unit: str
    passed: bool


@dataclass(frozen=True)
class Absent:
    """A contender that was left out."""

    name: str
    reason: str
    remedy: str  # a command


@dataclass
class BenchmarkReport:
    """What a benchmark found. Ratios are computed from `measurements`: the i-th values were taken in the same turn."""

    title: str
    axis: str = ""  # what `Measurement.at` counts, with its unit
    measurements: list[Measurement] = field(default_factory=list)
    ratios: list[Measurement] = field(default_factory=list)
    growths: list[Growth] = field(default_factory=list)
    requirements: list[Requirement] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    over: str = "turns, which the contenders take"  # what a measurement's values are


@runtime_checkable
class Benchmark(Protocol):
    """Measures something in one run. Constructed with an instance of its `Config`, which holds its sizes.

    A class may also have a static method `check() -> str`: within seconds it tries what the benchmark needs of this machine
    and says in a sentence what it found, or raises. `icrl-bench doctor` calls it.
    """

    Config: ClassVar[type[ComponentConfig]]
    quick: ClassVar[Mapping[str, Any]] = {}  # settings that make it end within a minute

    def __init__(self, config: ComponentConfig) -> None: ...

    @abstractmethod
    def run(self, report: ReportStep) -> BenchmarkReport:
        """Measures everything; says before each step how far it is."""


def take_turns(
    contenders: Mapping[str, Callable[[], float]], repeats: int, on_turn: Callable[[str], None] = lambda name: None
) -> dict[str, tuple[float, ...]]:
    """Each contender's results of `repeats` turns, in which every one is called once; a first turn warms up and is dropped."""
    results: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, measure in contenders.items():
            on_turn(name)
            value = measure()
            if turn:
                results[name].append(value)
    return {name: tuple(values) for name, values in results.items()}


def seconds_of(function: Callable[[], object], longer_than: float = 0.0) -> float:
    """Seconds that one call takes; called again and again, and averaged, until `longer_than` seconds have passed."""
    calls, started = 0, time.perf_counter()
    while True:
        function()
        calls += 1
        elapsed = time.perf_counter() - started
        if elapsed >= longer_than:
            return elapsed / calls


def finished_on(device: str, function: Callable[[], object]) -> Callable[[], None]:
    """The same call, which returns when the device is done: CUDA goes on after the call that gave it the work."""

    def call() -> None:
        function()
        if device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(device)

    return call


def ratio(subject: Measurement, rival: Measurement, quantity: str) -> Measurement:
    """How many times the rival's value is the subject's, turn by turn."""
    pairs = zip(subject.values, rival.values, strict=False)
    return Measurement(
        f"{subject.subject} : {rival.subject}", quantity, "×", tuple(r / s for s, r in pairs), subject.at
    )


def half_interval(values: Sequence[float]) -> float:
    """Half the 95 % interval of a mean by Student's t, for two values or more."""
    numbers = np.asarray(values, dtype=np.float64)
    return _student(len(numbers) - 1) * float(numbers.std(ddof=1)) / math.sqrt(len(numbers))


def _student(freedom: int) -> float:
    """Student's two-sided 95 % quantile."""
    from scipy.special import stdtrit  # 0.3 s to import, which a list of benchmarks need not wait for

    return float(stdtrit(freedom, 0.975))


def fit_growth(measurements: Sequence[Measurement]) -> Growth:
    """The exponent of a power law through the medians of one contender's quantity, by least squares in logarithms.

    Raises:
        BenchError: fewer than two places on the axis.
    """
    points = sorted((float(each.at), each.median) for each in measurements if each.at)
    if len({at for at, _ in points}) < 2:
        raise BenchError("a growth needs measurements at two places at least", "give the benchmark more lengths")
    x, y = np.log(np.array(points)).T
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    interval = None
    freedom = len(points) - 2
    if freedom > 0:
        residuals = y - y.mean() - slope * centred
        error = math.sqrt(float(residuals @ residuals) / freedom / float(centred @ centred))
        half = _student(freedom) * error
        interval = (slope - half, slope + half)
    first = measurements[0]
    return Growth(first.subject, first.quantity, slope, interval, points[0][0], points[-1][0])


@dataclass(frozen=True)
class Cost:
    """What a call in a process of its own took."""

    seconds: float
    peak_bytes: int  # of the whole process, during the call where the system can tell that apart
    added_bytes: int  # above what the process held before the call


def in_fresh_process(function: Callable[..., Callable[[], object]], *arguments: Any) -> Cost:
    """Cost of calling what `function(*arguments)` returns, in a new process: no memory of an earlier call is in it.

    `function` must be importable by name; what it does before it returns is not counted.

    Raises:
        BenchError: the process ended without an answer, as one that runs out of memory does.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        answer: Cost | str = ours.recv()
    except EOFError:
        process.join()
        raise BenchError(
            f"the measuring process ended with code {process.exitcode}", "is there enough memory?"
        ) from None
    process.join()
    if isinstance(answer, str):
        raise BenchError(answer)
    return answer


def _measure(answers: Any, function: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> None:
    try:
        call = function(*arguments)
        _forget_peak()
        before, started = _memory("VmRSS"), time.perf_counter()
        call()
        seconds = time.perf_counter() - started
        peak = _memory("VmHWM")
        answers.send(Cost(seconds, peak, max(0, peak - before)))
    except Exception as error:
        answers.send(f"{type(error).__name__}: {error}")
    answers.close()


def _forget_peak() -> None:
    """Lets Linux measure the peak (VmHWM) anew; elsewhere it stays that of the process's whole life."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _memory(name: str) -> int:
    """A line of /proc/self/status in bytes. `ru_maxrss` would do elsewhere; on Linux it begins with the parent's peak."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
