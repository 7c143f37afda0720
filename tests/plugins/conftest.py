"""What every test of a plugin leaves as it was, and random numbers for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def threads_restored() -> Iterator[None]:
    """Leaves torch's number of threads as it was."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def random_tensor() -> Callable[..., torch.Tensor]:
    """`random_tensor(*shape, dtype=float32)`: standard normal numbers from one stream a test."""
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    return draw
