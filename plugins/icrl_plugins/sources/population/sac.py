"""SAC (Haarnoja et al., 2018, with a learnt temperature) for all tasks together: a source of learning histories.

The algorithm, its hyper-parameters and their defaults are those of `sb3-sac`. `sac_update` is one gradient step as a reader
would write it down; `SACLearner.update` gives the same numbers with gradients that are written out
(`networks/explicit_gradients.py`), since most of autograd's time would be bookkeeping. K tasks are one stacked network, and
the two critics of a task are neighbours on the stacked axis: K·2 networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import nn

from icrl_plugins.networks.adam import Adam
from icrl_plugins.networks.explicit_gradients import ExplicitGradients, Tape
from icrl_plugins.networks.flat_parameters import FlatParameters
from icrl_plugins.networks.module_tensors import load_module, module_tensors
from icrl_plugins.networks.squashed_gaussian import squashed_sample, squashed_sample_gradients
from icrl_plugins.networks.stacked_layers import polyak_update, stacked_mlp
from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.randomness.task_streams import Streams, TaskStreams
from icrl_plugins.sources.hyperparameters import SACConfig
from icrl_plugins.sources.population.source import PopulationConfig, PopulationLearner, PopulationSource
from icrl_plugins.sources.recording import HistoryRecorder, TransitionColumns
from icrl_registry.contracts import Array, EnvironmentSpec, FloatArray
from icrl_registry.errors import UsageError

NUM_CRITICS = 2


class PopulationSACConfig(SACConfig, PopulationConfig):
    """SAC's hyper-parameters, and how many tasks train together."""


