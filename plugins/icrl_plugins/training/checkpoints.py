"""A training's modules, optimisers and generators as the named arrays and JSON of a `Checkpoint`, and back, bit for bit.

Modules are written by `networks/module_tensors.py`, AdamW's moments are named `optimiser.NAME.KEY` and torch generators
`generators.NAME`. Loading checks every name and shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from icrl_plugins.networks.module_tensors import HINT, copy_into, shape_mismatch, to_array
from icrl_plugins.networks.module_tensors import load_module as load_module
from icrl_plugins.networks.module_tensors import module_tensors as module_tensors
from icrl_registry.contracts import Array
from icrl_registry.errors import DamagedArtefactError


def optimiser_tensors(optimiser: torch.optim.Optimizer, module: nn.Module) -> dict[str, Array]:
    """The optimiser's state per parameter of `module`, as `optimiser.NAME.KEY`; empty before the first step."""
    return {
        f"optimiser.{name}.{key}": to_array(value)
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
                raise shape_mismatch(f"{prefix}{key}", value.shape, tuple(parameter.shape))
        if held:
            state[index] = {key: torch.from_numpy(np.array(value)) for key, value in held.items()}
    if len(state) not in (0, len(parameters)):
        lost = next(names[parameter] for index, parameter in enumerate(parameters) if index not in state)
        raise DamagedArtefactError(f"the checkpoint lacks the optimiser's state of '{lost}'", HINT)
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def generator_tensors(generators: Mapping[str, torch.Generator]) -> dict[str, Array]:
    """The states of torch generators as `generators.NAME`, uint8."""
    return {f"generators.{name}": to_array(generator.get_state()) for name, generator in generators.items()}


def load_generators(generators: Mapping[str, torch.Generator], tensors: Mapping[str, Array]) -> None:
    """Puts every generator where `generator_tensors` found it."""
    for name, generator in generators.items():
        state = generator.get_state()
        copy_into(state, tensors, f"generators.{name}")
        generator.set_state(state)


def numpy_generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """The JSON-able state of a NumPy generator of the PCG64 family (which `np.random.default_rng` gives)."""
    return dict(generator.bit_generator.state)


def load_numpy_generator(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Puts the generator where `numpy_generator_state` found it."""
    generator.bit_generator.state = dict(state)
