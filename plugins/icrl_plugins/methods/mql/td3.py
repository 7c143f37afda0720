"""TD3 (Fujimoto et al. 2018, arXiv 1802.09477, algorithm 1) with recurrent contexts, for K tasks at once.

Meta-Q-Learning (Fakoor et al. 2020, arXiv 1910.00125): meta-training is equation 10 with K = 1; with weights and a
proximal term the same update is one of adaptation, equations 18 and 19. A sum over tasks of losses that share no
parameter gives each task its own gradient, and Adam works element by element: so tasks cannot touch each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from icrl_plugins.methods.mql.config import MQLConfig
from icrl_plugins.methods.mql.networks import Networks
from icrl_plugins.networks.stacked_layers import polyak_update
from icrl_plugins.training.checkpoints import load_module, load_optimiser, module_tensors, optimiser_tensors
from icrl_registry.contracts import Array
from icrl_registry.errors import NumericalError

Tensor = torch.Tensor


@dataclass(frozen=True)
class TD3Batch:
    """B transitions of each of K tasks, with the histories before them and after them."""

    observations: Tensor  # (K, B, O)
    actions: Tensor  # (K, B, A)
    rewards: Tensor  # (K, B)
    next_observations: Tensor  # (K, B, O)
    terminated: Tensor  # (K, B), 1 where the MDP ended, 0 also at the time limit
    histories: Tensor  # (K, T, B, F), the tuples that the action was chosen from
    next_histories: Tensor  # (K, T, B, F), shifted by one: the last tuple is this transition's


@dataclass(frozen=True)
class Weighting:
    """What an update of phase 2 adds."""

    weights: Tensor  # (K, B), multiplies every transition's losses
    proximal: Tensor  # (K,), λ of λ‖θ − θ_meta‖²
    anchor: Networks  # θ_meta, K = 1


class TD3:
    """Networks, their targets and fresh optimisers."""

    def __init__(self, networks: Networks, targets: Networks, config: MQLConfig, learning_rate: float) -> None:
        self.networks = networks
        self.targets = targets.requires_grad_(False)
        self.config = config
        self.updates = 0
        self.actor_parameters = list(networks.actor.parameters())
        self.critic_parameters = list(networks.critic.parameters())
        self.actor_optimiser = torch.optim.Adam(self.actor_parameters, lr=learning_rate, fused=True)
        self.critic_optimiser = torch.optim.Adam(self.critic_parameters, lr=learning_rate, fused=True)

    def update(self, batch: TD3Batch, noise: Tensor, weighting: Weighting | None = None) -> dict[str, Tensor]:
        """One update of the critics and, at every `policy_frequency`-th, of the actor and the targets.

        Args:
            batch: the transitions.
            noise: standard normal, (K, B, A), for the target's actions.
            weighting: weights and proximal term of adaptation's phase 2.

        Returns:
            The losses per task, (K,), without the proximal term: `critic_loss` and, where it was updated, `actor_loss`.
        """
        critic, actor = self.networks.critic, self.networks.actor
        wanted = self._target_values(batch, noise)  # (K, B)
        first, second = critic(batch.observations, batch.actions, critic.encode(batch.histories))
        errors = (first - wanted).square() + (second - wanted).square()
        critic_loss = _weighted_mean(errors, weighting)
        anchor = None if weighting is None else list(weighting.anchor.critic.parameters())
        self._descend(self.critic_optimiser, self.critic_parameters, critic_loss, anchor, weighting)
        losses = {"critic_loss": critic_loss.detach()}
        self.updates += 1
        if self.updates % self.config.policy_frequency == 0:
            with torch.no_grad():
                critic_contexts = critic.encode(batch.histories)
            actions = actor(batch.observations, actor.encode(batch.histories))
            actor_loss = _weighted_mean(-critic.first(batch.observations, actions, critic_contexts), weighting)
            anchor = None if weighting is None else list(weighting.anchor.actor.parameters())
            self._descend(self.actor_optimiser, self.actor_parameters, actor_loss, anchor, weighting)
            losses["actor_loss"] = actor_loss.detach()
            polyak_update(list(self.networks.parameters()), list(self.targets.parameters()), self.config.tau)
        return losses

    @torch.no_grad()
    def _target_values(self, batch: TD3Batch, noise: Tensor) -> Tensor:
        """y = r + γ (1 − d) min_i Q̄_i(s', a'), with clipped noise on a', (K, B)."""
        actor, critic, config = self.targets.actor, self.targets.critic, self.config
        clipped = (config.target_noise * noise).clamp(-config.target_noise_clip, config.target_noise_clip)
        actions = actor(batch.next_observations, actor.encode(batch.next_histories))
        actions = (actions + clipped).clamp(-1.0, 1.0)
        values = torch.minimum(*critic(batch.next_observations, actions, critic.encode(batch.next_histories)))
        return batch.rewards + config.discount * (1 - batch.terminated) * values

    def _descend(
        self,
        optimiser: torch.optim.Optimizer,
        parameters: list[nn.Parameter],
        loss: Tensor,
        anchor: Sequence[Tensor] | None,
        weighting: Weighting | None,
    ) -> None:
        gradients = torch.autograd.grad(loss.sum(), parameters)
        for index, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            if anchor is not None and weighting is not None:  # the gradient of λ‖θ − θ_meta‖²
                pull = weighting.proximal.view(-1, *(1 for _ in parameter.shape[1:]))
                gradient = gradient + 2 * pull * (parameter.detach() - anchor[index].detach())
            parameter.grad = gradient
        optimiser.step()

    def require_finite(self, where: str) -> None:
        """Raises NumericalError, saying `where`, if a parameter is a NaN or infinite."""
        for name, parameter in self.networks.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise NumericalError(
                    f"the parameter '{name}' is not finite {where}",
                    f"try a lower rate: --set method.learning_rate={self.config.learning_rate / 3:.1g}",
                )

    def tensors(self) -> dict[str, Array]:
        """Parameters as `model.NAME`, targets as `target.NAME`, moments as `optimiser.NAME.KEY`."""
        return {
            **module_tensors(self.networks),
            **target_tensors(self.targets),
            **optimiser_tensors(self.actor_optimiser, self.networks),
            **optimiser_tensors(self.critic_optimiser, self.networks),
        }

    def load(self, tensors: Mapping[str, Array], updates: int) -> None:
        """Continues from `tensors` after `updates` updates."""
        load_networks(self.networks, self.targets, tensors)
        load_optimiser(self.actor_optimiser, self.networks, tensors)
        load_optimiser(self.critic_optimiser, self.networks, tensors)
        self.updates = updates


def target_tensors(targets: Networks) -> dict[str, Array]:
    """The target networks as `target.NAME`: not counted as trainable parameters."""
    return {name.replace("model.", "target.", 1): tensor for name, tensor in module_tensors(targets).items()}


def load_networks(networks: Networks, targets: Networks, tensors: Mapping[str, Array]) -> None:
    """Copies `model.NAME` and `target.NAME` back.

    Raises:
        DamagedArtefactError: a tensor is missing, superfluous or of another shape or type.
    """
    load_module(networks, tensors)
    load_module(targets, {f"model.{name[7:]}": t for name, t in tensors.items() if name.startswith("target.")})


def _weighted_mean(losses: Tensor, weighting: Weighting | None) -> Tensor:
    """(K, B) → (K,)."""
    return (losses if weighting is None else weighting.weights * losses).mean(dim=-1)
