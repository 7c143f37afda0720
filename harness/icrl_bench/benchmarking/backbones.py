"""`icrl-bench bench backbones`: what a context costs each registered backbone, in training and for every action.

This is the cost side of the claim that the seed paper (arXiv 2506.13892) makes for Mamba: linear where attention is quadratic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from icrl_registry.benchmarks import (
    Absent,
    Benchmark,
    BenchmarkReport,
    Measurement,
    ReportStep,
    finished_on,
    fit_growth,
    ratio,
    seconds_of,
    take_turns,
)
from icrl_registry.configuration import ComponentConfig, build_config
from icrl_registry.discovery import list_plugins, load
from icrl_registry.errors import BenchError
from icrl_registry.protocols.loading import load_protocol

TRAINING, TRAINING_SECONDS = "training speed", "training, one pass"
ACTION = "time per action"


class BackbonesConfig(ComponentConfig):
    """Sizes of the backbones benchmark."""

    device: str = Field("cpu", description="cpu or cuda.")
    threads: int = Field(2, ge=1, description="Threads of PyTorch and of kernels.")
    repeats: int = Field(5, ge=1, description="Turns; medians and quartiles are over them.")
    protocol: str = Field("laptop", description="Protocol whose settings the backbones get.")
    names: tuple[str, ...] = Field((), description="Backbones; none: all that are registered.")
    batch: int = Field(1, ge=1, description="Contexts B of a training pass.")
    tasks: int = Field(10, ge=1, description="Tasks K that are acted for at once.")
    training_contexts: tuple[int, ...] = Field(
        (500, 1000, 2000, 4000, 8000, 16000, 32000, 50000), description="Context lengths T in training."
    )
    action_contexts: tuple[int, ...] = Field(
        (100, 1000, 2000, 5000, 10000, 20000, 50000), description="Tokens in the context when actions are timed."
    )
    actions: int = Field(30, ge=1, description="Actions of a turn.")
    longest_pass: float = Field(6.0, gt=0, description="Seconds of a pass from which on no longer context is tried.")
    seconds_per_turn: float = Field(0.2, ge=0, description="A turn repeats its pass until so much time has gone by.")


class BackbonesBenchmark(Benchmark):
    """Tokens per second in training and milliseconds per action, against the context, with their growth."""

    Config: ClassVar[type[ComponentConfig]] = BackbonesConfig
    quick: ClassVar[Mapping[str, Any]] = {
        "repeats": 3,
        "training_contexts": (500, 1000, 2000, 4000),
        "action_contexts": (100, 1000, 2000, 4000),
        "actions": 10,
        "longest_pass": 1.0,
        "seconds_per_turn": 0.02,
    }

    def __init__(self, config: ComponentConfig) -> None:
        assert isinstance(config, BackbonesConfig)
        self.config = config

    def run(self, report: ReportStep) -> BenchmarkReport:
        """See `Benchmark.run`."""
        import torch

        config = self.config
        where = "" if config.device == "cpu" else f" on {config.device}"
        sizes = f"{config.threads} threads: training B {config.batch}, acting K {config.tasks}"
        title = f"backbones of {config.protocol}{where}, {sizes}"
        found = BenchmarkReport(title, "context (tokens)")
        makers = self._makers(found)
        steps = len(config.training_contexts) + len(config.action_contexts)
        before = torch.get_num_threads()
        torch.set_num_threads(config.threads)
        try:
            self._measure_training(makers, found, lambda done, what: report(done, steps, what))
            first = len(config.training_contexts)
            self._measure_actions(makers, found, lambda done, what: report(first + done, steps, what))
        finally:
            torch.set_num_threads(before)
        for quantity in (TRAINING_SECONDS, ACTION):
            for name in makers:
                points = [each for each in found.measurements if (each.subject, each.quantity) == (name, quantity)]
                if len(points) > 1:
                    found.growths.append(fit_growth(points))
        found.measurements = [each for each in found.measurements if each.quantity != TRAINING_SECONDS]
        found.ratios = _ratios_to_first(found, list(makers))
        report(steps, steps, "done")
        return found

    def _makers(self, found: BenchmarkReport) -> dict[str, Callable[[int], Any]]:
        """Each backbone as a function of the context length; one that cannot be built is left out by name."""
        import torch

        settings = load_protocol(self.config.protocol).backbone
        makers: dict[str, Callable[[int], Any]] = {}
        for name in self.config.names or tuple(sorted({entry.name for entry in list_plugins("backbone")})):
            try:
                component = load("backbone", name).component
                chosen = build_config(component.Config, settings.get(name, {}), "backbone")
            except BenchError as error:
                found.absent.append(Absent(name, error.message, error.hint))
                continue

            def make(context: int, component: Any = component, chosen: ComponentConfig = chosen) -> Any:
                with torch.random.fork_rng(devices=[]):  # the weights' values don't matter; nobody's generator moves
                    return component(chosen, context_length=context).to(self.config.device)

            makers[name] = make
            count = sum(each.numel() for each in make(8).parameters())
            found.notes.append(f"{name}: {count:,} parameters")
        return makers

    def _measure_training(self, makers: Mapping[str, Any], found: BenchmarkReport, report: Any) -> None:
        config, names = self.config, list(makers)
        for done, context in enumerate(config.training_contexts):
            report(done, f"training, {context:,} tokens")
            passes = {
                name: finished_on(config.device, _training_pass(makers[name](context), config.batch, context))
                for name in names
            }
            timed = {name: _timer(once, config.seconds_per_turn) for name, once in passes.items()}
            for name, values in take_turns(timed, config.repeats).items():
                tokens = config.batch * context
                speeds = tuple(tokens / value for value in values)
                found.measurements.append(Measurement(name, TRAINING, "tokens/s", speeds, context))
                pass_seconds = Measurement(name, TRAINING_SECONDS, "s", values, context)
                found.measurements.append(pass_seconds)
                if pass_seconds.median > config.longest_pass:
                    names.remove(name)
                    found.notes.append(f"{name}: trained up to {context:,} tokens, {pass_seconds.median:.1f} s a pass")

    def _measure_actions(self, makers: Mapping[str, Any], found: BenchmarkReport, report: Any) -> None:
        import torch

        config = self.config
        room = config.action_contexts[-1] + (config.repeats + 1) * config.actions
        before = (config.repeats + 2) * config.actions // 2  # so that the turns after the first lie around `context`
        acting = {name: _Acting(make(room), config.tasks) for name, make in makers.items()}
        for done, context in enumerate(config.action_contexts):
            report(done, f"actions, {context:,} tokens")
            with torch.inference_mode():
                slow = [name for name, each in acting.items() if each.fill(context - before) > config.longest_pass]
                timed = {name: each.timer(config.actions) for name, each in acting.items()}
                for name, values in take_turns(timed, config.repeats).items():
                    found.measurements.append(Measurement(name, ACTION, "ms", values, context))
            for name in slow if context != config.action_contexts[-1] else ():
                del acting[name]
                found.notes.append(f"{name}: acted up to {context:,} tokens; filling a longer context takes too long")


class _Acting:
    """A backbone with a context that grows."""

    def __init__(self, backbone: Any, tasks: int) -> None:
        import torch

        self.backbone = backbone.eval()
        self.tasks = tasks
        self.seen = 0
        device = next(backbone.parameters()).device
        self._call = partial(finished_on, str(device))
        self._token = torch.zeros(tasks, backbone.model_size, device=device)
        self._state = backbone.initial_state(tasks)

    def fill(self, context: int) -> float:
        """Grows the context to `context` tokens, if it has fewer, at once where the backbone can; seconds that it took."""
        return seconds_of(self._call(lambda: self._fill(context - self.seen)))

    def _fill(self, missing: int) -> None:
        prefill = getattr(self.backbone, "prefill", None)
        while missing > 0:
            count = min(missing, 2048) if prefill else 1
            if prefill:
                tokens = self._token[:, None].expand(-1, count, -1).contiguous()  # (K, T, D)
                _, self._state = prefill(tokens, self._state)
            else:
                _, self._state = self.backbone.step(self._token, self._state)
            missing -= count
            self.seen += count

    def timer(self, actions: int) -> Callable[[], float]:
        """Milliseconds of one of `actions` steps."""

        def act() -> None:
            for _ in range(actions):
                _, self._state = self.backbone.step(self._token, self._state)
            self.seen += actions

        return lambda: 1e3 * seconds_of(self._call(act)) / actions


def _training_pass(backbone: Any, batch: int, context: int) -> Callable[[], None]:
    import torch

    device = next(backbone.parameters()).device
    tokens = torch.randn(batch, context, backbone.model_size, generator=torch.Generator().manual_seed(0)).to(device)

    def once() -> None:
        backbone.zero_grad(set_to_none=True)
        backbone(tokens).square().mean().backward()

    return once


def _timer(once: Callable[[], None], longer_than: float) -> Callable[[], float]:
    return lambda: seconds_of(once, longer_than)


def _ratios_to_first(found: BenchmarkReport, names: list[str]) -> list[Measurement]:
    """`mamba` (or the first) beside every other backbone, where both were measured."""
    if not names:
        return []
    ours = "mamba" if "mamba" in names else names[0]
    ratios = []
    for each in found.measurements:
        if each.subject == ours:
            for other in found.measurements:
                if (other.quantity, other.at) == (each.quantity, each.at) and other.subject != ours:
                    pair = (other, each) if each.unit == "tokens/s" else (each, other)
                    values = ratio(*pair, f"faster, {each.quantity}")
                    ratios.append(
                        Measurement(f"{ours} : {other.subject}", values.quantity, "×", values.values, each.at)
                    )
    return ratios
