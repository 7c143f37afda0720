"""A module's parameters and buffers as named arrays, and back, bit for bit.

Parameters are named `model.NAME` and persistent buffers `buffers.NAME`, so that counting `model.` counts what is trained.
Loading checks every name, shape and type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from icrl_registry.contracts import Array
from icrl_registry.errors import DamagedArtefactError

#: What to do about a checkpoint that does not fit.
HINT = "delete this checkpoint and train again; if the plugin's code changed, its checkpoints no longer fit"


def module_tensors(module: nn.Module) -> dict[str, Array]:
    """Copies of the parameters as `model.NAME` and of the persistent buffers as `buffers.NAME`."""
    return {name: to_array(tensor) for name, tensor in _named_tensors(module)}


def load_module(module: nn.Module, tensors: Mapping[str, Array]) -> None:
    """Copies `module_tensors` back, onto whatever device the module is on.

    Raises:
        DamagedArtefactError: a tensor is missing, superfluous or of another shape or type; the message names it.
    """
    expected = dict(_named_tensors(module))
    for name in tensors:
        if name.startswith(("model.", "buffers.")) and name not in expected:
            raise DamagedArtefactError(f"the checkpoint holds '{name}', which the model does not have", HINT)
    for name, tensor in expected.items():
        copy_into(tensor, tensors, name)


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name, tensor in module.state_dict().items():
        yield ("model." if name in parameters else "buffers.") + name, tensor


def to_array(tensor: torch.Tensor) -> Array:
    """A copy, as the tensor goes on changing."""
    return np.array(tensor.detach().cpu().numpy())


def copy_into(target: torch.Tensor, tensors: Mapping[str, Array], name: str) -> None:
    """Copies the tensor called `name` into `target`, of equal shape and type.

    Raises:
        DamagedArtefactError: it is missing or of another shape or type.
    """
    if name not in tensors:
        raise DamagedArtefactError(f"the checkpoint lacks '{name}'", HINT)
    source = torch.from_numpy(np.array(tensors[name]))
    if source.shape != target.shape:
        raise shape_mismatch(name, tuple(source.shape), tuple(target.shape))
    if source.dtype != target.dtype:
        raise DamagedArtefactError(f"'{name}' is {source.dtype} in the checkpoint, expected {target.dtype}", HINT)
    with torch.no_grad():
        target.copy_(source)


def shape_mismatch(name: str, actual: tuple[int, ...], expected: tuple[int, ...]) -> DamagedArtefactError:
    """The error about a tensor of another shape."""
    return DamagedArtefactError(f"'{name}' has the shape {actual} in the checkpoint, expected {expected}", HINT)
