"""The way of a setting from the command line into a component's configuration."""

import pytest
from pydantic import Field

from icrl_registry.configuration import ComponentConfig, build_config, merge, parse_assignments, read_config_file
from icrl_registry.errors import UnknownNameError, UsageError


class Config(ComponentConfig):
    learning_rate: float = Field(1e-3, gt=0, description="step size")
    hidden_sizes: tuple[int, ...] = Field((8, 8), description="widths")
    limit: int | None = Field(3, description="limit")
    name: str = Field("a", description="name")


@pytest.mark.parametrize(
    ("assignment", "section", "expected"),
    [
        ("method.learning_rate=2e-3", "method", {"learning_rate": 2e-3}),
        ("backbone.hidden_sizes=[4, 2]", "backbone", {"hidden_sizes": [4, 2]}),
        ("source.name=sb3-sac", "source", {"name": "sb3-sac"}),
        ("method.name='a = b'", "method", {"name": "a = b"}),
        ("adapt.flag=true", "adapt", {"flag": True}),
    ],
)
def test_assignments_are_read_as_toml_or_plain_text(assignment, section, expected):
    assert parse_assignments([assignment]) == {section: expected}


@pytest.mark.parametrize("assignment", ["method", "method=3", "method.=3", "=3", "learning_rate=3"])
def test_an_assignment_of_another_form_is_refused(assignment):
    with pytest.raises(UsageError):
        parse_assignments([assignment])


def test_an_unknown_section_names_the_nearest():
    with pytest.raises(UnknownNameError, match="metod") as refused:
        parse_assignments(["metod.learning_rate=1"])
    assert "method" in refused.value.hint


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(UnknownNameError, match=r"method\.learning_rat'") as refused:
        build_config(Config, {"learning_rat": 1}, "method")
    assert "method.learning_rate" in refused.value.hint


@pytest.mark.parametrize("value", [-1, "fast", float("nan"), float("inf")])
def test_a_bad_value_is_named_with_its_help(value):
    with pytest.raises(UsageError, match=r"method\.learning_rate") as refused:
        build_config(Config, {"learning_rate": value}, "method")
    assert "step size" in refused.value.hint


def test_none_as_text_is_pythons_none():
    assert build_config(Config, {"limit": "none"}, "method").limit is None


def test_configurations_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Config().learning_rate = 1.0


def test_later_layers_win_key_by_key():
    first = {"method": {"a": 1, "b": 1}}
    assert merge(first, {"method": {"b": 2}, "source": {"c": 3}}) == {"method": {"a": 1, "b": 2}, "source": {"c": 3}}
    assert first == {"method": {"a": 1, "b": 1}}


def test_a_configuration_file_has_the_form_of_assignments(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("[method]\nlearning_rate = 1e-2\n")
    assert read_config_file(path) == {"method": {"learning_rate": 1e-2}}


@pytest.mark.parametrize(
    ("text", "message"), [("[method", "not TOML"), ("[metod]\na = 1", "metod"), ("method = 1", "must be a table")]
)
def test_a_bad_configuration_file_is_refused(tmp_path, text, message):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_config_file(path)


def test_a_missing_configuration_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        read_config_file(tmp_path / "nowhere.toml")
