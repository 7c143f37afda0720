"""What is known of one recorded run beyond its row: its training, and the settings in which it differs from its protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from icrl_bench.artefacts.checkpoints import KIND as CHECKPOINTS
from icrl_bench.artefacts.store import Store
from icrl_bench.planning import Request, make_plan
from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.runs.training import TrainingLog
from icrl_registry.errors import BenchError
from icrl_registry.protocols.loading import load_protocol, parse_protocol


@dataclass(frozen=True)
class SettingDifference:
    """One setting of a run that its protocol has otherwise."""

    key: str  # SECTION.KEY, as `--set` takes it
    value: Any
    protocols: Any  # None also where the protocol does not have it


def training_log(store: Store, record: RunRecord) -> TrainingLog | None:
    """How the run's training went; None where its checkpoint is not in the store, or reported nothing."""
    if not store.exists(CHECKPOINTS, record.checkpoint):
        return None
    try:
        log = TrainingLog.from_manifest(store.manifest(CHECKPOINTS, record.checkpoint))
    except BenchError:
        return None  # a damaged manifest: `data verify` says so, and the run itself is readable
    return log if log.points else None


def differences(record: RunRecord) -> list[SettingDifference] | str:
    """The settings in which the run differs from what its protocol gives that method and environment.

    A sentence where that cannot be told: a plugin or the protocol is not here.
    """
    return _differences(record, _plain_config)


def differences_in_words(records: Iterable[RunRecord]) -> dict[str, str]:
    """By run id: `method.updates = 20 (protocol: 1500)`, with semicolons between several."""
    plain, words = cache(_plain_config), {}
    for record in records:
        found = _differences(record, plain)
        if not isinstance(found, str):
            each = [f"{one.key} = {one.value} (protocol: {one.protocols})" for one in found]
            found = "; ".join(each) or "as the protocol has them"
        words[record.run_id] = found
    return words


PlainConfig = Callable[[str, str, str, str | None], dict[str, Any] | str]


def _differences(record: RunRecord, plain_config: PlainConfig) -> list[SettingDifference] | str:
    named = record.protocol.partition("+")[0]
    plain = plain_config(record.method, record.environment, named, record.protocol_content)
    if isinstance(plain, str):
        return plain
    found = []
    for section, settings in record.config.items():
        expected = plain.get(section, {})
        if not isinstance(settings, Mapping):
            continue
        found += [
            SettingDifference(f"{section}.{key}", value, expected.get(key))
            for key, value in sorted(settings.items())
            if key not in expected or expected[key] != value
        ]
    return found


def _plain_config(method: str, environment: str, protocol_id: str, content: str | None) -> dict[str, Any] | str:
    """The configuration that a protocol gives a method and an environment; a sentence where they are not here."""
    try:
        protocol = parse_protocol(content, protocol_id) if content is not None else load_protocol(protocol_id)
        return make_plan(Request(method, environment, protocol, {})).config
    except BenchError as error:
        return f"not known: {error.message}"
