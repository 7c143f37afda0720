"""`icrl-bench doctor`: whether this machine and this installation can run the benchmark."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import typer

from icrl_bench.cli.options import HomeOption, JsonFlag, home_folder
from icrl_registry.errors import EXIT_RUN_FAILED, BenchError

MINIMUM_FREE_GIB = 2.0
TOKENS = 8  # that a backbone is tried on


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "note", "problem"]
    message: str


def doctor(home: HomeOption = None, json_: JsonFlag = False) -> None:
    """Look at versions, devices, kernels, simulators, plugins and disk. Exit code 1 if something must be mended.

    Kernels that were never compiled on this machine are compiled now, which takes up to a minute, once.
    """
    findings = [
        _guarded("versions", _versions),
        _guarded("device", _device),
        *_cuda_kernels(),
        _guarded("mujoco", _mujoco),
        _guarded("rendering", _rendering),
        _guarded("home", lambda: _home(home_folder(home))),
        *_plugins(),
        *_backbones(),
        *_benchmarks(),
    ]
    if json_:
        typer.echo(json.dumps({"findings": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            typer.echo(f"{finding.status:8} {finding.name:12} {finding.message}")
    if any(finding.status == "problem" for finding in findings):
        raise typer.Exit(EXIT_RUN_FAILED)


def _guarded(name: str, look: Callable[[], Diagnosis]) -> Diagnosis:
    try:
        return look()
    except Exception as error:  # a broken installation can fail in any way, and saying how is this command's purpose
        return Diagnosis(name, "problem", f"{type(error).__name__}: {error}")


def _versions() -> Diagnosis:
    from icrl_bench.machine.provenance import package_versions

    return Diagnosis("versions", "ok", ", ".join(f"{name} {number}" for name, number in package_versions().items()))


def _device() -> Diagnosis:
    import torch

    from icrl_bench.machine.provenance import hardware

    facts = hardware("cpu")
    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device"
    words = (
        f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads, {facts['memory_gib']} GiB; {cuda}"
    )
    return Diagnosis("device", "ok", words)


def _cuda_kernels() -> list[Diagnosis]:
    """Which kernels of the extra `cuda` would run, and what is missing; a note where there is a GPU that could run them."""
    import torch

    from icrl_bench.machine.accelerators import KERNELS, state_of

    has_gpu = torch.cuda.is_available()
    states = [state_of(kernel, has_gpu) for kernel in KERNELS]
    return [Diagnosis("cuda", "ok" if runs or not has_gpu else "note", words) for runs, words in states]


def _mujoco() -> Diagnosis:
    import mujoco

    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body><freejoint/><geom size='1'/></body></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    started, steps = time.perf_counter(), 2000
    for _ in range(steps):
        mujoco.mj_step(model, data)
    return Diagnosis(
        "mujoco", "ok", f"simulates ({steps / (time.perf_counter() - started):,.0f} steps/s of a falling ball)"
    )


def _rendering() -> Diagnosis:
    """For `icrl-bench watch`: nothing else needs it."""
    from icrl_bench.watching.opengl import what_draws
    from icrl_bench.watching.writing import INSTALL, can_write_mp4

    draws, words = what_draws()
    formats = "GIF, PNG and MP4" if can_write_mp4() else f"GIF and PNG; MP4 after {INSTALL}"
    return Diagnosis("rendering", "ok" if draws else "note", f"{words}; writes {formats}" if draws else words)


def _home(folder: object) -> Diagnosis:
    from pathlib import Path

    path = Path(str(folder))
    path.mkdir(parents=True, exist_ok=True)
    probe = path / ".doctor"
    probe.write_text("x", encoding="utf-8")
    probe.unlink()
    free = shutil.disk_usage(path).free / 2**30
    status: Literal["ok", "note"] = "ok" if free >= MINIMUM_FREE_GIB else "note"
    return Diagnosis("home", status, f"{path} is writable, {free:.1f} GiB free")


def _plugins() -> list[Diagnosis]:
    from icrl_registry.discovery import list_plugins, load

    findings = []
    for entry in list_plugins():
        try:
            load(entry.kind, entry.name)
        except BenchError as error:
            findings.append(Diagnosis(entry.name, "problem", f"{entry.kind} of {entry.distribution}: {error.message}"))
    return findings or [Diagnosis("plugins", "ok", f"all {len(list_plugins())} load")]


def _backbones() -> list[Diagnosis]:
    """Each backbone computes a few tokens, so that its kernels are loaded from their cache, or compiled."""
    from icrl_registry.discovery import list_plugins

    return [_guarded(entry.name, functools.partial(_backbone, entry.name)) for entry in list_plugins("backbone")]


def _backbone(name: str) -> Diagnosis:
    import torch

    from icrl_registry.discovery import load

    started, component = time.perf_counter(), load("backbone", name).component
    model = component(component.Config(), context_length=TOKENS)
    with torch.no_grad():
        features = model(torch.zeros(1, TOKENS, model.model_size))
    if not torch.isfinite(features).all():
        return Diagnosis(name, "problem", "computes what is not finite from zeros")
    kernel = getattr(model, "kernel", "torch")
    return Diagnosis(name, "ok", f"computes with {kernel} ({time.perf_counter() - started:.1f} s to load and run)")


def _benchmarks() -> list[Diagnosis]:
    """What those benchmarks find that can check this machine, and those that cannot be imported."""
    from icrl_bench.benchmarking.catalogue import benchmark_names

    findings = [_guarded(name, functools.partial(_benchmark, name)) for name in benchmark_names()]
    return [finding for finding in findings if finding.message]


def _benchmark(name: str) -> Diagnosis:
    from icrl_bench.benchmarking.catalogue import benchmark_class

    check = getattr(benchmark_class(name), "check", None)
    return Diagnosis(name, "ok", check() if callable(check) else "")
