"""Algorithm Distillation with every backbone that comes with the project: trains, and acts as it was trained."""

from functools import partial
from importlib.metadata import entry_points

import numpy as np
import pytest
import torch

from icrl_plugins.methods.algorithm_distillation import AlgorithmDistillation
from icrl_registry.contracts import AdaptationSetting

SMALL = {
    "mamba": {"model_size": 16, "num_layers": 2, "embedding_size": 4},
    "dt": {"embedding_size": 4, "num_layers": 2, "num_heads": 2, "feedforward_size": 16},
    "gru": {"model_size": 16, "embedding_size": 4},
    "lstm": {"model_size": 16, "embedding_size": 4},
}


@pytest.mark.parametrize("layout", ["transition", "three"])
@pytest.mark.parametrize("name", sorted(SMALL))
def test_it_trains_and_steps_as_it_was_trained(toy, name: str, layout: str) -> None:
    (entry_point,) = entry_points(group="icrl_bench.backbones", name=name)
    backbone = entry_point.load()

    def factory(context_length: int):
        return backbone(backbone.Config(**SMALL[name]), context_length=context_length)

    settings = {"episode_stride": 2, "updates": 40, "batch_size": 8, "learning_rate": 1e-2, "dropout": 0.0}
    config = AlgorithmDistillation.Config(**settings, token_layout=layout, validation_every=20)
    method = AlgorithmDistillation(config, factory)
    histories = [toy.history(goal, 6, np.random.default_rng(index), index) for index, goal in enumerate([0.5, -0.7])]
    losses = []
    job = toy.job(
        histories,
        report=lambda done, total, metrics: losses.append(metrics["loss"]),
        validate=lambda agent: {"last_episodes": float(toy.adapt(agent, [0.4], 2).mean())},
    )
    checkpoint = method.train(job)
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    agent = method.agent(checkpoint, toy.spec, "cpu")
    agent.begin(AdaptationSetting(2, 3, "online", np.random.SeedSequence(0)))
    tokens = torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        parallel, state = agent.model(tokens), agent.model.initial_state(2)
        for t in range(30):
            actions, state = agent.model.step(tokens[:, t], state)
            torch.testing.assert_close(actions, parallel[:, t], rtol=0, atol=1e-4)


def test_a_backbone_with_dropout_resumes_to_the_same_bytes(toy) -> None:
    (entry_point,) = entry_points(group="icrl_bench.backbones", name="dt")
    backbone = entry_point.load()
    factory = partial(_build, backbone, backbone.Config(**SMALL["dt"], dropout=0.3, attention_dropout=0.3))
    method = AlgorithmDistillation(
        AlgorithmDistillation.Config(episode_stride=2, updates=6, batch_size=2, checkpoint_every=2), factory
    )
    histories = [toy.history(0.5, 6, np.random.default_rng(0))]

    def kill(done: int, total: int, metrics) -> None:
        if done == 5:
            raise KeyboardInterrupt

    straight = method.train(toy.job(histories))
    store = toy.MemoryStore()
    with pytest.raises(KeyboardInterrupt):
        method.train(toy.job(histories, store, report=kill))
    resumed = method.train(toy.job(histories, store))
    assert all(np.array_equal(tensor, resumed.tensors[name]) for name, tensor in straight.tensors.items())


def _build(backbone, config, context_length: int):
    return backbone(config, context_length=context_length)
