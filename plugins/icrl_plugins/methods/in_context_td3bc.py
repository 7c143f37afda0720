"""Offline reinforcement learning in context: TD3+BC on windows of learning histories.

Tarasov et al. 2025 ("Yes, Q-learning helps offline in-context RL", arXiv 2502.17666) put the heads of an offline learner on
the sequence model that Algorithm Distillation trains, so that it needs no source that ends well: actions are judged by their
values. The learner is TD3+BC (Fujimoto & Gu 2021, arXiv 2106.06860, equations 3 and 5): the critics regress on

    y_t = r_t + γ min_i Q̄_i(h_{t+1}, clip(π̄(h_{t+1}) + ε)),   ε = clip(N(0, σ²), ±c),

and the actor climbs Q₁ / mean|Q₁|, less `bc_weight` times the squared distance to what the source did. h_t is the feature of
token t, so the context that leads to t + 1 holds r_t already. As published the critics alone shape h_t, which takes millions of
windows; with `cloning_shapes_features` the cloning term does so, too, as in Algorithm Distillation, and thousands will do.

Where an episode of a window ends by its time limit the true successor is no token of it, and the step is left out of the
critics' loss.

A constant added to every reward changes no policy but for what it makes a terminal state worth by comparison: nothing, which
is -mean / (std · (1 - γ)) in standardised values. The critics are given that.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from icrl_plugins.methods.in_context.actor_critic import ActorCriticModel
from icrl_plugins.methods.in_context.config import InContextConfig
from icrl_plugins.methods.in_context.layout import TokenLayout
from icrl_plugins.methods.in_context.method import InContextLearner, InContextMethod
from icrl_plugins.methods.in_context.model import InContextModel
from icrl_plugins.methods.in_context.sampling import TokenBatch
from icrl_plugins.methods.in_context.tokens import Window
from icrl_plugins.networks.stacked_layers import polyak_update
from icrl_plugins.training.checkpoints import load_module, module_tensors
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array, BoolArray, Checkpoint, FloatArray, TrainingJob

Tensor = torch.Tensor

_TARGET = "target."


class InContextTD3BCConfig(InContextConfig):
    """What every method in context has, and the settings of TD3+BC."""

    discount: float = Field(0.9, ge=0, lt=1, description="γ.")
    bc_weight: float = Field(
        0.3, ge=0, description="Weight of the squared distance to the data's actions; values count 1."
    )
    cloning_shapes_features: bool = Field(
        False,
        description="Let the cloning term's gradient reach the sequence model, too; false: the critics' alone, as published.",
    )
    head_size: int = Field(128, ge=1, description="Units in the hidden layers of actor and critics.")
    tau: float = Field(0.005, gt=0, le=1, description="Polyak rate of the target networks, an update.")
    target_noise: float = Field(0.2, ge=0, description="Std of the noise on the target policy's actions.")
    target_noise_clip: float = Field(0.5, ge=0, description="Limit of that noise.")
    policy_frequency: int = Field(2, ge=1, description="Updates of the critics to one of the actor.")


class InContextTD3BC(InContextMethod):
    """TD3+BC whose state is the feature of a causal sequence model."""

    Config: ClassVar[type[ComponentConfig]] = InContextTD3BCConfig
    name: ClassVar[str] = "ic-td3bc"
    config: InContextTD3BCConfig

    def make_learner(self, job: TrainingJob) -> InContextLearner:
        return TD3BCLearner(self, job)

    def make_model(self, config: InContextConfig, layout: TokenLayout, context_length: int) -> InContextModel:
        assert isinstance(config, InContextTD3BCConfig)
        return ActorCriticModel(self.backbone, layout, config, context_length, config.head_size)


@dataclass(frozen=True)
class Steps:
    """What the critics learn from, for every token of a batch of B windows, beside the token and the action."""

    rewards: FloatArray  # (B, T), normalised
    terminated: BoolArray  # (B, T), the MDP ended here
    has_target: BoolArray  # (B, T), the step's successor is the next token, or it has none

    @classmethod
    def of(cls, batch: TokenBatch, rewards: Mapping[int, FloatArray]) -> Steps:
        """`rewards`: normalised ones of the rows' current steps, by row."""
        shape = batch.mask.shape
        steps = cls(np.zeros(shape, np.float32), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_))
        for row, window in enumerate(batch.windows):
            steps.rewards[row, : window.count] = rewards[row]
            steps.terminated[row, : window.count] = window.stream.terminated[window.current]
            steps.has_target[row, : window.count] = _goes_on(window)
        steps.has_target[:] |= steps.terminated
        return steps


