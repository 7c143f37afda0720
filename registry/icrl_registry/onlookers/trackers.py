"""Trackers: where a run's curves, configuration and results go beside the leaderboard, as they arise.

A tracker is a class that an entry point of the group `icrl_bench.trackers` names; `--tracker NAME` of `run`, `sweep` and `grid`
makes one. It only receives: nothing that it does or fails to do changes a number, and one that raises is spoken of once and
asked no more. It is called through the same hooks that any plugin may implement (`icrl_registry.hooks`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from icrl_registry.discovery import entries_of_group, import_entry
from icrl_registry.errors import PluginError, unknown_name

GROUP = "icrl_bench.trackers"

StepAxis = Literal["updates", "episode"]
"""What a number's place counts: updates of the training, or episodes in the unseen task, from 1."""


@runtime_checkable
class Tracker(Protocol):
    """Follows the runs of one command; several may be under way."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the tracker's own, where it keeps what it does not send elsewhere; it may not exist yet."""

    @abstractmethod
    def numbers(self, run_id: str, axis: StepAxis, place: int, values: Mapping[str, float]) -> None:
        """Finite numbers of a run at one place of an axis: `train/loss`, `validation/mean_return`, `adaptation/return`, …

        The places of one name rise.
        """

    @abstractmethod
    def result(self, run_id: str, record: Mapping[str, Any]) -> None:
        """The run is recorded; `record` is what the hook `icrl_result` gets: `method`, `config`, `normalised_score`, ….
        Nothing more comes of the run."""

    @abstractmethod
    def close(self) -> None:
        """The command ends, finished or not."""


def tracker_names() -> list[str]:
    """The trackers that are installed; nothing is imported."""
    return sorted({entry.name for entry in entries_of_group(GROUP, "tracker")})


def make_tracker(name: str, folder: Path) -> Tracker:
    """The tracker `name`, with a folder of its own.

    Raises:
        UnknownNameError: there is none of the name.
        PluginError: it cannot be imported or made, most often for want of its library, or two distributions carry the name.
    """
    entries = [entry for entry in entries_of_group(GROUP, "tracker") if entry.name == name]
    if not entries:
        raise unknown_name("tracker", name, tracker_names())
    if len(entries) > 1:
        owners = " and ".join(entry.distribution for entry in entries)
        raise PluginError(f"the tracker '{name}' is carried twice, by {owners}", "uninstall one of them")
    (entry,) = entries
    component: type[Tracker] = import_entry(entry, GROUP)
    missing = [member for member in ("numbers", "result", "close") if not callable(getattr(component, member, None))]
    if missing:
        raise PluginError(
            f"the tracker '{name}' ({entry.value}, from {entry.distribution}) lacks {', '.join(missing)}",
            "derive from icrl_registry.onlookers.trackers.Tracker",
        )
    try:
        return component(folder)
    except ImportError as error:
        extra = f"pip install '{entry.distribution}[{name}]'"
        raise PluginError(f"the tracker '{name}' needs a library that is not here: {error}", extra) from error
    except Exception as error:
        raise PluginError(f"the tracker '{name}' cannot be made: {type(error).__name__}: {error}") from error
