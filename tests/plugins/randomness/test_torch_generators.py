"""The default generator is lent, never left changed; child seeds do not depend on how often they are asked for."""

import numpy as np
import pytest
import torch

from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.randomness.torch_generators import default_generator, torch_generator


def make_generator() -> torch.Generator:
    return torch_generator(np.random.SeedSequence(3))


def test_the_default_generator_continues_the_stream_and_is_put_back() -> None:
    generator, reference = make_generator(), make_generator()
    before = torch.get_rng_state()
    with default_generator(generator):
        first = torch.rand(4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(100)  # what happens outside does not reach the stream
    with default_generator(generator):
        second = torch.rand(4)
    assert torch.equal(torch.cat([first, second]), torch.rand(8, generator=reference))


def test_the_state_is_put_back_after_an_error() -> None:
    before = torch.get_rng_state()

    @default_generator(make_generator())
    def draw_and_fail() -> None:
        torch.rand(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draw_and_fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_child_seeds_are_stable_and_distinct() -> None:
    seed = np.random.SeedSequence(5, spawn_key=(1,))
    states = {tuple(child_seed(seed, *keys).generate_state(2)) for keys in [(0,), (1,), (0, 0), (0, 1), (1, 0)]}
    assert len(states) == 5
    assert tuple(child_seed(seed, 0, 1).generate_state(2)) in states
    assert tuple(child_seed(seed, 0).generate_state(2)) == tuple(
        np.random.SeedSequence(5, spawn_key=(1,)).spawn(1)[0].generate_state(2)
    )
