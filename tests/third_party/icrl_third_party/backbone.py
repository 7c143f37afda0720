"""Exponential moving averages of every channel, each with a decay of its own that is learnt."""

import torch
from pydantic import Field
from torch import nn

from icrl_registry.configuration import ComponentConfig


class MovingAverageConfig(ComponentConfig):
    model_size: int = Field(16, ge=1, description="width D of tokens and features")
    embedding_size: int = Field(8, ge=1, description="width to which each part of a token is embedded")


class MovingAverage(nn.Module):
    """h_t = a h_{t-1} + (1 - a) x_t per channel, then a layer that sees x_t and h_t."""

    Config = MovingAverageConfig

    def __init__(self, config, *, context_length):
        super().__init__()
        self.model_size, self.embedding_size = config.model_size, config.embedding_size
        self.decay = nn.Parameter(torch.linspace(0.0, 4.0, config.model_size))
        self.mix = nn.Linear(2 * config.model_size, config.model_size)

    def forward(self, tokens):  # (B, T, D)
        state, outputs = self.initial_state(tokens.shape[0]), []
        for token in tokens.unbind(dim=1):
            output, state = self.step(token, state)
            outputs.append(output)
        return torch.stack(outputs, dim=1)

    def initial_state(self, batch_size):
        return self.decay.new_zeros(batch_size, self.model_size)

    def step(self, token, state):
        decay = torch.sigmoid(self.decay)
        state = decay * state + (1 - decay) * token
        return torch.tanh(self.mix(torch.cat([token, state], dim=-1))), state
