"""Which benchmarks there are: the harness's own and those that distributions name in `icrl_bench.benchmarks`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from icrl_registry.benchmarks import GROUP, Benchmark
from icrl_registry.configuration import build_config
from icrl_registry.discovery import PluginEntry, entries_of_group, import_entry
from icrl_registry.errors import PluginError, unknown_name

BUILT_IN = {
    "learning": "icrl_bench.benchmarking.learning:LearningBenchmark",
    "sources": "icrl_bench.benchmarking.sources:SourcesBenchmark",
    "backbones": "icrl_bench.benchmarking.backbones:BackbonesBenchmark",
    "run": "icrl_bench.benchmarking.whole_run:RunBenchmark",
}


def benchmark_names() -> list[str]:
    """All names, sorted; nothing is imported."""
    return sorted({*BUILT_IN, *(entry.name for entry in entries_of_group(GROUP, "benchmark"))})


def make_benchmark(name: str, quick: bool, settings: Mapping[str, Any]) -> Benchmark:
    """The benchmark `name`, with its quick settings if asked for, below `settings`.

    Raises:
        UnknownNameError: there is none of the name, or a setting that it does not have.
        PluginError: it cannot be imported, is no benchmark, or two distributions carry the name.
    """
    found = benchmark_class(name)
    benchmark: Benchmark = found(build_config(found.Config, {**(found.quick if quick else {}), **settings}, "bench"))
    return benchmark


def benchmark_class(name: str) -> Any:
    """The class of the benchmark `name`, imported.

    Raises:
        UnknownNameError: there is none of the name.
        PluginError: it cannot be imported, is no benchmark, or two distributions carry the name.
    """
    entries = [entry for entry in entries_of_group(GROUP, "benchmark") if entry.name == name]
    if name in BUILT_IN and not entries:
        module, _, attribute = BUILT_IN[name].partition(":")
        return getattr(import_module(module), attribute)
    if not entries:
        raise unknown_name("benchmark", name, benchmark_names(), "icrl-bench bench list")
    if len(entries) > 1 or name in BUILT_IN:
        owners = " and ".join(entry.distribution for entry in entries)
        raise PluginError(f"the benchmark '{name}' is carried twice, by {owners}", "uninstall or rename one of them")
    return _checked(entries[0])


def _checked(entry: PluginEntry) -> Any:
    found = import_entry(entry, GROUP)
    missing = [member for member in ("Config", "quick", "run") if not hasattr(found, member)]
    if missing:
        words = ", ".join(missing)
        raise PluginError(
            f"the benchmark '{entry.name}' ({entry.value}, from {entry.distribution}) lacks {words}",
            "derive from icrl_registry.benchmarks.Benchmark",
        )
    return found
