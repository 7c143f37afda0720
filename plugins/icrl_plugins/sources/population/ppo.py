"""PPO (Schulman et al., 2017, equation 9) for all tasks together: a source of learning histories.

The algorithm, its hyper-parameters and their defaults are those of `sb3-ppo`: generalised advantage estimation with the
value of the last observation where a time limit cut an episode, advantages normalised in every minibatch, one norm for the
gradients of policy and value. `ppo_update` is one gradient step as a reader would write it down; `PPOLearner.update` gives
the same numbers with gradients that are written out (`networks/explicit_gradients.py`), since most of autograd's time would
be bookkeeping. Every task shuffles its own minibatches, normalises its own advantages and clips its own gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from icrl_plugins.kernels.dense.kernel import sum_over_rows
from icrl_plugins.networks.adam import Adam
from icrl_plugins.networks.explicit_gradients import ExplicitGradients, Tape
from icrl_plugins.networks.flat_parameters import FlatParameters
from icrl_plugins.networks.module_tensors import load_module, module_tensors
from icrl_plugins.networks.stacked_layers import StackedLinear, orthogonal, stacked_mlp
from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.randomness.task_streams import TaskStreams
from icrl_plugins.sources.hyperparameters import PPOConfig
from icrl_plugins.sources.population.source import PopulationConfig, PopulationLearner, PopulationSource
from icrl_plugins.sources.recording import HistoryRecorder
from icrl_registry.contracts import Array, EnvironmentSpec, FloatArray
from icrl_registry.errors import UsageError

#: Epsilons of stable-baselines3: of Adam for PPO, of the division by the advantages' deviation and by a gradient's norm.
ADAM_EPSILON, ADVANTAGE_EPSILON, NORM_EPSILON = 1e-5, 1e-8, 1e-6
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class PopulationPPOConfig(PPOConfig, PopulationConfig):
    """PPO's hyper-parameters, and how many tasks train together."""


class PPONetworks(NamedTuple):
    """What one gradient step changes: a Gaussian policy whose deviation is the same everywhere, and the state's value."""

    policy: nn.Module  # (K, B, O) → means (K, B, A)
    value: nn.Module  # (K, B, O) → (K, B, 1)
    log_std: nn.Parameter  # (K, 1, A)
    optimiser: torch.optim.Optimizer  # of all three

    def parameters(self) -> list[nn.Parameter]:
        """(K, …) each."""
        return [self.log_std, *self.policy.parameters(), *self.value.parameters()]


class PPOMinibatch(NamedTuple):
    """Steps of the last rollout."""

    observations: torch.Tensor  # (K, B, O)
    actions: torch.Tensor  # (K, B, A), as sampled, not clipped
    log_prob: torch.Tensor  # (K, B, 1), of the policy that acted
    advantages: torch.Tensor  # (K, B, 1)
    returns: torch.Tensor  # (K, B, 1)


def ppo_update(networks: PPONetworks, batch: PPOMinibatch, config: PPOConfig) -> dict[str, torch.Tensor]:
    """One gradient step of K tasks in plain autograd: the specification of `PPOLearner.update`, which is held to it.

    The sum of the K losses gives each task its own gradient. Returns the losses by name, each of them summed over tasks.
    """
    policy = torch.distributions.Normal(networks.policy(batch.observations), networks.log_std.exp())
    ratios = (policy.log_prob(batch.actions).sum(dim=-1, keepdim=True) - batch.log_prob).exp()
    advantages = batch.advantages
    if advantages.shape[1] > 1:
        deviation, mean = torch.std_mean(advantages, dim=1, keepdim=True)
        advantages = (advantages - mean) / (deviation + ADVANTAGE_EPSILON)
    clipped = ratios.clamp(1 - config.clip_range, 1 + config.clip_range)
    losses = {
        "policy": -torch.min(ratios * advantages, clipped * advantages).mean(dim=1).sum(),
        "value": F.mse_loss(networks.value(batch.observations), batch.returns, reduction="none").mean(dim=1).sum(),
        "entropy": -policy.entropy().sum(dim=-1).mean(dim=1).sum(),
    }
    loss = (
        losses["policy"] + config.value_coefficient * losses["value"] + config.entropy_coefficient * losses["entropy"]
    )
    networks.optimiser.zero_grad()
    loss.backward()
    gradients = [cast(torch.Tensor, parameter.grad) for parameter in networks.parameters()]
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)  # (K,)
    for gradient in gradients:
        gradient *= (config.max_grad_norm / (norms + NORM_EPSILON)).clamp(max=1.0).view(-1, 1, 1)
    networks.optimiser.step()
    return {name: loss.detach() for name, loss in losses.items()}


