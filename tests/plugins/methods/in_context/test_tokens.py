"""Alignment: which numbers stand in which token, across episode ends, sub-sampling and the beginning of a history."""

from dataclasses import replace

import numpy as np
import pytest

from icrl_plugins.methods.in_context.layout import TokenLayout
from icrl_plugins.methods.in_context.tokens import (
    Window,
    executed_actions,
    policy_means,
    steps_of,
    streams_of,
    write_tokens,
)
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.errors import BenchError, UsageError

# Constants that leave the coded numbers as they are, but for a reward scale of 10: then reward code / 10 reads as code.
RAW = Normalisation(np.zeros(2, np.float32), np.full(2, 1000.0, np.float32), 10.0)


def tokens_of(history, stride: int, phase: int, first: int, count: int, flag: bool = False):
    stream = streams_of([history])[0]
    steps, is_start = steps_of(stream.bounds[phase::stride])
    layout = TokenLayout(2, 2, flag)
    tokens = np.full((count, layout.size), np.nan, dtype=np.float32)
    write_tokens(tokens, Window(stream, steps, is_start, first, count), layout, RAW)
    return tokens, steps[first : first + count], stream


def test_the_steps_of_chosen_episodes_are_whole_episodes_in_order() -> None:
    bounds = np.array([[0, 3], [3, 4], [4, 9], [9, 11], [11, 14]])
    steps, is_start = steps_of(bounds[0::2])
    assert steps.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 11, 12, 13]
    assert np.flatnonzero(is_start).tolist() == [0, 3, 8]
    steps, is_start = steps_of(bounds[1::2])
    assert steps.tolist() == [3, 9, 10]
    assert is_start.tolist() == [True, True, False]


def test_a_token_holds_the_step_before_and_the_observation_to_act_on(toy) -> None:
    history = toy.coded_history([(3, 1, 5, 2, 3)])
    tokens, steps, stream = tokens_of(history, stride=2, phase=0, first=0, count=11)
    codes = 1000 + steps
    # s_t is the observation that a_t was chosen from, the reset's at an episode's start
    np.testing.assert_allclose(tokens[:, 5] * 1000, codes, rtol=1e-6)
    np.testing.assert_allclose(tokens[:, 6] * 1000, codes, rtol=1e-6)
    # the first three parts are the kept step before: at an episode's start the last one of the episode kept before
    assert not tokens[0, :5].any()
    np.testing.assert_allclose(tokens[1:, 0] * 1000, codes[:-1], rtol=1e-6)
    np.testing.assert_array_equal(tokens[1:, 2:4], stream.actions[steps[:-1]])
    np.testing.assert_allclose(tokens[1:, 4], codes[:-1], rtol=1e-6)  # so an episode's last reward is in the next token
    assert steps[3] == 4
    assert tokens[3, 4] == 1002


def test_a_later_window_begins_with_the_step_before_it(toy) -> None:
    history = toy.coded_history([(3, 1, 5, 2, 3)])
    whole, _, _ = tokens_of(history, 2, 0, 0, 11)
    for first in (1, 3, 6):
        window, _, _ = tokens_of(history, 2, 0, first, 4)
        np.testing.assert_array_equal(window, whole[first : first + 4])


def test_the_flag_marks_where_episodes_start(toy) -> None:
    tokens, _, _ = tokens_of(toy.coded_history([(3, 1, 5, 2, 3)]), 2, 0, 1, 8, flag=True)
    assert tokens[:, -1].tolist() == [0, 0, 1, 0, 0, 0, 0, 1]


def test_targets_are_the_actions_taken_on_the_tokens_observation(toy) -> None:
    history = toy.coded_history([(4, 4)])
    _, steps, stream = tokens_of(history, 1, 0, 0, 8)
    np.testing.assert_array_equal(executed_actions(stream, steps), history.actions[0, :8])


def test_policy_means_replace_the_targets_but_not_the_context(toy) -> None:
    history = toy.coded_history([(4, 4)])
    steps = np.array([2, 5])
    with pytest.raises(UsageError, match="train-000 holds no policy means"):
        policy_means(streams_of([history])[0], steps)
    stream = streams_of([replace(history, policy_means=history.actions / 2)])[0]
    np.testing.assert_array_equal(policy_means(stream, steps), history.actions[0, steps] / 2)
    np.testing.assert_array_equal(stream.actions, history.actions[0])


def test_incomplete_episodes_are_left_out_and_a_history_of_nothing_else_is_refused(toy) -> None:
    history = toy.coded_history([(3, 2, -4), (-9,)])
    streams = streams_of([history])
    assert len(streams) == 1
    assert streams[0].bounds.tolist() == [[0, 3], [3, 5]]
    with pytest.raises(BenchError, match="train-002 has no complete episode"):
        streams_of([history, toy.coded_history([(-9,)], index=2)])
    with pytest.raises(BenchError, match="no training history"):
        streams_of([])
