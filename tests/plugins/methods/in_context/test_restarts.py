"""Rounds of random episodes and attempts: which context each episode begins in, and what an agent gains by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from icrl_plugins.backbones.decision_transformer import DecisionTransformer
from icrl_plugins.backbones.mamba import Mamba
from icrl_plugins.methods.in_context.agent import ContextLimits, InContextAgent
from icrl_plugins.methods.in_context.imitation import ImitationConfig
from icrl_plugins.methods.in_context.layout import TokenLayout
from icrl_plugins.methods.in_context.model import ImitationModel
from icrl_plugins.methods.in_context.restarts import RestartContext, Restarts, Rounds
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.contracts import AdaptationSetting, FloatArray, Transitions

LAYOUT = TokenLayout(1, 1)
PLAIN = Normalisation(np.zeros(1, np.float32), np.ones(1, np.float32), 1.0)


def context(name: str) -> RestartContext:
    return RestartContext((torch.tensor([float(len(name))]), name), np.zeros(LAYOUT.size, np.float32))


def test_contexts_of_two_rounds_and_of_what_follows():
    rounds = Rounds(2, context("empty"))
    begun, random = [], []
    for episode, gain in enumerate([9.0, -3.0, 9.0, -1.0, 5.0, -8.0]):
        random.append(rounds.is_random)
        begun.append(rounds.begin_episode(context(f"after {episode}")).state[1])
        for share in (0.25, 0.75):
            rounds.add(share * gain, ended=share == 0.75)
    assert random == [True, False, True, False, False, False]
    # The second attempt, in episode 3, returned most: of random episodes and of what follows the rounds no return counts.
    assert begun == ["empty", "after 1", "empty", "after 3", "after 3", "after 3"]


@pytest.mark.parametrize("backbone", [Mamba, DecisionTransformer])
def test_a_context_that_is_kept_stays_as_it_was(backbone: Any):
    """Committed episodes say what the model says after the opening's tokens alone, also where states are written in place."""
    config = backbone.Config(model_size=16, num_layers=2, embedding_size=4)
    torch.manual_seed(0)
    model = ImitationModel(lambda length: backbone(config, context_length=length), LAYOUT, ImitationConfig(), 12)
    model.eval()
    tokens = torch.randn(5, 3, 1, LAYOUT.size)  # episodes of three steps of one task
    restarts = Restarts(1, model, np.zeros((1, LAYOUT.size), np.float32))
    said = []
    with torch.inference_mode():
        for episode in tokens:
            restarts.begin_episodes(np.array([True]), np.zeros((1, LAYOUT.size), np.float32))
            outputs = []
            for step, token in enumerate(episode):
                outputs.append(restarts.step(token))
                restarts.add(np.array([1.0]), np.array([True]), np.array([step == 2]))
            said.append(torch.stack(outputs))
        for episode in (1, 2, 3, 4):
            whole = torch.cat([tokens[0], tokens[episode]])[None, :, 0]  # (1, 6, F)
            torch.testing.assert_close(said[episode], model(whole)[0, 3:, None], rtol=0, atol=1e-5)


class Believer(torch.nn.Module):
    """Acts by the sign of the first action of its context, whatever that was paid: the delusion in one line."""

    layout = LAYOUT

    def initial_state(self, batch_size: int) -> Any:
        return (torch.zeros(batch_size),)

    def step(self, token: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        (belief,) = state
        belief = torch.where(belief == 0, token[:, LAYOUT.previous_action].sum(dim=1).sign(), belief)
        return torch.where(belief == 0, 0.3, belief)[:, None], (belief,)


def live(restarts: int, pays: FloatArray, episodes: int = 12, horizon: int = 4) -> FloatArray:
    """Returns (K, E) in a world where each step pays the action times what the task `pays` (K,) for it."""
    config = ImitationConfig(restarts=restarts, restart_std=0.5)
    agent = InContextAgent(Believer(), PLAIN, config, ContextLimits(2 * horizon, horizon), "cpu")  # type: ignore[arg-type]
    count = len(pays)
    agent.begin(AdaptationSetting(count, episodes, "online", np.random.SeedSequence(3)))
    returns = np.zeros((count, episodes))
    nowhere, going_on = np.zeros((count, 1), np.float32), np.zeros(count, np.bool_)
    for episode in range(episodes):
        for step in range(horizon):
            actions = agent.act(nowhere)
            rewards = (pays * actions[:, 0]).astype(np.float32)
            returns[:, episode] += rewards
            ended = np.full(count, step == horizon - 1)
            agent.observe(Transitions(nowhere, actions, rewards, nowhere, going_on, ended, ~going_on))
    return returns


def test_who_believes_its_own_actions_is_right_in_the_end():
    pays = np.array([1.0, -1.0, -1.0], np.float32)
    stuck, freed = live(0, pays), live(5, pays)
    assert (stuck[1:, 1:] <= -3.9).all()  # it believes its first action for good
    assert (freed[:, -2:] >= 3.9).all()
    assert (np.abs(freed[:, 0:10:2]) < 3).all()  # the random episodes: neither sign throughout
