"""Writes the table of speeds that `--dry-run` falls back on, from the published rows; on the kind of machine that made them."""

from __future__ import annotations

import json
import time
from pathlib import Path

from icrl_bench.runs.durations import table
from icrl_bench.runs.durations.calibration import rounds_per_second
from icrl_leaderboards.exchange.reading import read_published

ROOT = Path(__file__).parents[1]


def main() -> None:
    paths = sorted((ROOT / "leaderboards" / "published").glob("*/*.json"))
    records = [read_published(path).record for path in paths]
    rounds = round(
        rounds_per_second(time.process_time), 1
    )  # of the processor's time: whoever else works here doesn't count
    document = table.SpeedTable(2, rounds, tuple(table.speeds_of(records))).as_json()
    lines = ",\n".join(json.dumps(line) for line in document.pop("speeds"))
    text = json.dumps(document)[:-1] + ', "speeds": [\n' + lines + "\n]}\n"
    (Path(table.__file__).parent / table.FILE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
