"""The plugin guide names every member of every contract and every hook."""

import inspect
from pathlib import Path

import pytest

from icrl_registry import contracts, hooks
from icrl_registry.discovery import CONTRACT_MEMBERS

GUIDE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", sorted(CONTRACT_MEMBERS))
def test_every_contract_member_is_in_its_section(kind):
    section = GUIDE.partition(f"\n## {kind.capitalize()}\n")[2].partition("\n## ")[0]
    assert section, f"no section for {kind}"
    assert [member for member in CONTRACT_MEMBERS[kind] if f"`{member}`" not in section] == []


def test_every_hook_is_in_the_table_with_its_arguments():
    for name in hooks.HOOK_NAMES:
        arguments = list(inspect.signature(getattr(hooks.HookSpecifications, name)).parameters)[1:]
        assert f"`{name}({', '.join(arguments)})`" in GUIDE


@pytest.mark.parametrize("kind", sorted(CONTRACT_MEMBERS))
def test_every_contract_method_has_a_docstring(kind):
    contract = getattr(contracts, kind.capitalize())
    undocumented = [
        name
        for name in CONTRACT_MEMBERS[kind]
        if callable(getattr(contract, name, None)) and not getattr(contract, name).__doc__
    ]
    assert undocumented == []
