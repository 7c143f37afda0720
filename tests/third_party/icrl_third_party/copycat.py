"""A small in-context imitator: predicts a learning history's next action with any backbone."""

import numpy as np
import torch
from pydantic import Field
from torch import nn

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Agent, Checkpoint, Method


class CopycatConfig(ComponentConfig):
    updates: int = Field(60, ge=1, description="gradient steps")
    batch_size: int = Field(8, ge=1, description="windows per gradient step")
    context_length: int = Field(40, ge=2, description="environment steps in a training window")
    learning_rate: float = Field(3e-3, gt=0, description="Adam's step size")


class Network(nn.Module):
    """(s_t, a_{t-1}, r_{t-1}) → a_t."""

    def __init__(self, spec, backbone):
        super().__init__()
        self.backbone = backbone
        self.embed = nn.Linear(spec.observation_size + spec.action_size + 1, backbone.model_size)
        self.head = nn.Linear(backbone.model_size, spec.action_size)


class Copycat(Method):
    """Clones the actions of learning histories, with everything before them as context."""

    Config = CopycatConfig
    uses_backbone = True
    conformance_settings = {"updates": 5}  # noqa: RUF012

    def __init__(self, config, backbone):
        self.config = config
        self.make_backbone = backbone

    def build(self, spec, seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Network(spec, self.make_backbone(self.config.context_length))

    def train(self, job):
        config = self.config
        generator = np.random.default_rng(job.seed)
        network = self.build(job.spec, seed=int(generator.integers(2**31)))
        optimiser = torch.optim.Adam(network.parameters(), config.learning_rate)
        for update in range(config.updates):
            tokens, actions = self.sample(job.histories, generator)
            loss = (torch.tanh(network.head(network.backbone(network.embed(tokens)))) - actions).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            job.report(update + 1, config.updates, {"loss": float(loss.detach())})
        return Checkpoint({f"model.{name}": value.numpy() for name, value in network.state_dict().items()}, {})

    def sample(self, histories, generator):
        """Windows of one stream each: tokens (B, T, O + A + 1) and the actions (B, T, A) to predict."""
        tokens, targets = [], []
        for _ in range(self.config.batch_size):
            history = histories[generator.integers(len(histories))]
            stream = generator.integers(history.num_streams)
            start = 1 + generator.integers(history.rewards.shape[1] - self.config.context_length)
            now = slice(start, start + self.config.context_length)
            before = slice(start - 1, start - 1 + self.config.context_length)
            earlier = [history.actions[stream, before], history.rewards[stream, before, None]]
            tokens.append(np.concatenate([history.observations[stream, now], *earlier], axis=-1))
            targets.append(history.actions[stream, now])
        return torch.from_numpy(np.stack(tokens)), torch.from_numpy(np.stack(targets))

    def agent(self, checkpoint, spec, device):
        network = self.build(spec).eval()
        state = {name.removeprefix("model."): torch.tensor(value) for name, value in checkpoint.tensors.items()}
        network.load_state_dict(state)
        return CopycatAgent(network, spec)


class CopycatAgent(Agent):
    def __init__(self, network, spec):
        self.network, self.spec = network, spec

    def begin(self, setting):
        self.state = self.network.backbone.initial_state(setting.num_tasks)
        self.last = np.zeros((setting.num_tasks, self.spec.action_size + 1), np.float32)  # (K, A + 1)

    @torch.no_grad()
    def act(self, observations):
        token = self.network.embed(torch.from_numpy(np.concatenate([observations, self.last], axis=-1)))
        feature, self.state = self.network.backbone.step(token, self.state)
        return torch.tanh(self.network.head(feature)).numpy()

    def observe(self, transitions):
        self.last = np.concatenate([transitions.actions, transitions.rewards[:, None]], axis=-1)