class PPOLearner(PopulationLearner):
    """K tasks' policies and value networks. The Gaussian is unbounded; its samples are clipped where they are executed."""

    def __init__(
        self, spec: EnvironmentSpec, config: PPOConfig, total_steps: int, seeds: Sequence[np.random.SeedSequence]
    ) -> None:
        self.config = config
        self.total_steps = total_steps
        self.num_tasks = len(seeds)
        self.observation_size, self.action_size = spec.observation_size, spec.action_size
        self.columns = (self.observation_size, self.action_size, 1, 1, 1)  # widths of the parts of `rollout`
        self.streams = TaskStreams([child_seed(seed, 0) for seed in seeds])
        sizes = (self.observation_size, *config.hidden_sizes)
        hidden = orthogonal(math.sqrt(2.0))
        self.policy = stacked_mlp(self.streams, (*sizes, self.action_size), nn.Tanh, hidden, orthogonal(0.01))
        self.value = stacked_mlp(self.streams, (*sizes, 1), nn.Tanh, hidden, orthogonal(1.0))
        self.policies, self.values = ExplicitGradients(self.policy), ExplicitGradients(self.value)
        deviations = nn.Module()
        self.log_std = nn.Parameter(torch.full((self.num_tasks, 1, self.action_size), config.log_std_init))
        deviations.register_parameter("log_std", self.log_std)
        self.parameters = FlatParameters([deviations, self.policy, self.value])
        self.networks = nn.Module()
        self.networks.register_parameter("flat", self.parameters.flat)
        self.optimiser = Adam({"flat": self.parameters.flat}, config.learning_rate, epsilon=ADAM_EPSILON)
        self.steps_in_rollout = 0
        # Of the running rollout, before they were clipped: (R, K, S, A).
        self.sampled = torch.zeros(config.rollout_length, self.num_tasks, config.num_envs, self.action_size)

    # --- acting ---

    @torch.no_grad()
    def act(self, observations: FloatArray) -> tuple[FloatArray, FloatArray]:
        mean = self._means(observations)  # (K, S, A)
        noise = self.streams.normal(mean.shape[1], self.action_size)
        actions = torch.addcmul(mean, self.log_std.exp(), noise, out=self.sampled[self.steps_in_rollout])
        self.steps_in_rollout += 1
        flat = (-1, self.action_size)
        return actions.reshape(flat).numpy(), mean.clamp(-1.0, 1.0).reshape(flat).numpy()

    @torch.no_grad()
    def act_greedily(self, observations: FloatArray) -> FloatArray:
        return self._means(observations).clamp_(-1.0, 1.0).reshape(-1, self.action_size).numpy()

    def _means(self, observations: FloatArray) -> torch.Tensor:
        rows = torch.from_numpy(observations).reshape(self.num_tasks, -1, self.observation_size)
        return self.policies.forward(rows)

    # --- learning ---

    @torch.no_grad()
    def learn(self, recorder: HistoryRecorder) -> None:
        config = self.config
        if self.steps_in_rollout < config.rollout_length:
            return
        self.steps_in_rollout = 0
        if config.learning_rate_schedule == "linear":
            taken = recorder.steps_taken * recorder.num_streams
            self.optimiser.learning_rate = config.learning_rate * (1.0 - taken / self.total_steps)
        rollout = self.rollout(recorder)  # (K, N, columns)
        num_rows = rollout.shape[1]
        rows, first_row = rollout.flatten(0, 1), torch.arange(self.num_tasks)[:, None] * num_rows
        for _ in range(config.num_epochs):
            order = self.streams.permutations(num_rows) + first_row
            for chosen in order.split(config.batch_size, dim=1):  # (K, B)
                self.update(rows.index_select(0, chosen.flatten()).view(*chosen.shape, -1))

    def rollout(self, recorder: HistoryRecorder) -> torch.Tensor:
        """The last R steps as rows of observation, action, its log-density, advantage and return: (K, S·R, …)."""
        config, last = self.config, recorder.steps_taken
        steps = slice(last - config.rollout_length, last)
        actions = self.sampled.permute(1, 2, 0, 3).reshape(self.num_tasks, -1, self.action_size)  # (K, S·R, A)
        observations, following = (
            torch.from_numpy(np.ascontiguousarray(column[:, steps])).view(self.num_tasks, -1, self.observation_size)
            for column in (recorder.observations, recorder.next_observations)
        )
        deviations = (actions - self.policies.forward(observations)) * torch.exp(-self.log_std)
        log_probs = gaussian_log_prob(deviations, self.log_std)  # (K, S·R)
        values, next_values = (  # (K·S, R)
            self.values.forward(rows).reshape(recorder.num_rows, -1).numpy() for rows in (observations, following)
        )
        advantages = generalised_advantages(
            recorder.rewards[:, steps] * np.float32(config.reward_scale),
            values,
            next_values,
            recorder.terminated[:, steps] != 0,
            recorder.truncated[:, steps],
            config.discount,
            config.gae_lambda,
        )
        columns = (torch.from_numpy(rows).reshape(self.num_tasks, -1, 1) for rows in (advantages, advantages + values))
        parts = [observations, actions, log_probs.unsqueeze(-1), *columns]
        return torch.cat(parts, dim=-1)

    @torch.no_grad()
    def update(self, minibatch: torch.Tensor) -> None:
        """One step of Adam on a minibatch of every task, (K, B, columns of `rollout`)."""
        config = self.config
        observations, actions, old_log_probs, advantages, returns = minibatch.split(self.columns, dim=-1)
        tape = Tape()
        inverse_std = torch.exp(-self.log_std)
        deviations = (actions - self.policies.forward(observations, tape)) * inverse_std  # (K, B, A)
        log_probs = gaussian_log_prob(deviations, self.log_std).unsqueeze(-1)
        grad_log_prob = surrogate_gradients(log_probs - old_log_probs, advantages, config.clip_range)  # (K, B, 1)
        grad_log_std = self.log_std.grad
        assert grad_log_std is not None
        sum_over_rows((grad_log_prob * (deviations.square() - 1.0)).numpy(), grad_log_std.numpy())
        grad_log_std.sub_(config.entropy_coefficient)  # the entropy is Σ log σ + constants
        self.policies.backward(tape, grad_log_prob * deviations * inverse_std)
        tape = Tape()
        errors = self.values.forward(observations, tape).sub_(returns)
        self.values.backward(tape, errors.mul_(2.0 * config.value_coefficient / errors.shape[1]))
        self.parameters.clip_gradient_of_each_task(config.max_grad_norm)
        self.optimiser.step()

    # --- saving ---

    def policy_tensors(self, index: int) -> dict[str, Array]:
        """Named and shaped as those of `sb3-ppo`."""
        return {name: np.array(values.detach().numpy()) for name, values in self._named_tensors(index).items()}

    @torch.no_grad()
    def load_policy(self, tensors: Mapping[str, Array]) -> None:
        """Puts a policy in the place of the first task's.

        Raises:
            UsageError: the tensors don't belong to such a policy.
        """
        expected = self._named_tensors(0)
        if {name: np.shape(values) for name, values in tensors.items()} != {
            name: tuple(values.shape) for name, values in expected.items()
        }:
            raise UsageError(
                f"the tensors are not those of a policy of {self.observation_size} observations, "
                f"hidden layers {list(self.config.hidden_sizes)} and {self.action_size} actions",
                "rebuild the policy with the source's configuration that trained it",
            )
        for name, values in expected.items():
            values.copy_(torch.from_numpy(np.array(tensors[name])))

    def _named_tensors(self, index: int) -> dict[str, torch.Tensor]:
        """Views of one task's parameters, by stable-baselines3's names."""
        named = {"policy.log_std": self.log_std.data[index, 0]}
        head_names = {"policy_net": "action_net", "value_net": "value_net"}
        for network, (body, head) in zip((self.policy, self.value), head_names.items(), strict=True):
            for position, layer in enumerate(network):
                if not isinstance(layer, StackedLinear):
                    continue
                is_last = position == len(network) - 1
                name = f"policy.{head}" if is_last else f"policy.mlp_extractor.{body}.{position}"
                named[f"{name}.weight"] = layer.weight.data[index].T
                named[f"{name}.bias"] = layer.bias.data[index, 0]
        return named

    def save(self) -> tuple[dict[str, Array], dict[str, Any]]:
        tensors = module_tensors(self.networks) | self.optimiser.tensors()
        tensors["rollout.sampled"] = self.sampled.numpy().copy()
        counted = {"steps_in_rollout": self.steps_in_rollout, "updates": self.optimiser.steps}
        return tensors, {**counted, "streams": self.streams.state()}

    def restore(self, tensors: Mapping[str, Array], state: Mapping[str, Any]) -> None:
        load_module(self.networks, tensors)
        self.optimiser.restore(tensors, state["updates"])
        self.sampled.copy_(torch.from_numpy(np.array(tensors["rollout.sampled"])))
        self.steps_in_rollout = state["steps_in_rollout"]
        self.streams.restore(state["streams"])