def _goes_on(window: Window) -> BoolArray:
    """(T,), whether the next token of the window belongs to the same episode."""
    following = window.is_start[window.first + 1 : window.first + window.count]
    goes_on: BoolArray = np.append(~following, False)
    return goes_on


class TD3BCLearner(InContextLearner):
    """Descends the critics' and the actor's losses together: their gradients share no parameter but through the clipping."""

    def __init__(self, method: InContextTD3BC, job: TrainingJob) -> None:
        super().__init__(method, job)
        self.settings = method.config
        model = self.model
        assert isinstance(model, ActorCriticModel)
        self.actor_critic: ActorCriticModel = model
        self.target: ActorCriticModel = copy.deepcopy(model).requires_grad_(False).eval()
        nothing = self.normalisation.rewards(np.zeros(1, dtype=np.float32))
        self.terminal_value = float(nothing[0]) / (1 - self.settings.discount)

    def loss(self, batch: TokenBatch) -> tuple[Tensor, dict[str, float]]:
        normalised = {
            row: self.normalisation.rewards(window.stream.rewards[window.current])
            for row, window in enumerate(batch.windows)
        }
        steps = Steps.of(batch, normalised)
        tokens, actions, mask = self._tensors(batch.tokens, batch.targets, batch.mask)
        rewards, terminated, has_target = self._tensors(steps.rewards, steps.terminated, steps.has_target)
        with self.autocast():
            features = self.actor_critic.features(tokens)
        features = features.float()
        wanted = self.target_values(tokens, rewards, terminated)
        first, second = self.actor_critic.critics(features, actions)
        errors = (first - wanted).square() + (second - wanted).square()  # (B, T)
        critic_loss = _mean(errors, has_target)
        metrics = {"critic_loss": float(critic_loss.detach())}
        if self.update % self.settings.policy_frequency:
            return critic_loss, metrics
        actor_loss, more = self.actor_loss(features, actions, mask)
        return critic_loss + actor_loss, {**metrics, **more}

    @torch.no_grad()
    def target_values(self, tokens: Tensor, rewards: Tensor, terminated: Tensor) -> Tensor:
        """y (B, T) of tokens (B, T, F); meaningless where a step has no target."""
        with self.autocast():
            features = self.target.features(tokens)
        following = features.float().roll(-1, dims=1)  # (B, T, D): token t + 1 at place t
        actions = self.target.read_action(following)
        limit = self.settings.target_noise_clip
        noise = (self.settings.target_noise * torch.randn_like(actions)).clamp(-limit, limit)
        values = torch.minimum(*self.target.critics(following, (actions + noise).clamp(-1.0, 1.0)))
        ended = torch.full_like(values, self.terminal_value)
        return rewards + self.settings.discount * torch.where(terminated, ended, values)

    def actor_loss(self, features: Tensor, actions: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, float]]:
        """-Q₁(h, π(h)) / mean|Q₁| + bc_weight · ‖π(h) - a‖², averaged over tokens.

        Its gradient reaches the actor alone; with `cloning_shapes_features` that of the second term reaches h, too.
        """
        chosen = self.actor_critic.read_action(features.detach())
        cloned = self.actor_critic.read_action(features) if self.settings.cloning_shapes_features else chosen
        values = self.actor_critic.value_of(features, chosen)  # (B, T)
        scale = _mean(values.detach().abs(), mask).clamp_min(1e-6)
        distance = _mean((cloned - actions).square().mean(dim=-1), mask)
        value = _mean(values, mask)
        metrics = {"value": float(value.detach()), "distance": float(distance.detach())}
        return -value / scale + self.settings.bc_weight * distance, metrics

    def updated(self, batch: TokenBatch) -> dict[str, float]:
        polyak_update(list(self.model.parameters()), list(self.target.parameters()), self.settings.tau)
        return super().updated(batch)

    def progress(self) -> dict[str, Array]:
        targets = {_TARGET + name: tensor for name, tensor in module_tensors(self.target).items()}
        return {**super().progress(), **targets}

    def resume(self, progress: Checkpoint) -> None:
        super().resume(progress)
        tensors = progress.tensors.items()
        load_module(self.target, {name.removeprefix(_TARGET): t for name, t in tensors if name.startswith(_TARGET)})

    def _tensors(self, *arrays: Array) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(array).to(self.job.device) for array in arrays)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, T) where `mask` holds; 0 where it holds nowhere."""
    return (values * mask).sum() / mask.sum().clamp_min(1)
