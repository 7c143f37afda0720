"""From Python: what the commands do, as functions; `import icrl_bench` offers them and imports nothing heavy.

    import icrl_bench

    records = icrl_bench.run("ad-mamba", "reacher-goal", protocol="smoke")
    histories = icrl_bench.load_histories("reacher-goal", protocol="smoke")
    frame = icrl_bench.leaderboard().frame()

Everything lives below `home`, a folder; by default that of the commands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

if TYPE_CHECKING:
    from icrl_bench.artefacts.store import Store
    from icrl_bench.planning import Plan
    from icrl_bench.runs.grids import Grid
    from icrl_leaderboards.database.filters import RunFilter
    from icrl_leaderboards.database.leaderboard import Leaderboard
    from icrl_leaderboards.runs.record import RunRecord
    from icrl_leaderboards.runs.scores import RunScores
    from icrl_registry.contracts import LearningHistory, Split, Track
    from icrl_registry.policies import LoadedAgent
    from icrl_registry.testing.conformance import CheckResult

FrameLibrary = Literal["pandas", "polars"]
Settings = Mapping[str, Any]
"""Settings by dotted key, as `--set` takes them: `{"method.updates": 100}`."""


class Work(TypedDict, total=False):
    """How a run is made, whatever it is: keyword arguments of `run` and `grid`."""

    home: Path | str | None  # the folder of artefacts and leaderboard; None: the commands' own
    jobs: int | None  # processes at a time; None: as many as the machine has cores for
    quiet: bool  # no progress


def plan(
    method: str,
    env: str,
    *,
    protocol: str | None = None,
    track: Track = "online",
    device: str = "cpu",
    settings: Settings | None = None,
) -> Plan:
    """Resolves names, settings and tasks; runs nothing. `plan.config` has every setting, `plan.tasks` every task.

    Without a protocol it is laptop's newest version, or the environment's own where laptop doesn't name it.

    >>> icrl_bench.plan("ad-mamba", "reacher-goal", protocol="smoke").environment_id
    'reacher-goal-v1'

    Raises:
        UsageError, UnknownNameError: a name, key or value that does not exist. PluginError: a broken plugin.
    """
    from icrl_bench.planning import Request, make_plan
    from icrl_registry.protocols.loading import protocol_for

    return make_plan(Request(method, env, protocol_for(env, protocol), _nested(settings), device, track))


def run(
    method: str,
    env: str,
    *,
    protocol: str | None = None,
    seeds: Sequence[int] | None = None,
    track: Track = "online",
    device: str = "cpu",
    settings: Settings | None = None,
    **work: Unpack[Work],
) -> list[RunRecord]:
    """Collects, trains, adapts and records what is missing; one record a seed, the protocol's seeds by default.

    `work` is `home`, `jobs` and `quiet`, as `Work` has them.

    >>> icrl_bench.run("ad-gru", "reacher-goal", protocol="smoke", seeds=[0])[0].returns
    [[-12.1, …], …]

    Raises:
        BenchError: as the command's errors.
    """
    from icrl_bench.runs.execution import execute, names_of, stages_of

    made = plan(method, env, protocol=protocol, track=track, device=device, settings=settings)
    chosen = list(seeds) if seeds is not None else made.default_seeds
    with _working(names_of(stages_of(made, chosen)), **work) as context:
        return execute(made, chosen, context)


def grid(
    *,
    protocol: str = "laptop",
    envs: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    settings: Settings | None = None,
    **work: Unpack[Work],
) -> Grid:
    """Makes all rows of a protocol; `grid.failed` are those that could not be made, `grid.refused` the environments.

    `work` is as `run` has it.

    >>> [row.label for row in icrl_bench.grid(protocol="smoke", methods=["ad-gru"]).rows]
    ['ad-gru on reacher-goal-v1, seed 0', …]
    """
    from icrl_bench.runs.execution import names_of
    from icrl_bench.runs.grids import plan_grid, run_grid
    from icrl_registry.protocols.loading import load_protocol

    planned = plan_grid(load_protocol(protocol), envs, methods, seeds, _nested(settings))
    with _working(names_of(planned.stages()), **work) as context:
        return run_grid(planned, context)


def load_histories(
    env: str,
    *,
    protocol: str | None = None,
    split: Split = "train",
    settings: Settings | None = None,
    home: Path | str | None = None,
) -> list[LearningHistory]:
    """The learning histories of a split's tasks, memory-mapped: `history.rewards` is (S, T), `history.task` what is hidden.

    >>> icrl_bench.load_histories("reacher-goal", protocol="smoke")[0].observations.shape
    (5, 200, 8)

    Raises:
        UsageError: one was not collected yet; the message says what collects it.
    """
    from icrl_bench.artefacts.histories import dataset_kind
    from icrl_bench.stages.collect import Collect
    from icrl_registry.errors import UsageError

    made, store = plan("source", env, protocol=protocol, settings=settings), _store(home)
    collect = Collect(made)
    missing = [task for task in made.tasks[split] if not store.exists(dataset_kind(collect.address), task.label)]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(made.tasks[split])} {split} histories of {made.environment_id} are not there",
            f"`icrl-bench run --method task-blind --env {env} --protocol {made.request.protocol.id}` collects them",
        )
    return [collect.read(store).history(task) for task in made.tasks[split]]


def load_agent(
    method: str,
    env: str,
    *,
    protocol: str | None = None,
    seed: int = 0,
    num_tasks: int = 1,
    num_episodes: int | None = None,
    settings: Settings | None = None,
    home: Path | str | None = None,
) -> LoadedAgent:
    """The agent of a trained run, at the beginning of `num_tasks` unseen tasks.

    >>> agent = icrl_bench.load_agent("ad-mamba", "reacher-goal", protocol="smoke")
    >>> environment = gymnasium.make("icrl_bench/ReacherGoal-v1", task=(0.1, 0.1))
    >>> observation, _ = environment.reset(seed=0)
    >>> action = agent.act(observation)

    Raises:
        UsageError: the run was not trained yet; the message says what trains it.
    """
    from icrl_bench.seeding import agent_seed
    from icrl_bench.stages.train import Train
    from icrl_registry.contracts import AdaptationSetting
    from icrl_registry.errors import UsageError
    from icrl_registry.policies import LoadedAgent

    made, store = plan(method, env, protocol=protocol, settings=settings), _store(home)
    train = Train(made, seed)
    if not train.done(store):
        raise UsageError(
            f"{method} was not trained on {made.environment_id} with seed {seed}",
            f"`icrl-bench run --method {method} --env {env} --protocol {made.request.protocol.id} --seeds {seed}` trains it",
        )
    spec = made.make_environment().spec
    agent = made.make_method().agent(train.read(store), spec, "cpu")
    agent.begin(AdaptationSetting(num_tasks, num_episodes or made.adapt.episodes, "online", agent_seed(seed)))
    return LoadedAgent(agent, num_tasks, spec)


@dataclass(frozen=True)
class Board:
    """The rows of a leaderboard.

    >>> board = icrl_bench.leaderboard()
    >>> [record.method for record in board.records(environment="reacher-goal-v1")]
    ['ad-gru', …]
    """

    board: Leaderboard

    def records(self, **filters: Unpack[RunFilter]) -> list[RunRecord]:
        """Whole runs; filters are `environment`, `method`, `protocol`, `track`, `seed`.

        >>> board.records(method="ad-gru", seed=0)[0].returns
        [[-12.1, …], …]
        """
        return self.board.runs(**filters)

    def scores(self, **filters: Unpack[RunFilter]) -> list[RunScores]:
        """The runs' numbers as arrays; filters as `records`.

        >>> board.scores(method="ad-gru")[0].returns.shape
        (10, 20)
        """
        return self.board.scores(**filters)

    def frame(self, library: FrameLibrary = "pandas", **filters: Unpack[RunFilter]) -> Any:
        """Every episode as a data frame of pandas or Polars; filters as `records`.

        Columns: environment, method, protocol, track, seed, run_id, task, episode, return, length.

        >>> board.frame(environment="reacher-goal").groupby(["method", "episode"])["return"].mean()
        >>> board.frame("polars").group_by("method", "episode").mean()

        Raises:
            UsageError: the library is not installed, or is another one.
        """
        return _frame(_episodes(self.records(**filters)), library)

    def runs(self, library: FrameLibrary = "pandas", **filters: Unpack[RunFilter]) -> Any:
        """One row a run as a data frame: what `run --json` prints, without what is longer than a number or a word.

        >>> board.runs().sort_values("normalised_score")[["method", "environment", "seed", "normalised_score"]]

        Raises:
            UsageError: as `frame`.
        """
        from icrl_leaderboards.analysis.summary import summarise_run

        rows = [summarise_run(record) for record in self.records(**filters)]
        plain = [{name: value for name, value in row.items() if not isinstance(value, list | dict)} for row in rows]
        names = dict.fromkeys(name for row in plain for name in row)
        return _frame({name: [row.get(name) for row in plain] for name in names}, library)


def leaderboard(location: Path | str | None = None, *, home: Path | str | None = None) -> Board:
    """The leaderboard at a path or URL, by default the one in `home`.

    >>> icrl_bench.leaderboard().frame(environment="reacher-goal").groupby("method")["return"].mean()
    """
    from icrl_bench.cli.options import LEADERBOARD_FILE
    from icrl_leaderboards.database.leaderboard import Leaderboard

    return Board(Leaderboard(location if location is not None else _store(home).root / LEADERBOARD_FILE))


def check(kind: str, name: str, settings: Mapping[str, Any] | None = None) -> list[CheckResult]:
    """Holds a plugin to its contract; every result has `passed` and, if not, a `message` with the remedy.

    >>> all(result.passed for result in icrl_bench.check("environment", "reacher-goal"))
    True
    """
    from icrl_registry.discovery import load
    from icrl_registry.testing.conformance import run_checks

    return run_checks(load(kind, name), settings)


def _episodes(records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """Every episode of the runs, by column."""
    names = ("environment", "method", "protocol", "track", "seed", "run_id", "task", "episode", "return", "length")
    rows = [
        (*head, label, episode, value, length)
        for run in records
        for head in [(run.environment, run.method, run.protocol, run.track, run.seed, run.run_id)]
        for label, returns, lengths in zip(run.task_labels, run.returns, run.episode_lengths, strict=True)
        for episode, (value, length) in enumerate(zip(returns, lengths, strict=True))
    ]
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _frame(columns: Mapping[str, list[Any]], library: str) -> Any:
    """A data frame of pandas or Polars."""
    from importlib import import_module

    from icrl_registry.errors import UsageError

    if library not in ("pandas", "polars"):
        raise UsageError(f"no data frames of {library!r}", 'write "pandas" or "polars"')
    try:
        return import_module(library).DataFrame(dict(columns))
    except ImportError as error:
        raise UsageError(f"a data frame needs {library}", f"pip install {library}") from error


def _store(home: Path | str | None) -> Store:
    from icrl_bench.artefacts.store import Store, default_home

    return Store(Path(home).expanduser().absolute() if home is not None else default_home())


def _nested(settings: Settings | None) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for dotted, value in (settings or {}).items():
        section, _, key = dotted.partition(".")
        nested.setdefault(section, {})[key] = value
    return nested


def _working(
    stages: Sequence[str], home: Path | str | None = None, jobs: int | None = None, quiet: bool = False
) -> Any:
    """What stages work with, as a context manager that ends progress and database."""
    import contextlib

    from icrl_bench.machine.cores import usable_cores
    from icrl_bench.machine.progress import Progress
    from icrl_bench.stages.stage import Context
    from icrl_registry.hooks import HookManager

    @contextlib.contextmanager
    def working() -> Any:
        hooks = HookManager()
        with leaderboard(home=home).board as board, Progress(stages, quiet, hooks.progress) as progress:
            yield Context(_store(home), progress, jobs or usable_cores(), board, hooks)

    return working()