class SACNetworks(NamedTuple):
    """What one gradient step changes. Rows of the networks' inputs and outputs are task by task."""

    actor: nn.Module  # (K, B, O) → mean and log-deviation of the policy, (K, B, 2A)
    critics: nn.Module  # (K·2, B, O + A) → (K·2, B, 1)
    targets: nn.Module  # critics that follow slowly
    log_temperature: nn.Parameter  # (K, 1, 1)
    actor_optimiser: torch.optim.Optimizer
    critic_optimiser: torch.optim.Optimizer
    temperature_optimiser: torch.optim.Optimizer

    def sample(self, observations: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions (K, B, A) of the policy, and their log-densities (K, B, 1)."""
        mean, log_std = self.actor(observations).chunk(2, dim=-1)
        return squashed_sample(mean, log_std, noise)


class SACBatch(NamedTuple):
    """Transitions drawn from each task's replay buffer, and the noise of the two actions that a step samples."""

    observations: torch.Tensor  # (K, B, O)
    actions: torch.Tensor  # (K, B, A)
    next_observations: torch.Tensor  # (K, B, O)
    rewards: torch.Tensor  # (K, B, 1)
    terminated: torch.Tensor  # (K, B, 1), 0 or 1; a time limit is no end of the MDP
    noise: torch.Tensor  # (K, B, A), standard normal
    next_noise: torch.Tensor  # (K, B, A)


def smaller_critic(q_values: torch.Tensor) -> torch.Tensor:
    """(K, 2, B, 1) → (K, B, 1): the pessimistic one of the two critics (Fujimoto et al., 2018)."""
    return q_values.amin(dim=1)


def sac_update(
    networks: SACNetworks,
    batch: SACBatch,
    config: SACConfig,
    target_entropy: float,
    updates_policy: bool = True,
    policy_value: Callable[[torch.Tensor], torch.Tensor] = smaller_critic,
) -> dict[str, torch.Tensor]:
    """One gradient step of K tasks in plain autograd: the specification of `SACLearner.update`, which is held to it.

    The sum of the K losses gives each task its own gradient. Returns the losses by name, each of them summed over tasks.
    """
    losses: dict[str, torch.Tensor] = {}
    temperature = networks.log_temperature.exp().detach()  # of before its step

    def q_values(critics: nn.Module, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        pairs = torch.cat([observations, actions], dim=-1).repeat_interleave(NUM_CRITICS, dim=0)
        values: torch.Tensor = critics(pairs).unflatten(0, (-1, NUM_CRITICS))
        return values  # (K, 2, B, 1)

    def step(optimiser: torch.optim.Optimizer, name: str, loss: torch.Tensor) -> None:
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses[name] = loss.detach()

    # Temperature (their equation 18, with log α in the place of α)
    if updates_policy:
        actions, log_prob = networks.sample(batch.observations, batch.noise)
        entropy_gap = (log_prob + target_entropy).detach()
        step(networks.temperature_optimiser, "temperature", -(networks.log_temperature * entropy_gap).mean(dim=1).sum())
    # Critics (equation 5): y = r + γ(1 − d)·(min Q' − α·log π)
    with torch.no_grad():
        next_actions, next_log_prob = networks.sample(batch.next_observations, batch.next_noise)
        soft_values = smaller_critic(q_values(networks.targets, batch.next_observations, next_actions))
        soft_values -= temperature * next_log_prob
        target = batch.rewards * config.reward_scale + (1 - batch.terminated) * config.discount * soft_values
    errors = q_values(networks.critics, batch.observations, batch.actions) - target.unsqueeze(1)
    step(networks.critic_optimiser, "critics", 0.5 * errors.square().mean(dim=2).sum())
    # Policy (equation 7)
    if updates_policy:
        values = policy_value(q_values(networks.critics, batch.observations, actions))
        step(networks.actor_optimiser, "policy", (temperature * log_prob - values).mean(dim=1).sum())
    for source, follower in zip(networks.critics.parameters(), networks.targets.parameters(), strict=True):
        follower.data.lerp_(source.data, config.tau)
    return losses


class PolicySample(NamedTuple):
    """Actions of the current policy, and what their backward pass needs."""

    actions: torch.Tensor  # (K, B, A)
    log_prob: torch.Tensor  # (K, B, 1)
    log_std: torch.Tensor  # (K, B, A), not clamped
    noise: torch.Tensor  # (K, B, A)
    tape: Tape


class SACLearner(PopulationLearner):
    """K tasks' actors, critics, target critics and temperatures."""

    def __init__(
        self, spec: EnvironmentSpec, config: SACConfig, total_steps: int, seeds: Sequence[np.random.SeedSequence]
    ) -> None:
        self.config = config
        self.total_steps = total_steps
        self.num_tasks = len(seeds)
        self.num_updates = 0
        self.steps_seen = 0  # environment steps a task
        self.observation_size, self.action_size = spec.observation_size, spec.action_size
        target_entropy = config.target_entropy
        self.target_entropy = -float(self.action_size) if target_entropy is None else target_entropy
        self.streams = TaskStreams([child_seed(seed, 0) for seed in seeds])
        self.networks = nn.Module()
        # One layer for mean and log-deviation: each output starts from the same distribution as in a layer of its own.
        self.actor = stacked_mlp(self.streams, (self.observation_size, *config.hidden_sizes, 2 * self.action_size))
        critic_sizes = (self.observation_size + self.action_size, *config.hidden_sizes, 1)
        pairs = self.streams.repeated(NUM_CRITICS)
        self.critics = self.make_critics(pairs, critic_sizes)
        self.targets = self.make_critics(pairs, critic_sizes)
        self.targets.load_state_dict(self.critics.state_dict())
        self.log_temperature = nn.Parameter(
            torch.full((self.num_tasks, 1, 1), float(np.log(config.initial_temperature)))
        )
        self._actor_passes, self._critic_passes, self._target_passes = (
            ExplicitGradients(network) for network in (self.actor, self.critics, self.targets)
        )
        self.networks.add_module("actor", self.actor)
        self.networks.add_module("critics", self.critics)
        self.networks.add_module("targets", self.targets.requires_grad_(False))
        self.networks.register_parameter("log_temperature", self.log_temperature)
        self._make_optimisers()

    def _make_optimisers(self) -> None:
        """To be called again after the parameters changed their type."""
        actor, critics, targets = (
            FlatParameters([network]).flat for network in (self.actor, self.critics, self.targets)
        )
        stepped = {"actor": actor, "critics": critics, "log_temperature": self.log_temperature}
        self.actor_optimiser, self.critic_optimiser, self.temperature_optimiser = self.optimisers = tuple(
            Adam({name: parameter}, self.config.learning_rate) for name, parameter in stepped.items()
        )
        self._critic_parameters, self._target_parameters = critics, targets

    # --- what DroQ does otherwise ---

    def make_critics(self, streams: Streams, sizes: Sequence[int]) -> nn.Sequential:
        """K·2 critics, (K·2, B, O + A) → (K·2, B, 1)."""
        return stacked_mlp(streams, sizes)

    def updates_policy(self) -> bool:
        """Whether this update, the `num_updates`-th, is also one of policy and temperature."""
        return True

    def objective_gradients(self, q_values: torch.Tensor) -> torch.Tensor:
        """(K, 2, B, 1) → the derivative of what the policy maximises, here the smaller one, by each of the two."""
        first_is_smaller = (q_values[:, :1] <= q_values[:, 1:]).to(q_values.dtype)
        return torch.cat([first_is_smaller, 1.0 - first_is_smaller], dim=1)

    # --- acting ---

    @torch.no_grad()
    def act(self, observations: FloatArray) -> tuple[FloatArray, FloatArray]:
        rows = (self.num_tasks, -1, self.observation_size)
        num_streams = len(observations) // self.num_tasks
        if self.steps_seen < self.config.learning_starts:
            actions = self.streams.uniform(-1.0, 1.0, num_streams, self.action_size).reshape(-1, self.action_size)
            return actions.numpy(), np.zeros_like(actions)
        mean, log_std = self._policy(torch.from_numpy(observations).reshape(rows))
        noise = self.streams.normal(num_streams, self.action_size).to(mean.dtype)
        actions, _ = squashed_sample(mean, log_std, noise)
        flat = (-1, self.action_size)
        return actions.reshape(flat).float().numpy(), mean.tanh().reshape(flat).float().numpy()

    @torch.no_grad()
    def act_greedily(self, observations: FloatArray) -> FloatArray:
        mean, _ = self._policy(torch.from_numpy(observations).reshape(self.num_tasks, -1, self.observation_size))
        return mean.tanh().reshape(-1, self.action_size).float().numpy()

    def _policy(self, observations: torch.Tensor, tape: Tape | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """(K, B, O) → means and log-deviations, (K, B, A)."""
        mean, log_std = self._actor_passes.forward(observations.to(self.log_temperature.dtype), tape).chunk(2, dim=-1)
        return mean, log_std

    # --- learning ---

    def learn(self, recorder: HistoryRecorder) -> None:
        config = self.config
        self.steps_seen = recorder.steps_taken * recorder.num_streams
        if recorder.steps_taken % config.train_frequency or self.steps_seen <= config.learning_starts:
            return
        if config.learning_rate_schedule == "linear":
            rate = config.learning_rate * (1.0 - self.steps_seen / self.total_steps)
            for optimiser in self.optimisers:
                optimiser.learning_rate = rate
        for _ in range(config.gradient_steps):
            self.update(self.sample(recorder), recorder.columns)

    def sample(self, recorder: HistoryRecorder) -> torch.Tensor:
        """A batch of each task's last `buffer_size` transitions, with replacement: (K, B, columns)."""
        window = min(recorder.steps_taken, max(self.config.buffer_size // recorder.num_streams, 1))
        drawn = self.streams.integers(recorder.num_streams * window, self.config.batch_size)  # (K, B)
        first_row = torch.arange(self.num_tasks)[:, None] * recorder.num_streams
        streams, ages = drawn // window, drawn % window
        steps = (recorder.steps_taken - window) + ages
        flat = ((first_row + streams) * recorder.num_steps + steps).reshape(-1)  # (K·B,)
        transitions = torch.from_numpy(recorder.transitions).reshape(-1, recorder.columns.width)
        return transitions.index_select(0, flat).reshape(self.num_tasks, -1, recorder.columns.width)

    @torch.no_grad()
    def update(self, transitions: torch.Tensor, columns: TransitionColumns) -> None:
        """One gradient step of every task on its batch, (K, B, columns)."""
        self.num_updates += 1
        transitions = transitions.to(self.log_temperature.dtype)
        noise = self.streams.normal(2, transitions.shape[1], self.action_size).to(transitions.dtype)  # (K, 2, B, A)
        temperature = self.log_temperature.exp()  # (K, 1, 1), of before its step
        observations = transitions[..., columns.observations]
        sample = None
        if self.updates_policy():
            sample = self._sample_policy(observations, noise[:, 0])
            self._update_temperature(sample.log_prob)
        self._update_critics(transitions, columns, noise[:, 1], temperature)
        if sample is not None:
            self._update_policy(observations, sample, temperature)
        polyak_update([self._critic_parameters], [self._target_parameters], self.config.tau)

    def _sample_policy(self, observations: torch.Tensor, noise: torch.Tensor) -> PolicySample:
        tape = Tape()
        mean, log_std = self._policy(observations, tape)
        return PolicySample(*squashed_sample(mean, log_std, noise), log_std, noise, tape)

    def _update_temperature(self, log_prob: torch.Tensor) -> None:
        """The loss is -log α · mean(log π + target entropy)."""
        self.log_temperature.grad = -(log_prob.mean(dim=1, keepdim=True) + self.target_entropy)
        self.temperature_optimiser.step()

    def target_q_values(
        self, transitions: torch.Tensor, columns: TransitionColumns, noise: torch.Tensor, temperature: torch.Tensor
    ) -> torch.Tensor:
        """y = r + γ(1 − d)·(min over the target critics − α·log π), (K, B, 1). A time limit is no end of the MDP."""
        next_observations = transitions[..., columns.next_observations]
        next_actions, next_log_prob = squashed_sample(*self._policy(next_observations), noise)
        pairs = torch.cat([next_observations, next_actions], dim=-1)
        next_q_values = self._by_task(self._target_passes.forward(pairs))  # (K, 2, B, 1)
        soft_values = next_q_values.amin(dim=1) - temperature * next_log_prob
        rewards = transitions[..., columns.reward, None] * self.config.reward_scale
        return rewards + (1 - transitions[..., columns.terminated, None]) * self.config.discount * soft_values

    def _update_critics(
        self, transitions: torch.Tensor, columns: TransitionColumns, noise: torch.Tensor, temperature: torch.Tensor
    ) -> None:
        """The loss is half the sum of the two critics' mean squared errors."""
        target = self.target_q_values(transitions, columns, noise, temperature)
        tape = Tape()
        pairs = transitions[..., columns.observations_and_actions]
        q_values = self._by_task(self._critic_passes.forward(pairs, tape))
        gradients = (q_values - target[:, None]) / transitions.shape[1]
        self._critic_passes.backward(tape, gradients.flatten(0, 1))
        self.critic_optimiser.step()

    def _update_policy(self, observations: torch.Tensor, sample: PolicySample, temperature: torch.Tensor) -> None:
        """The loss is mean(α·log π − Q), where Q is the smaller critic (SAC) or the mean of both (DroQ)."""
        batch_size = observations.shape[1]
        tape = Tape()
        pairs = torch.cat([observations, sample.actions], dim=-1)
        q_values = self._by_task(self._critic_passes.forward(pairs, tape))
        gradients = self.objective_gradients(q_values).div_(-batch_size)  # (K, 2, B, 1)
        columns = slice(self.observation_size, self.observation_size + self.action_size)
        grad_pairs = self._critic_passes.backward(tape, gradients.flatten(0, 1), parameters=False, inputs=columns)
        assert grad_pairs is not None
        action_gradients = self._by_task(grad_pairs).sum(dim=1)  # (K, B, A)
        mean_and_log_std = squashed_sample_gradients(
            sample.actions, sample.log_std, sample.noise, action_gradients, temperature / batch_size
        )
        self._actor_passes.backward(sample.tape, torch.cat(mean_and_log_std, dim=-1))
        self.actor_optimiser.step()

    def _by_task(self, stacked: torch.Tensor) -> torch.Tensor:
        """(K·2, …) → (K, 2, …)."""
        grouped: torch.Tensor = stacked.unflatten(0, (self.num_tasks, NUM_CRITICS))
        return grouped

    # --- saving ---

    def policy_tensors(self, index: int) -> dict[str, Array]:
        return {f"policy.{name}": values[index].detach().numpy().copy() for name, values in self._actor_tensors()}

    def load_policy(self, tensors: Mapping[str, Array]) -> None:
        """Puts a policy in the place of the first task's.

        Raises:
            UsageError: the tensors don't belong to such a policy.
        """
        expected = {f"policy.{name}": values for name, values in self._actor_tensors()}
        shapes = {name: tuple(values.shape[1:]) for name, values in expected.items()}
        if {name: np.shape(values) for name, values in tensors.items()} != shapes:
            raise UsageError(
                f"the tensors are not those of a policy of {self.observation_size} observations, "
                f"hidden layers {list(self.config.hidden_sizes)} and {self.action_size} actions",
                "rebuild the policy with the source's configuration that trained it",
            )
        with torch.no_grad():
            for name, values in expected.items():
                values[0].copy_(torch.from_numpy(np.array(tensors[name])))

    def _actor_tensors(self) -> list[tuple[str, torch.Tensor]]:
        return list(self.actor.named_parameters())

    def save(self) -> tuple[dict[str, Array], dict[str, Any]]:
        tensors = module_tensors(self.networks)
        for optimiser in self.optimisers:
            tensors |= optimiser.tensors()
        steps = [optimiser.steps for optimiser in self.optimisers]
        counters = {"num_updates": self.num_updates, "steps_seen": self.steps_seen, "optimiser_steps": steps}
        return tensors, {**counters, "streams": self.streams.state()}

    def restore(self, tensors: Mapping[str, Array], state: Mapping[str, Any]) -> None:
        load_module(self.networks, tensors)
        for optimiser, steps in zip(self.optimisers, state["optimiser_steps"], strict=True):
            optimiser.restore(tensors, steps)
        self.num_updates, self.steps_seen = state["num_updates"], state["steps_seen"]
        self.streams.restore(state["streams"])


class SAC(PopulationSource):
    """Soft actor-critic with two critics and automatic temperature, all tasks at once."""

    Config: ClassVar[type[SACConfig]] = PopulationSACConfig
    config: PopulationSACConfig
    conformance_settings: ClassVar[Mapping[str, Any]] = {
        "total_steps": 300,
        "num_envs": 3,
        "learning_starts": 60,
        "hidden_sizes": [16, 16],
        "batch_size": 32,
        "evaluation_episodes": 2,
    }

    def make_learner(self, spec: EnvironmentSpec, seeds: Sequence[np.random.SeedSequence]) -> SACLearner:
        return SACLearner(spec, self.config, self.total_steps(), seeds)
