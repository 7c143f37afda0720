"""The source as a method: nothing to train, no agent."""

import numpy as np
import pytest

from icrl_plugins.methods.source import SourceLearning
from icrl_registry.contracts import Checkpoint
from icrl_registry.discovery import load
from icrl_registry.errors import PluginError, UsageError
from icrl_registry.testing.conformance import run_checks


def test_conformance() -> None:
    results = run_checks(load("method", "source"))
    assert not [result for result in results if not result.passed]
    assert "no agent" in next(result.message for result in results if result.name == "acts_in_unseen_tasks")


def test_nothing_is_trained(toy) -> None:
    method = SourceLearning(SourceLearning.Config())
    checkpoint = method.train(toy.job([]))
    assert checkpoint == Checkpoint({}, {})
    assert method.parameter_count(checkpoint) == np.int64(0)


def test_it_has_no_agent_and_no_backbone(toy) -> None:
    method = SourceLearning(SourceLearning.Config())
    with pytest.raises(PluginError, match="no agent"):
        method.agent(Checkpoint({}, {}), toy.spec, "cpu")
    with pytest.raises(UsageError, match="no backbone"):
        SourceLearning(SourceLearning.Config(), toy.backbone)
