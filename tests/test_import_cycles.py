"""No module of ours imports, directly or through others, itself: every package can be read from the bottom up."""

from __future__ import annotations

import functools

import grimp
import pytest


@functools.cache
def cycles(package: str) -> frozenset[frozenset[str]]:
    """The sets of modules that reach one another by import statements, in functions too but not for type checkers."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    return frozenset(frozenset(group) for group in strongly_connected(edges(graph)) if len(group) > 1)


def edges(graph: grimp.ImportGraph) -> dict[str, set[str]]:
    return {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}


def strongly_connected(graph: dict[str, set[str]]) -> list[set[str]]:
    """Modules are in one group if each can be reached from the other."""
    reached = {module: reachable(graph, module) for module in graph}
    groups: list[set[str]] = []
    for module in sorted(graph):
        if not any(module in group for group in groups):
            groups.append({module} | {other for other in reached[module] if module in reached[other]})
    return groups


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        found = graph[waiting.pop()] - seen
        seen |= found
        waiting += sorted(found)
    return seen


PACKAGES = ("icrl_registry", "icrl_bench", "icrl_plugins", "icrl_leaderboards")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_through_others(package: str):
    assert sorted(map(sorted, cycles(package))) == []


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert [group for group in strongly_connected(graph) if len(group) > 1] == [{"b", "c"}]
