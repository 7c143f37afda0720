"""`icrl-bench bench NAME`: what this machine does, beside what a user would pick instead."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.options import JsonFlag
from icrl_bench.machine.cpu_settings import set_for_training
from icrl_bench.machine.streams import stdout_for_the_result
from icrl_registry.errors import UsageError

if TYPE_CHECKING:
    from icrl_registry.benchmarks import Benchmark, BenchmarkReport

FORMATS = ("svg", "png")
#: Measure what `run` does, and so with what `run` sets; PyTorch's own attention takes as long with it as without.
AS_IN_A_RUN = ("attention", "backbones", "run")


def bench(
    name: Annotated[
        str, typer.Argument(help="scan, attention, sources, learning, backbones, run, or a plugin's; list: show all.")
    ],
    quick: Annotated[bool, typer.Option("--quick", help="Smaller sizes: within a minute.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A size, such as bench.repeats=9.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu; or cuda, for scan, attention and backbones.")] = "cpu",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for NAME.json, .md, .svg and .png.", file_okay=False)
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Measure this machine in one run, contenders taking turns: medians, spreads, ratios, and what must be reached."""
    if name in AS_IN_A_RUN:
        set_for_training()
    from icrl_bench.benchmarking.catalogue import benchmark_names, make_benchmark
    from icrl_bench.benchmarking.showing import as_document, print_report
    from icrl_registry.configuration import parse_assignments

    if name == "list":
        typer.echo(json.dumps({"benchmarks": benchmark_names()}) if json_ else "\n".join(benchmark_names()))
        return
    settings = _on_device(name, device, parse_assignments(set_ or [], sections=("bench",)).get("bench", {}))
    started = time.monotonic()
    with stdout_for_the_result():  # what a plugin prints is no part of the result
        report = _run(name, make_benchmark(name, quick, settings), quiet=json_)
        document = as_document(name, report, quick, time.monotonic() - started, settings)
    if out is not None:
        _write(out, name, report, document)
    if json_:
        typer.echo(json.dumps(document, allow_nan=False))
        return
    from rich.console import Console

    machine = document["machine"]
    console = Console(highlight=False)
    console.print(f"{machine['processor']}, {machine['cores']} cores; {document['seconds']:.0f} s", markup=False)
    print_report(report, console)


def _on_device(name: str, device: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with the device that was asked for by either option.

    Raises:
        UsageError: this machine has no such device, or the benchmark measures processors alone.
    """
    from icrl_bench.benchmarking.catalogue import benchmark_class
    from icrl_bench.cli.options import choose_device

    chosen = choose_device(str(settings.get("device", device)))
    if chosen == "cpu":
        return settings
    if "device" not in benchmark_class(name).Config.model_fields:
        raise UsageError(f"bench {name} measures the processor alone, not {chosen}", "leave out --device")
    return {**settings, "device": chosen}


def _run(name: str, benchmark: Benchmark, quiet: bool) -> BenchmarkReport:
    """With one bar, the rate of its steps and the time that is left."""
    from icrl_bench.machine.progress import Progress

    with Progress([f"bench {name}"], quiet=quiet) as progress, progress.stage(f"bench {name}", 1, "steps") as stage:

        def report(done: int, total: int, what: str) -> None:
            stage.total = total
            stage.set(done, what)

        return benchmark.run(report)


def _write(folder: Path, name: str, report: BenchmarkReport, document: dict[str, object]) -> None:
    from icrl_bench.benchmarking.markdown import as_markdown
    from icrl_bench.benchmarking.showing import draw
    from icrl_registry.files import replace_file

    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / f"{name}.json", (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
    replace_file(folder / f"{name}.md", as_markdown(name, report, document).encode())
    for suffix in FORMATS:
        draw(report, str(folder / f"{name}.{suffix}"))
