"""The model of Algorithm Distillation: part embedders, a causal backbone, an action head.

Each part of x_t = (s_{t-1}, a_{t-1}, r_{t-1}, s_t) is embedded linearly to width e. The four are concatenated and,
where 4e is not the backbone's width D, projected to it. In the layout "three" the parts a_{t-1}, r_{t-1}, s_t become
one token each (Laskin et al. 2022), in this order, and the action is read at the third. The loss is the mean over all real
tokens and action components of the squared error of the predicted actions or, with the head "gaussian", of the negative
log-likelihood of the executed ones: Laskin's equation 1 for continuous actions. Drawn from, it also explores like the source.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import nn

from icrl_registry.contracts import BackboneFactory

Head = Literal["linear", "tanh", "gaussian"]

#: Log-deviations of the head "gaussian" are clamped to these: 0.007 to 1.6 on actions in [-1, 1].
LOG_STD_RANGE = (-5.0, 0.5)


class DistillationModel(nn.Module):
    """(B, T, F) tokens → (B, T, A) actions; the output at t depends on tokens up to t only.

    With the head "gaussian" (B, T, 2A): means, then log-deviations.
    """

    def __init__(
        self,
        make_backbone: BackboneFactory,
        *,
        observation_size: int,
        action_size: int,
        context_length: int,
        token_layout: Literal["transition", "three"],
        episode_start_flag: bool,
        head: Head,
        dropout: float,
    ) -> None:
        super().__init__()
        self.token_layout = token_layout
        flag = int(episode_start_flag)  # the flag is part of the current observation's input
        self.part_sizes = [observation_size, action_size, 1, observation_size + flag]
        tokens_per_step = 3 if token_layout == "three" else 1
        self.backbone: Any = make_backbone(tokens_per_step * context_length)
        width, embedding = self.backbone.model_size, self.backbone.embedding_size
        self.projection: nn.Module = nn.Identity()
        if token_layout == "three":
            self.embedders = nn.ModuleList(nn.Linear(size, width) for size in self.part_sizes[1:])
        else:
            self.embedders = nn.ModuleList(nn.Linear(size, embedding) for size in self.part_sizes)
            if 4 * embedding != width:
                self.projection = nn.Linear(4 * embedding, width)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2 * action_size if head == "gaussian" else action_size)
        self.squash = nn.Tanh() if head == "tanh" else nn.Identity()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Actions for every decision of B windows at once."""
        batch, time, _ = tokens.shape
        embedded = torch.cat(self._embed(tokens), dim=-1).reshape(
            batch, -1, self.backbone.model_size
        )  # (B, T or 3T, D)
        features = self.backbone(embedded)
        if self.token_layout == "three":
            features = features.reshape(batch, time, 3, -1)[:, :, 2]  # (B, T, D)
        return self._read_action(features)

    def initial_state(self, batch_size: int) -> Any:
        """The state before the first decision of `batch_size` histories."""
        return self.backbone.initial_state(batch_size)

    def step(self, token: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        """(B, F) and a state → actions (B, A) and the next state; the same numbers as `forward`."""
        features = token
        for embedded in self._embed(token):
            features, state = self.backbone.step(embedded, state)
        return self._read_action(features), state

    def _embed(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """(…, F) → what the backbone gets for it, one or three tensors (…, D)."""
        parts = torch.split(tokens, self.part_sizes, dim=-1)
        if self.token_layout == "three":
            parts = parts[1:]  # s_{t-1} was the observation token of the step before
        embedded = [embed(part) for embed, part in zip(self.embedders, parts, strict=True)]
        if self.token_layout == "three":
            return [self.dropout(token) for token in embedded]
        return [self.dropout(self.projection(torch.cat(embedded, dim=-1)))]

    def _read_action(self, features: torch.Tensor) -> torch.Tensor:
        actions: torch.Tensor = self.squash(self.head(self.norm(features)))
        return actions


def masked_mean_squared_error(predicted: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over real tokens and action components: predicted and targets (B, T, A), mask (B, T) bool → scalar."""
    squared = (predicted.float() - targets).square().mean(dim=-1)  # (B, T)
    return (squared * mask).sum() / mask.sum()


def masked_negative_log_likelihood(predicted: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Of independent Gaussians, per real token and action component: predicted (B, T, 2A), the rest as above → scalar."""
    mean, log_std = mean_and_log_std(predicted.float())
    squared = ((targets - mean) * torch.exp(-log_std)).square()
    surprise = (0.5 * squared + log_std + 0.5 * math.log(2.0 * math.pi)).mean(dim=-1)  # (B, T)
    return (surprise * mask).sum() / mask.sum()


def mean_and_log_std(predicted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(…, 2A) → means and clamped log-deviations, (…, A) each."""
    mean, log_std = predicted.chunk(2, dim=-1)
    return mean, log_std.clamp(*LOG_STD_RANGE)
