"""The `gru` and `lstm` backbones against their cells' published formulas."""

from __future__ import annotations

import pytest
import torch


def affine(rnn, layer, x, h):
    gates = {}
    for part, value in (("ih", x), ("hh", h)):
        gates[part] = value @ getattr(rnn, f"weight_{part}_l{layer}").T + getattr(rnn, f"bias_{part}_l{layer}")
    return gates["ih"], gates["hh"]


def gru_cell(rnn, layer, x, state):
    (h,) = state
    (ri, zi, ni), (rh, zh, nh) = (gate.chunk(3, dim=-1) for gate in affine(rnn, layer, x, h))
    reset, update = torch.sigmoid(ri + rh), torch.sigmoid(zi + zh)
    return ((1 - update) * torch.tanh(ni + reset * nh) + update * h,)


def lstm_cell(rnn, layer, x, state):
    h, c = state
    inputs, forget, cell, output = sum(affine(rnn, layer, x, h)).chunk(4, dim=-1)
    c = torch.sigmoid(forget) * c + torch.sigmoid(inputs) * torch.tanh(cell)
    return torch.sigmoid(output) * torch.tanh(c), c


@pytest.mark.parametrize(("name", "cell", "states"), [("gru", gru_cell, 1), ("lstm", lstm_cell, 2)])
def test_backbone_equals_its_cells_formula(name, cell, states, make_backbone, random_tensor):
    backbone, tokens = make_backbone(name).double(), random_tensor(2, 11, 16, dtype=torch.float64)
    layers = [tuple(tokens.new_zeros(2, 16) for _ in range(states)) for _ in range(2)]
    expected = []
    for t in range(11):
        x = tokens[:, t]
        for layer in range(2):
            layers[layer] = cell(backbone.rnn, layer, x, layers[layer])
            x = layers[layer][0]
        expected.append(x)
    torch.testing.assert_close(backbone(tokens), torch.stack(expected, dim=1), atol=1e-12, rtol=1e-10)
    assert backbone.kernel == f"torch-{name}"
