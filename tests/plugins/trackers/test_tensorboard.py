"""TensorBoard's own reader finds what was tracked."""

from __future__ import annotations

import pytest

pytest.importorskip("tensorboard")


def test_event_files(follow, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from icrl_plugins.trackers.tensorboard import TensorBoard

    follow(TensorBoard(tmp_path))
    events = EventAccumulator(str(tmp_path / "0123456789abcdef")).Reload()
    assert [(each.step, each.value) for each in events.Scalars("train/loss")] == [(1, 4.0), (2, 0.5)]
    assert [(each.step, each.value) for each in events.Scalars("validation/mean_return")] == [(2, -7.0)]
    assert [(each.step, each.value) for each in events.Scalars("adaptation/return")] == [(1, -9.0), (2, -3.0)]
    assert events.Scalars("result/normalised_score")[0].value == 0.75
    text = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]}
    assert text["run/text_summary"] == "ad-mamba reacher-goal-v1 laptop-v2 seed 3"
    assert 'method.head = "linear"' in text["settings/text_summary"]
    assert "adapt.episodes = 2" in text["settings/text_summary"]
    assert EventAccumulator(str(tmp_path / "other")).Reload().Scalars("train/loss")[0].value == 1.0
