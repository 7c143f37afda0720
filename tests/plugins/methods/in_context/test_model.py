"""The model looks back only, says the same in parallel and step by step, and embeds part by part."""

import numpy as np
import pytest
import torch

from icrl_plugins.methods.in_context.imitation import ImitationConfig
from icrl_plugins.methods.in_context.layout import TokenLayout
from icrl_plugins.methods.in_context.model import (
    LOG_STD_RANGE,
    ImitationModel,
    masked_mean_squared_error,
    masked_negative_log_likelihood,
)
from icrl_plugins.methods.in_context.tokens import Window, steps_of, streams_of, write_tokens
from icrl_plugins.randomness.torch_generators import default_generator, torch_generator
from icrl_plugins.training.normalisation import Normalisation

#: Token layout, start flag, embedder.
LAYOUTS = [
    ("transition", False, "parts"),
    ("transition", True, "parts"),
    ("transition", True, "joint"),
    ("three", False, "parts"),
    ("three", True, "parts"),
]


def make_model(
    toy, layout: str = "transition", flag: bool = False, head: str = "linear", embedder: str = "parts", **sizes
) -> ImitationModel:
    with default_generator(torch_generator(np.random.SeedSequence(0))):
        model = ImitationModel(
            lambda context_length: toy.TinyGRU(**{"model_size": 16, "embedding_size": 5, **sizes}),
            TokenLayout(2, 2, flag),
            ImitationConfig(token_layout=layout, embedder=embedder, dropout=0.3),
            context_length=12,
            head=head,
        )
    return model.eval()


def predictions(model: ImitationModel, history) -> torch.Tensor:
    """(T, A) for the whole history, with fixed scales so that changing one number changes no other."""
    scales = Normalisation(np.full(2, 1000.0, np.float32), np.ones(2, np.float32), 0.01)
    stream = streams_of([history])[0]
    steps, is_start = steps_of(stream.bounds)
    tokens = np.zeros((len(steps), model.layout.size), dtype=np.float32)
    write_tokens(tokens, Window(stream, steps, is_start, 0, len(steps)), model.layout, scales)
    with torch.no_grad():
        actions: torch.Tensor = model(torch.from_numpy(tokens)[None])[0]
    return actions


@pytest.mark.parametrize(("layout", "flag", "embedder"), LAYOUTS)
@pytest.mark.parametrize("t", [0, 3, 5, 9])
def test_an_action_is_predicted_without_itself_its_reward_or_anything_later(
    toy, layout: str, flag: bool, embedder: str, t: int
) -> None:
    model = make_model(toy, layout, flag, embedder=embedder)
    reference = predictions(model, toy.coded_history([(4, 6)]))
    changed = toy.coded_history([(4, 6)])
    changed.actions[0, t:] *= -1
    changed.rewards[0, t:] += 70
    changed.observations[0, t + 1 :] += 3
    changed.next_observations[0, t:] -= 3
    assert torch.equal(predictions(model, changed)[: t + 1], reference[: t + 1])
    if t < 9:
        assert not torch.allclose(
            predictions(model, changed)[t + 1], reference[t + 1]
        )  # and the next one does see a_t, r_t
    own = toy.coded_history([(4, 6)])
    own.observations[0, t] += 3
    assert not torch.allclose(predictions(model, own)[t], reference[t])  # s_t itself is seen


@pytest.mark.parametrize(("layout", "flag", "embedder"), LAYOUTS)
def test_stepping_gives_the_numbers_of_the_parallel_pass(toy, layout: str, flag: bool, embedder: str) -> None:
    model = make_model(toy, layout, flag, embedder=embedder)
    tokens = torch.randn(3, 12, TokenLayout(2, 2, flag).size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        parallel = model(tokens)  # (B, T, A)
        state = model.initial_state(3)
        for t in range(12):
            actions, state = model.step(tokens[:, t], state)
            torch.testing.assert_close(actions, parallel[:, t], rtol=0, atol=1e-5)


def test_parts_are_projected_only_where_widths_differ(toy) -> None:
    assert isinstance(make_model(toy).projection, torch.nn.Linear)
    model = make_model(toy, model_size=20, embedding_size=5)
    assert isinstance(model.projection, torch.nn.Identity)
    assert [tuple(e.weight.shape) for e in model.embedders] == [(5, 2), (5, 2), (5, 1), (5, 2)]


def test_a_joint_embedder_sees_products_that_parts_cannot(toy) -> None:
    """With a backbone that passes its input on, the features of parts are linear in the token before the norm."""
    tokens = torch.randn(3, 1, 7, generator=torch.Generator().manual_seed(0))
    first, second = tokens[:1], tokens[1:2]
    for embedder, is_linear in (("parts", True), ("joint", False)):
        model = make_model(toy, embedder=embedder)
        origin, both = model._embed(torch.zeros(1, 1, 7))[0], model._embed(first + second)[0]
        apart = model._embed(first)[0] + model._embed(second)[0] - origin
        assert torch.allclose(both, apart, atol=1e-6) == is_linear


def test_three_tokens_a_step_need_three_times_the_context(toy) -> None:
    lengths = []

    def factory(context_length: int):
        lengths.append(context_length)
        return toy.TinyGRU()

    for layout in ("transition", "three"):
        ImitationModel(factory, TokenLayout(2, 2), ImitationConfig(token_layout=layout), context_length=12)
    assert lengths == [12, 36]


def test_the_linear_head_is_unbounded_and_the_tanh_head_is_not(toy) -> None:
    tokens = torch.randn(1, 5, 7, generator=torch.Generator().manual_seed(0))
    outputs = {}
    for head in ("linear", "tanh"):
        model = make_model(toy, head=head)
        with torch.no_grad():
            model.head.weight.mul_(50)
            outputs[head] = model(tokens)
    assert outputs["linear"].abs().max() > 1
    torch.testing.assert_close(outputs["tanh"], torch.tanh(outputs["linear"]))


def test_dropout_acts_in_training_only(toy) -> None:
    model = make_model(toy)
    tokens = torch.ones(1, 4, 7)
    assert torch.equal(model(tokens), model(tokens))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))


def test_the_loss_is_a_mean_over_real_tokens_and_components() -> None:
    predicted = torch.tensor([[[1.0, 3.0], [0.0, 0.0]], [[9.0, 9.0], [2.0, 0.0]]], requires_grad=True)  # (2, 2, 2)
    mask = torch.tensor([[True, True], [False, True]])
    loss = masked_mean_squared_error(predicted, torch.zeros(2, 2, 2), mask)
    assert loss.item() == pytest.approx((1 + 9 + 0 + 0 + 4 + 0) / 6)
    loss.backward()
    assert not predicted.grad[1, 0].any()


def test_the_likelihood_is_that_of_independent_gaussians() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, targets = torch.randn(2, 3, 4, generator=generator), torch.randn(2, 3, 2, generator=generator)
    predicted.requires_grad_()
    mask = torch.tensor([[True, True, True], [True, False, False]])
    mean, log_std = predicted[..., :2], predicted[..., 2:].clamp(*LOG_STD_RANGE)
    surprise = -torch.distributions.Normal(mean, log_std.exp()).log_prob(targets)  # (2, 3, 2)
    loss = masked_negative_log_likelihood(predicted, targets, mask)
    torch.testing.assert_close(loss, surprise[mask].mean())
    loss.backward()
    assert not predicted.grad[1, 1:].any()


def test_the_gaussian_head_gives_means_and_deviations(toy) -> None:
    model = make_model(toy, head="gaussian")
    assert model(torch.zeros(1, 5, 7)).shape == (1, 5, 4)
