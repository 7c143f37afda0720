"""Options that several commands share, declared once so that they read the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from icrl_bench.cli import completion
from icrl_bench.cli.groups import OptionGroup
from icrl_registry.errors import UsageError

if TYPE_CHECKING:
    from icrl_bench.planning import Request
    from icrl_leaderboards.database.leaderboard import Leaderboard
    from icrl_registry.contracts import Track

LARGEST_SEED = 2**31 - 1  # what every database keeps as an integer
MOST_SEEDS = 10_000  # in one range: more is a slip of the hand
LEADERBOARD_FILE = "leaderboard.sqlite"

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
    typer.Option(
        "--protocol",
        "-p",
        help="smoke, laptop, paper; an id such as laptop-v1; or a path to a TOML file.",
        autocompletion=completion.protocols,
    ),
]
OwnProtocolOption = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        "-p",
        help="smoke, laptop, paper; an id such as laptop-v1; or a path to a TOML file.  "
        "[default: laptop, or the environment's own]",
        autocompletion=completion.protocols,
    ),
]
MethodOption = Annotated[
    str,
    typer.Option(
        "--method", "-m", help="ad-mamba, ad-dt, …: METHOD or METHOD-BACKBONE.", autocompletion=completion.methods
    ),
]
EnvOption = Annotated[
    str,
    typer.Option(
        "--env",
        "-e",
        help="reacher-goal, pusher-goal, half-cheetah-vel, ant-dir, or a plugin's.",
        autocompletion=completion.environments,
    ),
]
SeedsOption = Annotated[str | None, typer.Option("--seeds", help="Such as 0,1,2 or 0-4.  [default: the protocol's]")]
TrackOption = Annotated[str, typer.Option("--track", help="online, or offline (MACAW's published protocol).")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda:N.")]
SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source",
        help="Who writes the histories: a source's name, or a folder of imported data; of the protocol's settings for "
        "its own source only the steps a task stay.  [default: the protocol's]",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting, such as method.context_length=200."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A TOML file of settings, below --set.", dir_okay=False)
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        help="Processes that collect, or an executor's units at a time.  [default: as many as there are cores for]",
    ),
]


@dataclass(frozen=True)
class LeaderboardPlace(OptionGroup):
    """Which leaderboard a command works on."""

    home: HomeOption = None
    leaderboard: LeaderboardOption = None

    @property
    def location(self) -> str | Path:
        """The URL or path that was asked for, or the file in the home folder. A path stays a path: it may hold `?` or `%2F`."""
        return self.leaderboard if self.leaderboard is not None else home_folder(self.home) / LEADERBOARD_FILE

    def open(self) -> Leaderboard:
        """The leaderboard; nothing is read yet."""
        from icrl_leaderboards.database.leaderboard import Leaderboard

        return Leaderboard(self.location)


@dataclass(frozen=True)
class RunOptions(OptionGroup):
    """What is run, how, and where it is kept: what `run`, `sweep` and all that makes rows have in common."""

    method: MethodOption
    env: EnvOption
    protocol: OwnProtocolOption = None
    seeds: SeedsOption = None
    track: TrackOption = "online"
    device: DeviceOption = "auto"
    set_: SetOption = None
    config: ConfigOption = None
    source: SourceOption = None

    def request(self, choose: Callable[[str], str] | None = None) -> Request:
        """The request in the plan's words; `choose` finds the device where it isn't one of this machine.

        Raises:
            UsageError, UnknownNameError: what was asked for does not exist or cannot be read.
        """
        from icrl_bench.planning import Request
        from icrl_registry.configuration import merge, parse_assignments, read_config_file
        from icrl_registry.protocols.loading import protocol_for

        protocol = protocol_for(self.env, self.protocol)
        given = read_config_file(self.config) if self.config else {}
        overrides = merge(source_settings(self.source), given, parse_assignments(self.set_ or []))
        device = (choose or choose_device)(self.device)
        return Request(self.method, self.env, protocol, overrides, device, check_track(self.track))

    @property
    def seed_list(self) -> list[int] | None:
        """The seeds that were asked for; None for the protocol's."""
        return parse_seeds(self.seeds) if self.seeds is not None else None


def home_folder(home: Path | None) -> Path:
    """The folder that was asked for, or the default one."""
    from icrl_bench.artefacts.store import default_home

    return home.expanduser().absolute() if home is not None else default_home()


def source_settings(source: str | None) -> dict[str, dict[str, str]]:
    """What `--source` stands for: another source, or the imported data in a folder (or PACKAGE:FOLDER)."""
    if source is None:
        return {}
    if ":" in source or "/" in source or Path(source).is_dir():
        from icrl_bench.artefacts.imports import source_of

        return {"source": {"name": source_of(source), "path": source}}
    return {"source": {"name": source}}


def check_track(track: str) -> Track:
    """The track, if there is one of that name.

    Raises:
        UsageError: there is none.
    """
    if track not in ("online", "offline"):
        raise UsageError(f"unknown track '{track}'", "online or offline")
    return cast("Track", track)


def parse_seeds(text: str) -> list[int]:
    """`0,3` or `0-4`, or both: `0-2,7`.

    Raises:
        UsageError: something else, a seed twice, or one that a database can't keep.
    """
    seeds: list[int] = []
    for part in filter(None, map(str.strip, text.split(","))):
        match = re.fullmatch(r"(\d+)(?:\s*-\s*(\d+))?", part, flags=re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (-1, -1)
        if not 0 <= first <= last <= LARGEST_SEED or last - first >= MOST_SEEDS:
            raise _no_seeds(text)
        seeds += range(first, last + 1)
    if not seeds or len(set(seeds)) != len(seeds):
        raise _no_seeds(text)
    return seeds


def _no_seeds(text: str) -> UsageError:
    hint = f"write distinct integers from 0 to {LARGEST_SEED}, such as --seeds 0,1,2 or --seeds 0-4"
    return UsageError(f"cannot read --seeds {text!r}", hint)


def choose_device(device: str) -> str:
    """`cpu` or `cuda:N`.

    Raises:
        UsageError: no such device here.
    """
    if device == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise UsageError(f"unknown device '{device}'", "auto, cpu or cuda:N")
    index, count = int(match[1] or 0), torch.cuda.device_count()
    if index >= count:
        hint = (
            f"this machine has {count} CUDA devices, counted from 0" if count else "install the extra `cuda` with a GPU"
        )
        raise UsageError(f"no CUDA device for --device {device}", f"use --device cpu; {hint}")
    return f"cuda:{index}"
