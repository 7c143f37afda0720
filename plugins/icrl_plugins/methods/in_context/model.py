"""Models that decide in context: embedders, a causal backbone, and an action head on its features.

Each part of x_t = (s_{t-1}, a_{t-1}, r_{t-1}, s_t) is embedded linearly to width e. The four are concatenated and,
where 4e is not the backbone's width D, projected to it. With the embedder "joint" two layers embed the whole token instead:
what a task is shows in products, of reward and velocity say, which no linear part can form. In the layout "three" the parts
a_{t-1}, r_{t-1}, s_t become one token each (Laskin et al. 2022), in this order, and the action is read at the third.

The imitation loss is the mean over all real tokens and action components of the squared error of the predicted actions or,
with the head "gaussian", of the negative log-likelihood of the labels: Laskin's equation 1 for continuous actions. Drawn
from, that head also explores like the source. Discrete actions have the head "categorical", for which equation 1 is the cross
entropy of the labels.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import nn

from icrl_plugins.methods.in_context.config import InContextConfig
from icrl_plugins.methods.in_context.layout import TokenLayout
from icrl_registry.contracts import BackboneFactory

Head = Literal["linear", "tanh", "gaussian", "categorical"]

#: Log-deviations of the head "gaussian" are clamped to these: 0.007 to 1.6 on actions in [-1, 1].
LOG_STD_RANGE = (-5.0, 0.5)


class InContextModel(nn.Module):
    """(B, T, F) tokens → (B, T, D) features of every decision, and actions from them; t depends on tokens up to t only.

    A subclass adds the head: `read_action`.
    """

    def __init__(
        self, make_backbone: BackboneFactory, layout: TokenLayout, config: InContextConfig, context_length: int
    ) -> None:
        super().__init__()
        self.layout = layout
        self.three_tokens = config.token_layout == "three"
        self.joint = config.embedder == "joint"
        self.backbone: Any = make_backbone((3 if self.three_tokens else 1) * context_length)
        width, embedding = self.backbone.model_size, self.backbone.embedding_size
        self.projection: nn.Module = nn.Identity()
        if self.three_tokens:
            self.embedders = nn.ModuleList(nn.Linear(size, width) for size in layout.part_sizes[1:])
        elif self.joint:
            layers = nn.Sequential(nn.Linear(layout.size, width), nn.SiLU(), nn.Linear(width, width))
            self.embedders = nn.ModuleList([layers])
        else:
            self.embedders = nn.ModuleList(nn.Linear(size, embedding) for size in layout.part_sizes)
            if 4 * embedding != width:
                self.projection = nn.Linear(4 * embedding, width)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(width)

    def features(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, F) → (B, T, D), for B windows at once."""
        batch, time, _ = tokens.shape
        embedded = torch.cat(self._embed(tokens), dim=-1).reshape(
            batch, -1, self.backbone.model_size
        )  # (B, T or 3T, D)
        features = self.backbone(embedded)
        if self.three_tokens:
            features = features.reshape(batch, time, 3, -1)[:, :, 2]  # (B, T, D)
        normalised: torch.Tensor = self.norm(features)
        return normalised

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, F) → what `read_action` gives at every decision."""
        return self.read_action(self.features(tokens))

    def initial_state(self, batch_size: int) -> Any:
        """The state before the first decision of `batch_size` histories."""
        return self.backbone.initial_state(batch_size)

    def step(self, token: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        """(B, F) and a state → what `forward` gives for this decision, and the next state."""
        features = token
        for embedded in self._embed(token):
            features, state = self.backbone.step(embedded, state)
        return self.read_action(self.norm(features)), state

    def read_action(self, features: torch.Tensor) -> torch.Tensor:
        """Features (…, D) → actions (…, A), or the numbers that describe their distribution."""
        raise NotImplementedError

    def _embed(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """(…, F) → what the backbone gets for it, one or three tensors (…, D)."""
        if self.joint:
            return [self.dropout(self.embedders[0](tokens))]
        parts = torch.split(tokens, self.layout.part_sizes, dim=-1)
        if self.three_tokens:
            parts = parts[1:]  # s_{t-1} was the observation token of the step before
        embedded = [embed(part) for embed, part in zip(self.embedders, parts, strict=True)]
        if self.three_tokens:
            return [self.dropout(token) for token in embedded]
        return [self.dropout(self.projection(torch.cat(embedded, dim=-1)))]


class ImitationModel(InContextModel):
    """Predicts actions (B, T, A), their logits, or with the head "gaussian" (B, T, 2A), means and log-deviations."""

    def __init__(
        self,
        make_backbone: BackboneFactory,
        layout: TokenLayout,
        config: InContextConfig,
        context_length: int,
        head: Head = "linear",
    ) -> None:
        super().__init__(make_backbone, layout, config, context_length)
        outputs = 2 * layout.action_size if head == "gaussian" else layout.action_size
        self.head = nn.Linear(self.backbone.model_size, outputs)
        self.squash = nn.Tanh() if head == "tanh" else nn.Identity()

    def read_action(self, features: torch.Tensor) -> torch.Tensor:
        actions: torch.Tensor = self.squash(self.head(features))
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


def masked_cross_entropy(predicted: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Of categorical distributions, per real token: logits (B, T, A), one-hot targets (B, T, A), mask (B, T) → scalar."""
    surprise = -(targets * predicted.float().log_softmax(dim=-1)).sum(dim=-1)  # (B, T)
    return (surprise * mask).sum() / mask.sum()


def mean_and_log_std(predicted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(…, 2A) → means and clamped log-deviations, (…, A) each."""
    mean, log_std = predicted.chunk(2, dim=-1)
    return mean, log_std.clamp(*LOG_STD_RANGE)
