"""TensorBoard: one folder of event files a run, `tensorboard --logdir HOME/tracking/tensorboard` shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from icrl_plugins.trackers.naming import run_name, scores_of, settings_of
from icrl_registry.onlookers.trackers import StepAxis, Tracker


class TensorBoard(Tracker):
    """Curves as scalars, configuration as text, measures as scalars at the run's end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writers: dict[str, SummaryWriter] = {}

    def numbers(self, run_id: str, axis: StepAxis, place: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer(run_id).add_scalar(name, value, place)

    def result(self, run_id: str, record: Mapping[str, Any]) -> None:
        writer = self._writer(run_id)
        writer.add_text("run", run_name(record))
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings_of(record).items()]
        writer.add_text("settings", "    " + "\n    ".join(lines))  # Markdown: as it stands
        for name, value in scores_of(record).items():
            writer.add_scalar(f"result/{name}", value, 0)
        writer.close()
        del self.writers[run_id]

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()

    def _writer(self, run_id: str) -> SummaryWriter:
        if run_id not in self.writers:
            self.writers[run_id] = SummaryWriter(str(self.folder / run_id))
        return self.writers[run_id]
