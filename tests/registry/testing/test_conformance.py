"""The suite itself: its results, settings and remarks, and what it asks of every kind of plugin."""

from __future__ import annotations

import pytest
from pydantic import Field

from icrl_registry.configuration import ComponentConfig
from icrl_registry.errors import UnknownNameError
from icrl_registry.testing.conformance import CheckResult, checks_for, run_checks
from icrl_registry.testing.toy import ToyPoint


@pytest.mark.parametrize("kind", ["environment", "source", "backbone", "method"])
def test_checks_have_names_of_their_own_and_say_what_they_check(kind: str):
    names = [check.__name__ for check in checks_for(kind)]
    assert len(names) == len(set(names)) >= 9
    assert all((check.__doc__ or "").strip() for check in checks_for(kind))


def test_a_check_that_raises_is_a_failure_with_its_place_and_the_others_run(plugin):
    class Explodes(ToyPoint):
        """An environment that can't be made."""

        def make(self, task, render_mode=None):
            raise RuntimeError("no licence")

    reported: list[CheckResult] = []
    results = run_checks(plugin("environment", Explodes, "toy-point-v1"), report=reported.append)
    assert reported == results
    assert [each.passed for each in results].count(True) >= 4
    messages = {each.name: each.message for each in results}
    assert "RuntimeError: no licence (raised at test_conformance.py:" in messages["obeys_its_seed"]


def test_settings_reach_the_plugin_and_unknown_ones_are_refused(plugin):
    class Strict(ToyPoint):
        """An environment that can only be checked with the settings it names."""

        conformance_settings = {"horizon": 7}  # noqa: RUF012
        seen: list[int] = []  # noqa: RUF012

        def __init__(self, config: ComponentConfig | None = None) -> None:
            super().__init__(config)
            self.seen.append(self.config.horizon)

    run_checks(plugin("environment", Strict, "toy-point-v1"))
    assert set(Strict.seen) == {7}
    Strict.seen.clear()
    run_checks(plugin("environment", Strict, "toy-point-v1"), {"horizon": 5})
    assert set(Strict.seen) == {5}
    with pytest.raises(UnknownNameError):
        run_checks(plugin("environment", Strict), {"horizn": 5})


def test_undocumented_settings_and_classes_fail(failures):
    class Silent(ComponentConfig):
        horizon: int = 10
        described: int = Field(1, description="fine")

    class Undocumented(ToyPoint):
        Config = Silent

    found = failures("environment", Undocumented, "toy-point-v1")
    assert "horizon" in found["describes_every_setting"]
    assert "described" not in found["describes_every_setting"]
    assert "Undocumented" in found["says_what_it_is"]
