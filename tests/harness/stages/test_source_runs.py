"""A row made of the source's recorded runs: its episodes, its meter, and that it agrees with the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from icrl_bench.stages.source_runs import episodes_in_order
from icrl_registry.contracts import LearningHistory, Task


def history(ends: list[list[int]], steps: int) -> LearningHistory:
    """Streams whose episodes end before `ends`; the reward of step t of stream s is 100 s + t."""
    shape = (len(ends), steps)
    truncated = np.zeros(shape, dtype=np.bool_)
    for stream, places in enumerate(ends):
        truncated[stream, np.array(places) - 1] = True
    rewards = (100 * np.arange(len(ends))[:, None] + np.arange(steps)).astype(np.float32)
    blank = np.zeros((*shape, 1), dtype=np.float32)
    return LearningHistory(Task((0.0,)), blank, blank, rewards, blank, np.zeros(shape, dtype=np.bool_), truncated)


def test_episodes_stand_in_the_order_in_which_they_ended() -> None:
    returns, lengths = episodes_in_order(history([[3, 5], [2, 5]], 6))
    assert returns.tolist() == [100 + 101, 0 + 1 + 2, 3 + 4, 102 + 103 + 104]  # at 5 both ended: the lower stream first
    assert lengths.tolist() == [2, 3, 2, 3]


def test_the_row_ends_at_the_oracle_and_counts_every_step(run) -> None:
    output = run("--json", method="source")
    assert output.code == 0, output.out
    (row,) = output.document["runs"]  # one seed, though the protocol has more: the histories know of no run seed
    returns, lengths = np.array(row["returns"]), np.array(row["episode_lengths"])
    episodes = returns.shape[1]
    last = returns[:, -max(1, episodes // 10) :].mean(axis=1)
    np.testing.assert_allclose(last, row["oracle"])
    assert row["normalised_score"] == pytest.approx(1.0)
    assert row["train_env_steps"] == 0
    assert row["parameters"] == 0
    left_out = row["diagnostics"]["episodes_left_out"]
    assert row["adapt_env_steps"] >= lengths.sum()
    assert (row["adapt_env_steps"] == lengths.sum()) == (left_out == 0)


def test_it_shares_the_data_set_of_the_methods_that_learn_from_it(run) -> None:
    source = run("--json", method="source").document["runs"][0]
    other = run("--json", "--seeds", "0").document["runs"][0]
    assert source["dataset"] == other["dataset"]
    assert source["oracle"] == other["oracle"]


def test_what_the_agent_is_shown_cannot_be_changed(run) -> None:
    output = run("--json", "--set", "adapt.rewards=zero", method="source")
    assert output.code == 2
    assert "replays recorded runs" in output.error["message"]


def test_it_has_no_offline_track(run) -> None:
    output = run("--json", "--track", "offline", method="source")
    assert output.code == 2
    assert "offline" in output.error["message"]
