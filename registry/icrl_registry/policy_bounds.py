"""What the files of an exported policy may ask for in memory, told before it is allocated.

An exported policy says its sizes twice: as numbers, in its description and in its configuration, and as the shapes of its
tensors. A network is made from the numbers and then filled from the tensors, so a number alone could ask for any amount.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from icrl_registry.contracts import Array, EnvironmentSpec

FREE = 2**31  # bytes: contexts and caches, of which a file holds nothing
RATIO = 64  # bytes in memory for each in the file
SMALLEST = 2**16  # an observation or action up to this size needs no tensor, as that of an agent that learned nothing


class TooLarge(ValueError):
    """A policy asks for far more memory than its file has bytes."""


def check_sizes(spec: EnvironmentSpec, tensors: Mapping[str, Array]) -> None:
    """Whether a network of these tensors can read such observations: it has a weight for each number of one.

    Raises:
        TooLarge: the file holds fewer numbers than an observation or an action of `spec`.
    """
    held = sum(tensor.size for tensor in tensors.values())
    for name in ("observation_size", "action_size"):
        if (said := getattr(spec, name)) > max(held, SMALLEST):
            raise TooLarge(f"{name} is {said:,}, and its tensors hold {held:,} numbers")


@contextmanager
def bounded_tensors(on_disk: int, num_tasks: int) -> Iterator[None]:
    """Inside, in this thread, torch makes no more than `FREE` for each task plus `RATIO` times `on_disk` bytes of new tensors.

    It counts what is asked for from torch's factories by shape, and refuses a single broadcast result of more; arrays of
    NumPy it does not see, and without torch it does nothing.

    Raises:
        TooLarge: within, from the call that would go beyond.
    """
    try:
        import torch
        from torch.overrides import TorchFunctionMode
    except ImportError:
        yield
        return
    by_shape = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}
    on_tensors = {torch.Tensor.new_empty, torch.Tensor.new_zeros, torch.Tensor.new_ones, torch.Tensor.new_full}

    most = FREE * num_tasks + RATIO * on_disk

    class Counting(TorchFunctionMode):
        left = most

        def __torch_function__(
            self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if func in by_shape:
                self.take(_count(args, kwargs))
            elif func in on_tensors:
                self.take(_count(args[1:], kwargs))
            elif func is torch.arange:
                self.take(_length(*args))
            else:
                self.look_at([each.shape for each in args if isinstance(each, torch.Tensor)])
            return func(*args, **kwargs)

        def look_at(self, shapes: list[torch.Size]) -> None:
            """A table of positions is a product of two short vectors."""
            with suppress(RuntimeError):  # shapes that do not broadcast
                if len(shapes) > 1 and 4 * math.prod(torch.broadcast_shapes(*shapes)) > most:
                    raise TooLarge(f"its sizes ask for more than {most:,} bytes of tensors")

        def take(self, count: int) -> None:
            self.left -= 4 * count  # most are float32
            if self.left < 0:
                raise TooLarge(f"its sizes ask for more than {most:,} bytes of tensors")

    with Counting():
        yield


def _count(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """How many numbers a factory makes that is given a shape, as one sequence or as sizes."""
    shape = kwargs.get("size", args[0] if args and not isinstance(args[0], int) else args)
    return math.prod(int(size) for size in ((shape,) if isinstance(shape, int) else shape))


def _length(start: float = 0, end: float | None = None, step: float = 1) -> int:
    """How many numbers `torch.arange` makes."""
    first, last = (0, start) if end is None else (start, end)
    return max(0, math.ceil((last - first) / step)) if step else 0
