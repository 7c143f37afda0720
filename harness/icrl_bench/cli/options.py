"""Options that several commands share, declared once so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Folder of all artefacts.  [default: ICRL_BENCH_HOME, or the per-user data directory]",
        file_okay=False,
    ),
]
LeaderboardOption = Annotated[
    str | None,
    typer.Option(
        "--leaderboard",
        help="Any SQLAlchemy URL, or a path to a SQLite file.  [default: leaderboard.sqlite in the home folder]",
    ),
]
ProtocolOption = Annotated[
    str,
    typer.Option("--protocol", "-p", help="smoke, laptop, paper; an id such as laptop-v1; or a path to a TOML file."),
]
MethodOption = Annotated[str, typer.Option("--method", "-m", help="ad-mamba, ad-dt, …: METHOD or METHOD-BACKBONE.")]
EnvOption = Annotated[
    str, typer.Option("--env", "-e", help="reacher-goal, pusher-goal, half-cheetah-vel, ant-dir, or a plugin's.")
]
SeedsOption = Annotated[str | None, typer.Option("--seeds", help="Such as 0,1,2.  [default: the protocol's]")]
TrackOption = Annotated[str, typer.Option("--track", help="online, or offline (MACAW's published protocol).")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda:N.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting, such as method.context_length=200."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A TOML file of settings, below --set.", dir_okay=False)
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, help="Processes that collect.  [default: one per core]")
]


def home_folder(home: Path | None) -> Path:
    """The folder that was asked for, or the default one."""
    from icrl_bench.artefacts.store import default_home

    return home.expanduser().absolute() if home is not None else default_home()


def leaderboard_url(url: str | None, home: Path | None) -> str:
    """The leaderboard that was asked for, or the one in the home folder."""
    from icrl_bench.artefacts.store import default_leaderboard_url

    return url if url is not None else default_leaderboard_url(home_folder(home))
