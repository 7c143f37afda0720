"""Runs the conformance checks of one plugin: what its contract promises, tried on a small scale.

    from icrl_registry.discovery import load
    from icrl_registry.testing.conformance import run_checks

    def test_conformance():
        failed = [result for result in run_checks(load("environment", "my-maze")) if not result.passed]
        assert not failed, failed

Each check is a function of a trial (a plugin with a configuration) that raises `ConformanceError` in words, and may
return a remark. Training methods and sources in their default size takes long: a class can carry smaller settings in the
attribute `conformance_settings`, and `run_checks` takes others.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from icrl_registry.configuration import build_config
from icrl_registry.contracts import Environment
from icrl_registry.discovery import Plugin
from icrl_registry.errors import BenchError, PluginError
from icrl_registry.testing.trial import Check, ConformanceError, Trial, require


class CheckResult(NamedTuple):
    """What one check found."""

    name: str
    passed: bool
    message: str  # why it failed, or a remark


def checks_for(kind: str) -> tuple[Check, ...]:
    """The checks of one kind of plugin, those that all kinds share first."""
    from icrl_registry.testing.backbone_checks import BACKBONE_CHECKS
    from icrl_registry.testing.environment_checks import ENVIRONMENT_CHECKS
    from icrl_registry.testing.method_checks import METHOD_CHECKS
    from icrl_registry.testing.source_checks import SOURCE_CHECKS

    of_kind: dict[str, tuple[Check, ...]] = {
        "environment": ENVIRONMENT_CHECKS,
        "source": SOURCE_CHECKS,
        "backbone": BACKBONE_CHECKS,
        "method": METHOD_CHECKS,
    }
    return (says_what_it_is, describes_every_setting, *of_kind[kind])


def make_trial(
    plugin: Plugin,
    settings: Mapping[str, Any] | None = None,
    backbone: Plugin | None = None,
    environment: Environment | None = None,
) -> Trial:
    """A plugin with the configuration it is checked in: its own `conformance_settings`, then `settings` over them.

    A method is tried with `backbone`, in that one's own `conformance_settings`; a source or method in `environment`. Without
    them there are toys.

    Raises:
        UsageError: settings that its configuration refuses.
    """
    kind, config_type = plugin.entry.kind, plugin.component.Config
    chosen = {**getattr(plugin.component, "conformance_settings", {}), **(settings or {})}
    return Trial(plugin, build_config(config_type, chosen, kind), backbone, environment)


def run_checks(
    plugin: Plugin,
    settings: Mapping[str, Any] | None = None,
    report: Callable[[CheckResult], None] = lambda _: None,
    backbone: Plugin | None = None,
    environment: Environment | None = None,
) -> list[CheckResult]:
    """All checks of the plugin's kind, in order; `report` is called after each. A failing check doesn't end the others.

    `backbone` is what a method is tried with, `environment` what a source or method is tried in, instead of toys. A given
    environment is not known in closed form, so less of what a source records can be held to the truth there.

    Raises:
        UsageError: settings that the plugin's configuration refuses.
    """
    trial = make_trial(plugin, settings, backbone, environment)
    results = []
    for check in checks_for(plugin.entry.kind):
        results.append(_run(check, trial))
        report(results[-1])
    return results


def require_conformance(plugin: Plugin) -> None:
    """Refuses what `plugins check` would refuse.

    Raises:
        PluginError: a check failed; the message says which, and why.
    """
    for result in run_checks(plugin):
        if not result.passed:
            name = plugin.entry.name
            raise PluginError(
                f"{name} of {plugin.entry.distribution} breaks its contract ({result.name}): {result.message}",
                f"`icrl-bench plugins check {name}` has all of it",
            )


def _run(check: Check, trial: Trial) -> CheckResult:
    name = check.__name__
    try:
        return CheckResult(name, True, check(trial) or "")
    except ConformanceError as error:
        return CheckResult(name, False, str(error))
    except BenchError as error:
        return CheckResult(name, False, f"{error.message} ({error.hint})" if error.hint else error.message)
    except (Exception, SystemExit) as error:
        return CheckResult(name, False, f"{type(error).__name__}: {error} (raised at {_place(error)})")


def _place(error: BaseException) -> str:
    """File and line where the exception was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"


def says_what_it_is(trial: Trial) -> None:
    """The class has a docstring of its own: `plugins show` prints it."""
    own = vars(trial.component).get("__doc__") or ""
    name = trial.component.__name__
    require(bool(own.strip()), f'{name} has no docstring; write below `class {name}`: """What it is. Source."""')


def describes_every_setting(trial: Trial) -> None:
    """Each field of the configuration has a line of help and survives JSON, in which it is stored with every row."""
    fields = type(trial.config).model_fields
    silent = [name for name, field in fields.items() if not (field.description or "").strip()]
    require(not silent, f"without a description: {', '.join(silent)}; write Field(default, description='one line')")
    again = type(trial.config).model_validate_json(trial.config.model_dump_json())
    same = again.model_dump() == trial.config.model_dump()  # without fields that are no part of a row
    require(same, "the configuration changes when it is written to JSON and read again")
