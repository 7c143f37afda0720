"""AD and DPT against their specification written down plainly: tokens number by number, the loss, AdamW and its schedule.

Which episodes a window holds is the sampler's draw and held by its own tests; everything after that is done once more here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from icrl_plugins.methods.algorithm_distillation import AlgorithmDistillation
from icrl_plugins.methods.decision_pretraining import DecisionPretraining
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import EnvironmentSpec, LearningHistory, Task, TrainingJob
from icrl_registry.testing.method_trials import MemoryStore

from ..ledgers.ledger import Ledger, Size
from .rounding import wobble

Tensor = torch.Tensor
SPEC = EnvironmentSpec("plain", observation_size=3, action_size=2, horizon=9)
UPDATES, WIDTH = 4, 12
CHOICES: dict[str, list[Any]] = {
    "context_length": ["full", 5, 13],
    "episode_stride": [1, 2],
    "window_order": ["learning", "return"],
    "start_share": [0.0, 0.5, 1.0],
    "reward_normalisation": ["root_mean_square", "standardise"],
    "token_layout": ["transition", "three"],
    "episode_start_flag": [False, True],
    "head": ["linear", "tanh", "gaussian"],
    "weight_decay": [0.0, 0.1],
    "gradient_clip": [None, 1.0, 0.05],
    "warmup_fraction": [0.0, 0.5],
    "final_learning_rate_fraction": [0.0, 0.3],
    "betas": [(0.9, 0.99), (0.5, 0.9)],
}


class Backbone(nn.Module):
    """A GRU; its inputs are WIDTH wide."""

    Config = ComponentConfig
    model_size, embedding_size = WIDTH, 4

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.gru(tokens)[0]


def history(number: int, generator: np.random.Generator) -> LearningHistory:
    """Episodes of every length, the last of them unfinished."""
    lengths = generator.integers(1, SPEC.horizon + 1, 7)
    steps = int(lengths.sum()) + 2
    ends = np.zeros((1, steps), dtype=np.bool_)
    ends[0, np.cumsum(lengths) - 1] = True

    def normal(*shape: int) -> Any:
        return generator.normal(1.0, 2.0, (1, steps, *shape)).astype(np.float32)

    actions = np.tanh(normal(SPEC.action_size))
    return LearningHistory(
        Task((float(number),), "train", number), normal(SPEC.observation_size), actions, normal(),
        normal(SPEC.observation_size), np.zeros_like(ends), ends,
    )  # fmt: skip


def expert(number: int, observations: Any) -> Any:
    return np.tanh(observations[..., : SPEC.action_size] * (number + 1)).astype(np.float32)


def constants(histories: list[LearningHistory], standardise: bool) -> tuple[Any, Any, float, float]:
    """Mean and deviation of each observation component; what is subtracted from rewards, what they are multiplied by."""
    seen = np.concatenate([np.asarray(each.observations[0], dtype=np.float64) for each in histories])
    rewards = np.concatenate([np.asarray(each.rewards[0], dtype=np.float64) for each in histories])
    mean = rewards.mean() if standardise else 0.0
    return seen.mean(0), seen.std(0), mean, 1 / np.sqrt(((rewards - mean) ** 2).mean())


def token(scale: tuple[Any, Any, float, float], window: Any, place: int, flag: bool) -> list[float]:
    """x_t = (s_{t-1}, a_{t-1}, r_{t-1}, s_t) of the decision at one place of a window, and whether an episode starts."""
    stream, step = window.stream, window.steps[window.first + place]
    before = window.steps[window.first + place - 1] if window.first + place > 0 else None

    def observed(at: int) -> list[float]:
        return list(np.clip((stream.observations[at] - scale[0]) / scale[1], -10, 10))

    if before is None:
        numbers = [0.0] * (SPEC.observation_size + SPEC.action_size + 1)
    else:
        numbers = [*observed(before), *stream.actions[before], (stream.rewards[before] - scale[2]) * scale[3]]
    starts = step in stream.bounds[:, 0]
    return [*numbers, *observed(step), *([float(starts)] if flag else [])]


def predicted(model: dict[str, Tensor], backbone: nn.Module, tokens: Tensor, config: Any) -> Tensor:
    """(T, F) → (T, outputs) by the parameters of a model, for one window."""
    before = [SPEC.observation_size, SPEC.action_size, 1]
    parts = torch.split(tokens, [*before, tokens.shape[1] - sum(before)], dim=1)
    three = config.token_layout == "three"
    embedded = [
        F.linear(part, model[f"embedders.{index}.weight"], model[f"embedders.{index}.bias"])
        for index, part in enumerate(parts[1:] if three else parts)
    ]
    if three:  # the tokens a, r, s of a step follow each other; the action is read at the third
        features = backbone(torch.stack(embedded, dim=1).reshape(1, -1, WIDTH))[0, 2::3]
    else:
        joined = F.linear(torch.cat(embedded, dim=1), model["projection.weight"], model["projection.bias"])
        features = backbone(joined[None])[0]
    features = F.layer_norm(features, (WIDTH,), model["norm.weight"], model["norm.bias"])
    out = F.linear(features, model["head.weight"], model["head.bias"])
    return out.tanh() if config.head == "tanh" else out


def loss(outputs: Tensor, targets: Tensor, gaussian: bool) -> Tensor:
    """Of each step: the mean over components of the squared error, or of the surprise."""
    if not gaussian:
        return ((outputs - targets) ** 2).mean(1)
    mean, log_std = outputs[:, : SPEC.action_size], outputs[:, SPEC.action_size :].clamp(-5, 0.5)
    return -torch.distributions.Normal(mean, log_std.exp()).log_prob(targets).mean(1)


class PlainAdamW:
    """Loshchilov and Hutter 2019, algorithm 2, with the whole gradient clipped and a warm-up and cosine before it."""

    def __init__(self, parameters: dict[str, Tensor], config: Any) -> None:
        self.parameters, self.config, self.done = parameters, config, 0
        self.first = {name: torch.zeros_like(each) for name, each in parameters.items()}
        self.second = {name: torch.zeros_like(each) for name, each in parameters.items()}

    def rate(self) -> float:
        config, warmup = self.config, round(self.config.warmup_fraction * UPDATES)
        if self.done < warmup:
            return config.learning_rate * (self.done + 1) / warmup
        share, least = (self.done - warmup) / (UPDATES - warmup), config.final_learning_rate_fraction
        return config.learning_rate * (least + (1 - least) * (1 + math.cos(math.pi * share)) / 2)

    @torch.no_grad()
    def step(self, gradients: dict[str, Tensor]) -> None:
        norm = math.sqrt(sum(float((each**2).sum()) for each in gradients.values()))
        clip, (b1, b2), rate = self.config.gradient_clip, self.config.betas, self.rate()
        scale = 1.0 if clip is None else min(1.0, clip / (norm + 1e-6))
        self.done += 1
        for name, parameter in self.parameters.items():
            gradient = gradients[name] * scale
            self.first[name] = b1 * self.first[name] + (1 - b1) * gradient
            self.second[name] = b2 * self.second[name] + (1 - b2) * gradient**2
            mean, square = self.first[name] / (1 - b1**self.done), self.second[name] / (1 - b2**self.done)
            decay = self.config.weight_decay if parameter.ndim > 1 else 0.0
            parameter *= 1 - rate * decay
            parameter -= rate * mean / (square.sqrt() + 1e-8)


def plain_training(
    learner: Any, histories: list[LearningHistory], config: Any, label: Callable[..., Any]
) -> dict[str, Tensor]:
    """The parameters after UPDATES updates from those that `learner` begins with, in double precision."""
    backbone = Backbone().double()
    backbone.load_state_dict(learner.model.backbone.state_dict())
    own = {name: each.detach().double() for name, each in learner.model.state_dict().items() if "backbone" not in name}
    parameters = own | {f"backbone.{name}": each for name, each in backbone.named_parameters()}
    for each in parameters.values():
        each.requires_grad_()
    optimiser = PlainAdamW(parameters, config)
    scale = constants(histories, config.reward_normalisation == "standardise")
    for number in range(UPDATES):
        losses = []
        for window in learner.batch(number).windows:
            rows = [token(scale, window, place, config.episode_start_flag) for place in range(window.count)]
            wanted = [label(window.stream, window.steps[window.first + place]) for place in range(window.count)]
            tokens, targets = (
                torch.tensor(rows, dtype=torch.float64),
                torch.tensor(np.stack(wanted), dtype=torch.float64),
            )
            losses.append(loss(predicted(own, backbone, tokens, config), targets, config.head == "gaussian"))
        gradients = torch.autograd.grad(torch.cat(losses).mean(), list(parameters.values()))
        optimiser.step(dict(zip(parameters, gradients, strict=True)))
    return {name: each.detach() for name, each in parameters.items()}


def parameters_of(make_learner: Callable[[], Any], *given: Any) -> list[Tensor]:
    """The parameters alone, from a learner made anew."""
    return [*plain_training(make_learner(), *given).values()]


@pytest.mark.parametrize("method", [AlgorithmDistillation, DecisionPretraining], ids=["ad", "dpt"])
def test_training_is_its_plain_specification(method: type[Any], size: Size, ledger: Ledger):
    def label(stream: Any, step: int) -> Any:
        executed = method is AlgorithmDistillation
        return stream.actions[step] if executed else expert(stream.history, stream.observations[step])

    for trial in range(size.pick(6, 40, 400)):
        generator = np.random.default_rng([31, trial])
        settings = {name: values[generator.integers(len(values))] for name, values in CHOICES.items()}
        fixed = {"updates": UPDATES, "batch_size": 3, "learning_rate": 1e-3, "token_noise": 0.0, "dropout": 0.0}
        trained = method(method.Config(**fixed, **settings), lambda context_length: Backbone())
        histories = [history(number, generator) for number in range(3)]
        job = TrainingJob(
            spec=SPEC, histories=histories, tasks=None, seed=np.random.SeedSequence(trial), device="cpu",
            checkpoints=MemoryStore(), validate=lambda agent: {}, report=lambda done, total, metrics: None,
        )  # fmt: skip
        job = replace(job, expert_actions=expert)
        found = trained.train(job).tensors
        expected = plain_training(trained.make_learner(job), histories, trained.config, label)
        worst = max(
            float((torch.as_tensor(found[f"model.{name}"]) - each).abs().max()) for name, each in expected.items()
        )
        moved = float((expected["head.bias"] - trained.make_learner(job).model.head.bias.detach()).abs().max())
        allowed = 3e-5
        if worst >= allowed:  # a gradient that nearly cancels, and that Adam makes large again
            given = functools.partial(trained.make_learner, job)
            allowed = 4 * max(wobble(functools.partial(parameters_of, given, histories, trained.config, label)))
        fine = worst < allowed < moved
        ledger.note(
            f"{method.name}, trial {trial}, {settings}",
            None if fine else f"off by {worst:.2g}, allowed {allowed:.2g}, moved {moved:.2g}",
        )
    ledger.settle()
