"""Groups of options: what Typer sees of them, and what the command gets."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from icrl_bench.cli.groups import OptionGroup, takes_groups
from icrl_bench.cli.options import LeaderboardPlace, RunOptions


@dataclass(frozen=True)
class Drink(OptionGroup):
    kind: Annotated[str, typer.Option("--kind", "-k", help="Tea or coffee.")]
    sugar: Annotated[int, typer.Option("--sugar", min=0, help="Lumps.")] = 1


@takes_groups
def serve(
    name: Annotated[str, typer.Argument()], drink: Drink, *, hot: Annotated[bool, typer.Option("--hot")] = False
) -> None:
    """Serves a drink."""
    typer.echo(f"{name}: {drink!r} {hot}")


def call(*arguments: str) -> tuple[int, str]:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(serve)
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_a_group_arrives_as_one_object():
    assert call("ann", "-k", "tea", "--sugar", "2", "--hot") == (0, "ann: Drink(kind='tea', sugar=2) True\n")
    assert call("ann", "--kind", "tea") == (0, "ann: Drink(kind='tea', sugar=1) False\n")


@pytest.mark.parametrize("arguments", [("ann",), ("ann", "-k", "tea", "--sugar", "-1")])
def test_its_options_keep_their_rules(arguments: tuple[str, ...]):
    assert call(*arguments)[0] == 2


def test_its_options_stand_where_the_group_does():
    assert list(inspect.signature(serve).parameters) == ["name", "kind", "sugar", "hot"]
    assert "Serves a drink." in call("--help")[1]


def test_a_path_to_a_leaderboard_stays_a_path(tmp_path):
    home = tmp_path / "lab?a%2F"
    assert LeaderboardPlace(home=home).location == home / "leaderboard.sqlite"
    assert LeaderboardPlace(home=home, leaderboard="postgresql://host/name").location == "postgresql://host/name"


def test_options_become_a_request():
    request = RunOptions(method="ad-gru", env="reacher-goal", protocol="smoke", device="cpu", set_=["adapt.episodes=2"])
    made = request.request()
    assert (made.method, made.environment, made.protocol.id) == ("ad-gru", "reacher-goal", "smoke-v1")
    assert made.overrides == {"adapt": {"episodes": 2}}
    assert request.seed_list is None
