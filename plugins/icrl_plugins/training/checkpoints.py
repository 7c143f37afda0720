"""Modules, optimisers and generators as the named arrays and JSON of a `Checkpoint`, and back, bit for bit.

Parameters are named `model.NAME`, persistent buffers `buffers.NAME` (so that counting `model.` counts what is trained),
AdamW's moments `optimiser.NAME.KEY` and torch generators `generators.NAME`. Loading checks every name and shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from icrl_registry.contracts import Array
from icrl_registry.errors import DamagedArtefactError

_HINT = "delete this checkpoint and train again; if the plugin's code changed, its checkpoints no longer fit"


def module_tensors(module: nn.Module) -> dict[str, Array]:
    """Copies of the parameters as `model.NAME` and of the persistent buffers as `buffers.NAME`."""
    return {name: _to_array(tensor) for name, tensor in _named_tensors(module)}


def load_module(module: nn.Module, tensors: Mapping[str, Array]) -> None:
    """Copies `module_tensors` back, onto whatever device the module is on.

    Raises:
        DamagedArtefactError: a tensor is missing, superfluous or of another shape or type; the message names it.
    """
    expected = dict(_named_tensors(module))
    for name in tensors:
        if name.startswith(("model.", "buffers.")) and name not in expected:
            raise DamagedArtefactError(f"the checkpoint holds '{name}', which the model does not have", _HINT)
    for name, tensor in expected.items():
        _copy(tensor, tensors, name)


def optimiser_tensors(optimiser: torch.optim.Optimizer, module: nn.Module) -> dict[str, Array]:
    """The optimiser's state per parameter of `module`, as `optimiser.NAME.KEY`; empty before the first step."""
    return {
        f"optimiser.{name}.{key}": _to_array(value)
        for name, parameter in module.named_parameters()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def load_optimiser(optimiser: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, Array]) -> None:
    """Restores `optimiser_tensors`. The groups and rates are the caller's, built from the configuration."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for index, parameter in enumerate(parameters):
        prefix = f"optimiser.{names[parameter]}."
        held = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        for key, value in held.items():
            if value.ndim and value.shape != tuple(parameter.shape):
                raise _mismatch(f"{prefix}{key}", value.shape, tuple(parameter.shape))
        if held:
            state[index] = {key: torch.from_numpy(np.array(value)) for key, value in held.items()}
    if len(state) not in (0, len(parameters)):
        lost = next(names[parameter] for index, parameter in enumerate(parameters) if index not in state)
        raise DamagedArtefactError(f"the checkpoint lacks the optimiser's state of '{lost}'", _HINT)
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def generator_tensors(generators: Mapping[str, torch.Generator]) -> dict[str, Array]:
    """The states of torch generators as `generators.NAME`, uint8."""
    return {f"generators.{name}": _to_array(generator.get_state()) for name, generator in generators.items()}


def load_generators(generators: Mapping[str, torch.Generator], tensors: Mapping[str, Array]) -> None:
    """Puts every generator where `generator_tensors` found it."""
    for name, generator in generators.items():
        state = generator.get_state()
        _copy(state, tensors, f"generators.{name}")
        generator.set_state(state)


def numpy_generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """The JSON-able state of a NumPy generator of the PCG64 family (which `np.random.default_rng` gives)."""
    return dict(generator.bit_generator.state)


def load_numpy_generator(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Puts the generator where `numpy_generator_state` found it."""
    generator.bit_generator.state = dict(state)


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name, tensor in module.state_dict().items():
        yield ("model." if name in parameters else "buffers.") + name, tensor


def _to_array(tensor: torch.Tensor) -> Array:
    return np.array(tensor.detach().cpu().numpy())  # a copy: the tensor goes on changing


def _copy(target: torch.Tensor, tensors: Mapping[str, Array], name: str) -> None:
    if name not in tensors:
        raise DamagedArtefactError(f"the checkpoint lacks '{name}'", _HINT)
    source = torch.from_numpy(np.array(tensors[name]))
    if source.shape != target.shape:
        raise _mismatch(name, tuple(source.shape), tuple(target.shape))
    if source.dtype != target.dtype:
        raise DamagedArtefactError(f"'{name}' is {source.dtype} in the checkpoint, expected {target.dtype}", _HINT)
    with torch.no_grad():
        target.copy_(source)


def _mismatch(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> DamagedArtefactError:
    return DamagedArtefactError(f"'{name}' has the shape {found} in the checkpoint, expected {expected}", _HINT)
