"""What every test of a plugin leaves as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def threads_restored() -> Iterator[None]:
    """Leaves torch's number of threads as it was."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
