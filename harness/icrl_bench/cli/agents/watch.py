"""`icrl-bench watch`: a trained agent adapting to an unseen task, as a film."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from icrl_bench.cli.agents.selection import RunArgument, find_record
from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace, home_folder
from icrl_bench.machine.cpu_settings import set_for_training
from icrl_bench.machine.streams import stdout_for_the_result
from icrl_registry.errors import UsageError


@takes_groups
def watch(
    run: RunArgument,
    *,
    task: Annotated[
        str | None, typer.Option("--task", help="A test task, such as test-003.  [default: the one of median gain]")
    ] = None,
    episodes: Annotated[
        str | None,
        typer.Option("--episodes", help="Such as 1,5,20.  [default: the first, one after a quarter, the last]"),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="adapt.gif, adapt.mp4 (extra `video`), or a PNG of three moments.")
    ] = Path("adapt.gif"),
    size: Annotated[int, typer.Option("--size", min=64, max=1024, help="Pixels, width and height of a picture.")] = 240,
    fps: Annotated[float, typer.Option("--fps", min=1, max=50, help="Pictures a second.")] = 12.5,
    protocol: Annotated[
        str | None, typer.Option("--protocol", "-p", help="The protocol file that the run was made with.")
    ] = None,
    place: LeaderboardPlace,
    json_: JsonFlag = False,
) -> None:
    """Film a trained agent while it adapts: episodes of one unseen task side by side, with step, return and the hidden goal.

    The adaptation is played again from the run's checkpoint, and its returns are compared with the recorded ones.
    """
    set_for_training()
    from icrl_bench.artefacts.store import Store
    from icrl_bench.machine.progress import Progress
    from icrl_bench.watching.composing import compose, hidden
    from icrl_bench.watching.replay import Wish, film, steps_to_play
    from icrl_bench.watching.writing import check_format, write_film

    check_format(out)
    wish = Wish(task, parse_episodes(episodes) if episodes is not None else None, size, fps)
    record = find_record(place, run)
    with (
        stdout_for_the_result(),
        Progress(["watch"], quiet=json_) as progress,
        progress.stage("watch", steps_to_play(record, wish), "env steps") as stage,
    ):
        filmed = film(Store(home_folder(place.home)), record, wish, stage.advance, protocol)
        frames = compose(filmed)
        write_film(frames, out, fps)
    facts = {
        "out": str(out),
        "run_id": record.run_id,
        "task": filmed.task.label,
        "hidden": hidden(filmed),
        "episodes": [{"episode": shot.episode, "return": shot.returns[-1]} for shot in filmed.shots],
        "frames": len(frames),
        "bytes": out.stat().st_size,
        "largest_difference": filmed.difference,
    }
    if json_:
        typer.echo(json.dumps(facts))
        return
    returns = ", ".join(f"{shot.returns[-1]:.4g} in episode {shot.episode}" for shot in filmed.shots)
    typer.echo(f"{out}: {record.method} on {filmed.task.label} of {record.environment}, returns {returns}")
    typer.echo(_compared(filmed.difference))


def _compared(difference: float) -> str:
    if difference == 0.0:
        return "the returns are those of the recorded run, to the last bit"
    return (
        f"the returns differ from the recorded ones by up to {difference:.3g}: "
        "another machine, or other code of a plugin (`icrl-bench leaderboard verify RUN` says)"
    )


def parse_episodes(text: str) -> list[int]:
    """`1,5,20` or `1-3`.

    Raises:
        UsageError: something else.
    """
    found: list[int] = []
    for part in filter(None, map(str.strip, text.split(","))):
        match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part, flags=re.ASCII)
        if match is None:
            raise UsageError(f"cannot read --episodes {text!r}", "write numbers from 1, such as --episodes 1,5,20")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found
