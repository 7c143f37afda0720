"""A small learner in float64 and batches for it."""

from types import SimpleNamespace

import pytest
import torch

from icrl_plugins.methods.macaw.config import MACAWConfig
from icrl_plugins.methods.macaw.meta_learning import MetaBatch, MetaLearner
from icrl_registry.contracts import EnvironmentSpec

SPEC = EnvironmentSpec("macaw-test", observation_size=3, action_size=2, horizon=10)


def make_learner(**settings) -> MetaLearner:
    settings = {"hidden_size": 6, "latent_size": 4, "advantage_hidden_size": 5, "initial_rate": 0.05, **settings}
    torch.manual_seed(0)
    learner = MetaLearner(SPEC, MACAWConfig(**settings)).double()
    with torch.no_grad():  # the published start is all but linear in the inner step: give every rate a size of its own
        for name, parameter in learner.named_parameters():
            if name.endswith("rates"):
                parameter.copy_(torch.linspace(-3.0, -2.0, len(parameter)))
        learner.coefficient.fill_(-1.0)
    return learner


def make_batch(num_tasks: int = 3, rows: int = 9, seed: int = 1) -> MetaBatch:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(num_tasks, rows, *shape, generator=generator, dtype=torch.float64)

    return MetaBatch(normal(3), normal(2).tanh(), normal(), normal().sigmoid(), normal(3))


def one_task(batch: MetaBatch, task: int) -> MetaBatch:
    return MetaBatch(*(getattr(batch, name)[task : task + 1] for name in MetaBatch.__dataclass_fields__))


@pytest.fixture(scope="session")
def macaw():
    return SimpleNamespace(spec=SPEC, learner=make_learner, batch=make_batch, one_task=one_task)
