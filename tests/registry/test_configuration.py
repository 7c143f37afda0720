"""Settings on their way from a command line or a file to a typed configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError, model_validator

from icrl_registry.configuration import (
    SECTIONS,
    ComponentConfig,
    build_config,
    merge,
    parse_assignments,
    read_config_file,
)
from icrl_registry.errors import UnknownNameError, UsageError


class Example(ComponentConfig):
    learning_rate: float = Field(1e-3, gt=0, description="step size")
    num_layers: int = Field(2, ge=1, description="layers")
    hidden_sizes: tuple[int, ...] = Field((64, 64), description="widths")
    name: str = Field("adam", description="optimiser")
    mode: Literal["fast", "slow"] = Field("fast", description="how")
    epochs: float | None = Field(None, description="passes")
    flag: bool = Field(False, description="whether")


class Combined(ComponentConfig):
    first: int = Field(1, description="the first")
    second: int = Field(2, description="the second")

    @model_validator(mode="after")
    def _check(self) -> Combined:
        if self.first > self.second:
            raise ValueError("first must not exceed second")
        return self


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("10_000", 10_000),
        ("1e-3", 1e-3),
        ("0.5", 0.5),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ('["a", "b"]', ["a", "b"]),
        ("{ a = 1 }", {"a": 1}),
        ('"quoted"', "quoted"),
        ('"3"', "3"),
        ("'3'", "3"),
        ("plain", "plain"),
        ("none", "none"),
        ("full", "full"),
        ("two words", "two words"),
        ("with=equals", "with=equals"),
        ("[unclosed", "[unclosed"),
        ("True", "True"),
        ("1.2.3", "1.2.3"),
        ("", ""),
    ],
)
def test_values_are_read_as_toml_and_otherwise_as_text(text: str, value: Any):
    assert parse_assignments([f"method.x={text}"]) == {"method": {"x": value}}
    assert parse_assignments([f" method.x = {text} "]) == {"method": {"x": value}}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_numbers_come_back_as_they_were_typed(value: float):
    text = repr(value).lower() if isinstance(value, bool) else repr(value)
    parsed = parse_assignments([f"method.x={text}"])["method"]["x"]
    assert parsed == value
    assert type(parsed) is type(value)


def test_assignments_are_collected_by_section_and_the_last_one_holds():
    parsed = parse_assignments(["method.x=1", "backbone.num_layers=3", "method.y=2", "method.x=4"])
    assert parsed == {"method": {"x": 4, "y": 2}, "backbone": {"num_layers": 3}}
    assert parse_assignments([]) == {}


@pytest.mark.parametrize("text", ["method.x", "x=3", "=3", "method.=3", "method", "", "."])
def test_what_is_no_assignment_is_refused(text: str):
    with pytest.raises(UsageError) as caught:
        parse_assignments([text])
    assert repr(text) in caught.value.message
    assert "--set SECTION.KEY=VALUE" in caught.value.hint


@pytest.mark.parametrize("section", ["metod", "methods", "envronment"])
def test_an_unknown_section_comes_with_the_nearest(section: str):
    with pytest.raises(UnknownNameError) as caught:
        parse_assignments([f"{section}.x=1"])
    assert section in caught.value.message
    assert any(known in caught.value.hint for known in SECTIONS)


def test_building():
    config = build_config(Example, {"learning_rate": 0.5, "hidden_sizes": [8, 8], "epochs": "none"}, "method")
    assert config == Example(learning_rate=0.5, hidden_sizes=(8, 8), epochs=None)
    assert build_config(Example, {}, "method") == Example()
    with pytest.raises(ValidationError):
        config.num_layers = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "near"),
    [("learning_rat", "method.learning_rate"), ("layers", "method.num_layers"), ("hidden_size", "method.hidden_sizes")],
)
def test_an_unknown_key_comes_with_the_nearest(key: str, near: str):
    with pytest.raises(UnknownNameError) as caught:
        build_config(Example, {key: 1}, "method")
    assert caught.value.message == f"unknown setting 'method.{key}'"
    assert near in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", "fast"),
        ("learning_rate", 0),
        ("learning_rate", -1.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("num_layers", 1.5),
        ("num_layers", "none"),
        ("num_layers", 0),
        ("hidden_sizes", 3),
        ("hidden_sizes", ["a"]),
        ("mode", "medium"),
        ("name", 3),
        ("flag", "maybe"),
    ],
)
def test_a_bad_value_is_named_with_its_key_and_purpose(key: str, value: Any):
    with pytest.raises(UsageError) as caught:
        build_config(Example, {key: value}, "backbone")
    assert caught.value.message.startswith(f"backbone.{key}")
    description = Example.model_fields[key].description
    assert f"--set backbone.{key}" in caught.value.hint
    assert f"({description})" in caught.value.hint
    assert caught.value.exit_code == 2


def test_a_bad_combination_is_said_in_the_configs_words():
    with pytest.raises(UsageError, match="first must not exceed second") as caught:
        build_config(Combined, {"first": 3}, "method")
    assert "combination" in caught.value.hint


def test_a_file(tmp_path: Path):
    path = tmp_path / "settings.toml"
    path.write_text('[method]\nx = 3\n[source]\nname = "sb3-ppo"\n')
    assert read_config_file(path) == {"method": {"x": 3}, "source": {"name": "sb3-ppo"}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[method\n", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"[metod]\nx = 1\n", "unknown section 'metod'"),
        (b"method = 3\n", "'method' must be a table"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, content: bytes, words: str):
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read_config_file(path)


@pytest.mark.parametrize("name", ["nowhere.toml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str):
    with pytest.raises(UsageError, match="cannot read the configuration") as caught:
        read_config_file(tmp_path / name)
    assert "--config" in caught.value.hint


def test_later_layers_win_key_by_key():
    low, high = {"method": {"x": 1, "y": 1}, "source": {"z": 1}}, {"method": {"y": 2}, "adapt": {"e": 5}}
    assert merge(low, high) == {"method": {"x": 1, "y": 2}, "source": {"z": 1}, "adapt": {"e": 5}}
    assert low == {"method": {"x": 1, "y": 1}, "source": {"z": 1}}, "the layers themselves stay as they are"
    assert merge() == {}
