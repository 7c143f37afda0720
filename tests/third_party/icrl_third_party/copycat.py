"""A small in-context imitator: predicts a learning history's next action with any backbone."""

import numpy as np
import torch
from pydantic import Field
from torch import nn

from icrl_plugins.training.checkpoints import load_module
from icrl_plugins.training.gradient_training import GradientTraining
from icrl_plugins.training.loop import GradientLearner, LoopConfig, run_training
from icrl_plugins.training.optimisation import OptimisationConfig
from icrl_registry.contracts import Agent, Method


class CopycatConfig(OptimisationConfig, LoopConfig):
    updates: int = Field(60, ge=1, description="gradient steps")
    batch_size: int = Field(8, ge=1, description="windows per gradient step")
    context_length: int = Field(40, ge=2, description="environment steps in a training window")
    learning_rate: float = Field(3e-3, gt=0, description="AdamW's peak learning rate")


class Network(nn.Module):
    """(s_t, a_{t-1}, r_{t-1}) → a_t."""

    def __init__(self, spec, backbone):
        super().__init__()
        self.backbone = backbone
        self.embed = nn.Linear(spec.observation_size + spec.action_size + 1, backbone.model_size)
        self.head = nn.Linear(backbone.model_size, spec.action_size)

    def forward(self, tokens):
        return torch.tanh(self.head(self.backbone(self.embed(tokens))))


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
        return run_training(CopycatLearner(self, job), job, self.config)

    def agent(self, checkpoint, spec, device):
        network = self.build(spec).eval()
        load_module(network, checkpoint.tensors)
        return CopycatAgent(network, spec)


class CopycatLearner(GradientLearner):
    """What is trained, on what, by which loss: loading, resuming, validating and saving are the loop's."""

    def __init__(self, method, job):
        weights, updates = job.seed.spawn(2)
        self.config, self.job = method.config, job
        network = method.build(job.spec, seed=int(weights.generate_state(1)[0]))
        super().__init__(GradientTraining(network, self.config, self.config.updates, updates))

    def batch(self, number):
        """Windows of one stream each: tokens (B, T, O + A + 1) and the actions (B, T, A) to predict."""
        generator = np.random.default_rng([number, *self.job.seed.generate_state(2)])
        tokens, targets = [], []
        for _ in range(self.config.batch_size):
            history = self.job.histories[generator.integers(len(self.job.histories))]
            stream = generator.integers(history.num_streams)
            start = 1 + generator.integers(history.rewards.shape[1] - self.config.context_length)
            now = slice(start, start + self.config.context_length)
            before = slice(start - 1, start - 1 + self.config.context_length)
            earlier = [history.actions[stream, before], history.rewards[stream, before, None]]
            tokens.append(np.concatenate([history.observations[stream, now], *earlier], axis=-1))
            targets.append(history.actions[stream, now])
        return torch.from_numpy(np.stack(tokens)), torch.from_numpy(np.stack(targets))

    def loss(self, batch):
        tokens, actions = batch
        return (self.module(tokens) - actions).square().mean(), {}

    def agent(self):
        return CopycatAgent(self.module.eval(), self.job.spec)


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