class PPO(PopulationSource):
    """Proximal policy optimisation with a clipped ratio, all tasks at once.

    The Gaussian is unbounded, so its samples are clipped to [-1, 1] before they are executed and recorded. Steps at the
    end of training that don't fill a whole rollout are recorded but not learnt from.
    """

    Config = PopulationPPOConfig
    config: PopulationPPOConfig
    conformance_settings: ClassVar[Mapping[str, Any]] = {
        "total_steps": 300,
        "num_envs": 3,
        "rollout_length": 20,
        "hidden_sizes": [16, 16],
        "batch_size": 32,
        "evaluation_episodes": 2,
    }

    def make_learner(self, spec: EnvironmentSpec, seeds: Sequence[np.random.SeedSequence]) -> PPOLearner:
        return PPOLearner(spec, self.config, self.total_steps(), seeds)


def gaussian_log_prob(deviations: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    """Of independent Gaussians at mean + σ·deviations: (K, B, A) and (K, 1, A) → (K, B)."""
    constants = log_std.sum(dim=-1) + HALF_LOG_2PI * log_std.shape[-1]  # (K, 1)
    return deviations.square().sum(dim=-1).mul_(-0.5).sub_(constants)


def surrogate_gradients(log_ratios: torch.Tensor, advantages: torch.Tensor, clip_range: float) -> torch.Tensor:
    """Derivative of −mean min(rÂ, clip(r, 1 ± ε)Â) by log π, with Â normalised over the minibatch: all (K, B, 1)."""
    if advantages.shape[1] > 1:
        deviation, mean = torch.std_mean(advantages, dim=1, keepdim=True)  # (K, 1, 1)
        advantages = (advantages - mean) / (deviation + ADVANTAGE_EPSILON)
    ratios = log_ratios.exp()
    surrogates = ratios * advantages
    unclipped = surrogates <= ratios.clamp(1.0 - clip_range, 1.0 + clip_range).mul_(advantages)
    return surrogates.mul_(unclipped).mul_(-1.0 / advantages.shape[1])


def generalised_advantages(
    rewards: Array,
    values: Array,
    next_values: Array,
    terminated: Array,
    truncated: Array,
    discount: float,
    gae_lambda: float,
) -> FloatArray:
    """Generalised advantage estimation (Schulman et al., 2016, equation 16), every argument and the answer (rows, T).

    `next_values` are those of the true successors, so an episode that a time limit cut goes on in the estimate: what
    stable-baselines3 gets by adding the last value to the reward.
    """
    errors = rewards + np.float32(discount) * next_values * ~terminated - values
    decays = np.float32(discount * gae_lambda) * ~(terminated | truncated)
    advantages = np.empty_like(values)
    following = np.zeros_like(values[:, 0])
    for step in range(values.shape[1] - 1, -1, -1):
        following = errors[:, step] + decays[:, step] * following
        advantages[:, step] = following
    return advantages
