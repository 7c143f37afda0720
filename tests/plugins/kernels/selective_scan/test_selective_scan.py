"""The fused CPU scan against the formula: values, gradients, extremes, threads."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from icrl_plugins.kernels.selective_scan import fused, reference
from icrl_plugins.kernels.selective_scan import operation as door
from icrl_plugins.kernels.selective_scan.operation import kernel_name
from icrl_plugins.kernels.selective_scan.reference import ScanInputs, ScanWeights
from icrl_registry.errors import PluginError

NAMES = ("x", "dt", "A", "B", "C", "D", "z", "dt_bias", "initial_state")


def by_name(scan):
    """A scan that takes each of `NAMES` by its name."""

    def named(x, dt, A, B, C, D, z=None, dt_bias=None, initial_state=None, **others):
        return scan(ScanInputs(x, dt, B, C, z), ScanWeights(A, D, dt_bias), initial_state, **others)

    return named


scan_cpu, scan_reference = by_name(fused.scan_cpu), by_name(reference.scan_reference)
selective_scan = by_name(door.selective_scan)


def arguments(batch, steps, channels, states, dtype=torch.float64, seed=0):
    """Everything that a scan takes, as leaves that require gradients."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype)

    rates = -torch.arange(1, states + 1, dtype=dtype) * (1 + 0.1 * normal(channels, states).abs())
    wide = (batch, steps, channels)
    values = (
        normal(*wide), normal(*wide) - 2, rates, normal(batch, steps, states), normal(batch, steps, states),
        normal(channels), normal(*wide), normal(channels), normal(batch, channels, states),
    )  # fmt: skip
    return {name: value.requires_grad_() for name, value in zip(NAMES, values, strict=True)}


def gradients(scan, given, generator_seed=1, through_state=True):
    """Outputs and the gradients of a random weighting of both, or of the first."""
    out, last = scan(**given)
    generator = torch.Generator().manual_seed(generator_seed)
    weights = [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t.dtype) for t in (out, last)]
    loss = (out * weights[0]).sum()
    loss = loss + (last * weights[1]).sum() if through_state else loss
    leaves = [tensor for tensor in given.values() if tensor is not None]
    return [out.detach(), last.detach(), *torch.autograd.grad(loss, leaves)]


def assert_same(first, second, tolerance):
    """Equal up to `tolerance` of each tensor's largest entry."""
    for ours, theirs in zip(first, second, strict=True):
        scale = max(theirs.abs().max().item(), 1e-30)
        assert torch.isfinite(ours).all()
        assert (ours.double() - theirs.double()).abs().max().item() <= tolerance * scale


def by_hand(x, dt, A, B, C, D, z, dt_bias, initial_state):
    """The recurrence in scalar NumPy loops, independent of every implementation in the package."""
    batch, steps, channels = x.shape
    out, state = np.zeros(x.shape), initial_state.copy()
    for b in range(batch):
        for t in range(steps):
            for e in range(channels):
                step = np.log1p(np.exp(dt[b, t, e] + dt_bias[e]))
                y = D[e] * x[b, t, e]
                for n in range(A.shape[1]):
                    state[b, e, n] = np.exp(step * A[e, n]) * state[b, e, n] + step * B[b, t, n] * x[b, t, e]
                    y += C[b, t, n] * state[b, e, n]
                out[b, t, e] = y * z[b, t, e] / (1 + np.exp(-z[b, t, e]))
    return out, state


@pytest.mark.parametrize("scan", [scan_cpu, scan_reference])
def test_formula_in_plain_loops(scan):
    given = arguments(2, 19, 5, 3)
    expected = by_hand(**{name: tensor.detach().numpy() for name, tensor in given.items()})
    for ours, theirs in zip(scan(**given), expected, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("steps", [1, 2, 31, 32, 33, 101])
@pytest.mark.parametrize(("batch", "channels", "states"), [(2, 7, 3), (1, 64, 16), (3, 130, 1)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 3e-6)])
def test_values_and_gradients_equal_the_sequential_formula(steps, batch, channels, states, dtype, tolerance):
    given = arguments(batch, steps, channels, states, dtype)
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in given.items()}
    assert_same(gradients(scan_cpu, given), gradients(scan_reference, exact), tolerance)


@pytest.mark.parametrize("missing", ["z", "dt_bias", "initial_state"])
def test_optional_arguments(missing):
    given = arguments(2, 18, 9, 4) | {missing: None}
    assert_same(gradients(scan_cpu, given), gradients(scan_reference, given), 1e-13)


def test_gradcheck_in_float64():
    given = arguments(2, 34, 3, 2)
    assert torch.autograd.gradcheck(lambda *tensors: scan_cpu(*tensors), tuple(given.values()), fast_mode=False)


@pytest.mark.parametrize("exponent", [1e-6, 1e-3, 1.0, 10.0, 80.0, 300.0])
def test_extreme_decays(exponent):
    """dt · A from 1e-6 (nothing is forgotten) to 80 and beyond (everything is)."""
    given = arguments(1, 67, 16, 16, torch.float32)
    with torch.no_grad():
        given["dt"].fill_(0.0)
        given["dt_bias"].fill_(float(np.log(np.expm1(0.01))))  # dt = 0.01
        given["A"].fill_(-exponent / 0.01)
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in given.items()}
    assert_same(gradients(scan_cpu, given), gradients(scan_reference, exact), 2e-5)


@pytest.mark.parametrize("value", [-200.0, -50.0, 0.0, 19.9, 20.1, 80.0])
def test_extreme_step_sizes_and_gates(value):
    given = arguments(1, 21, 16, 4, torch.float32)
    with torch.no_grad():
        given["dt"].fill_(value)
        given["z"].fill_(value)
        given["dt_bias"].zero_()
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in given.items()}
    ours, theirs = gradients(scan_cpu, given), gradients(scan_reference, exact)
    for mine, exactly in zip(ours, theirs, strict=True):
        assert torch.isfinite(mine).all()
        torch.testing.assert_close(mine.double(), exactly, rtol=2e-5, atol=2e-5 * exactly.abs().max().item() + 1e-30)


def test_not_a_number_is_not_hidden():
    for name in ("x", "dt", "B", "z"):
        given = arguments(1, 9, 16, 4, torch.float32)
        with torch.no_grad():
            given[name].view(-1)[5] = torch.nan
        assert scan_cpu(**given)[0].isnan().any()


@pytest.mark.parametrize("cut", [1, 32, 39])
def test_a_sequence_in_two_parts_gives_the_same_values_and_gradients(cut):
    def in_two_parts(initial_state, **given):
        over_time = ("x", "dt", "B", "C", "z")
        first = {name: t[:, :cut] if name in over_time else t for name, t in given.items()}
        second = {name: t[:, cut:] if name in over_time else t for name, t in given.items()}
        before, state = scan_cpu(**first, initial_state=initial_state)
        after, state = scan_cpu(**second, initial_state=state)
        return torch.cat([before, after], dim=1), state

    given = arguments(2, 70, 6, 4)
    assert_same(gradients(in_two_parts, given), gradients(scan_cpu, given), 1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_bits_on_one_and_more_threads(dtype):
    given, results = arguments(3, 257, 130, 16, dtype), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(gradients(scan_cpu, given))
    for result in results[1:]:
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(result, results[0], strict=True))


def test_gate_as_half_of_a_wider_tensor_and_other_strides():
    given = arguments(2, 21, 10, 4)
    expected = gradients(scan_cpu, given)
    wide = torch.cat([torch.zeros(2, 21, 10, dtype=torch.float64), given["z"].detach()], dim=-1)
    halves = given | {"z": wide[..., 10:].requires_grad_()}
    assert_same(gradients(scan_cpu, halves), expected, 0)
    strided = given | {"x": given["x"].detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()}
    assert_same(gradients(scan_cpu, strided), expected, 0)
    middle = wide.new_zeros(4, 21, 10)
    middle[1:3] = given["z"].detach()
    assert_same(gradients(scan_cpu, given | {"z": middle[1:3].requires_grad_()}), expected, 0)


def test_half_precision_is_computed_in_float32():
    given = {name: tensor.detach().bfloat16() for name, tensor in arguments(1, 33, 8, 4).items()}
    out, last = scan_cpu(**given)
    assert (out.dtype, last.dtype) == (torch.bfloat16, torch.float32)
    expected, _ = scan_cpu(**{name: tensor.float() for name, tensor in given.items()})
    assert torch.equal(out, expected.bfloat16())


@pytest.fixture
def fake_mamba_ssm(monkeypatch):
    """Stands in for the CUDA package: checks the layout that its kernel demands, and computes the formula."""
    calls = []

    def selective_scan_fn(
        u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False
    ):
        batch, channels, steps = u.shape
        states = A.shape[1]
        assert delta.shape == z.shape == (batch, channels, steps)
        assert A.shape == (channels, states)
        assert B.shape == C.shape == (batch, states, steps)
        assert D.shape == delta_bias.shape == (channels,)
        assert all(tensor.is_contiguous() for tensor in (u, delta, B, C, z))
        assert delta_softplus
        assert return_last_state
        calls.append(steps)
        step = F.softplus(delta + delta_bias[:, None])
        state, outputs = u.new_zeros(batch, channels, states), []
        for t in range(steps):
            state = torch.exp(step[:, :, t, None] * A) * state
            state = state + (step[:, :, t] * u[:, :, t])[..., None] * B[:, None, :, t]
            outputs.append((state * C[:, None, :, t]).sum(-1))
        return (torch.stack(outputs, dim=2) + D[:, None] * u) * F.silu(z), state

    interface = ModuleType("mamba_ssm.ops.selective_scan_interface")
    interface.selective_scan_fn = selective_scan_fn
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", interface)
    monkeypatch.setattr(door, "kernel_name", lambda device, kernel="auto": "selective-scan-mamba-ssm")
    return calls


@pytest.mark.parametrize("with_state", [False, True])
def test_cuda_path_calls_mamba_ssm_in_its_layout(with_state, fake_mamba_ssm):
    """The step size's bias is added once, and a state, which that kernel cannot take, is added by linearity.

    The kernel's backward pass takes no gradient of the last state, so none is promised.
    """
    given = arguments(2, 150, 5, 3)
    given["initial_state"] = given["initial_state"] if with_state else None
    found, expected = (gradients(scan, given, through_state=False) for scan in (selective_scan, scan_reference))
    assert_same(found, expected, 1e-12)
    assert not selective_scan(**given)[1].requires_grad
    assert fake_mamba_ssm == [150, 150]


def test_cuda_path_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    monkeypatch.setattr(door, "kernel_name", lambda device, kernel="auto": "selective-scan-mamba-ssm")
    with pytest.raises(PluginError) as missing:
        selective_scan(**arguments(1, 2, 3, 2))
    assert "icrl-bench[cuda]" in missing.value.hint


def test_door_takes_the_kernel_of_the_device_or_the_reference(monkeypatch):
    names = {
        kernel_name("cpu"),
        kernel_name("cuda:1"),
        kernel_name("cpu", "reference"),
        kernel_name("cuda", "reference"),
    }
    assert names == {"selective-scan-numba", "selective-scan-mamba-ssm", "selective-scan-reference"}
    given = arguments(1, 5, 3, 2)
    expected = selective_scan(**given)[0]
    torch.testing.assert_close(selective_scan(**given, kernel="reference")[0], expected, rtol=1e-12, atol=1e-13)
    monkeypatch.setattr("icrl_plugins.kernels.selective_scan.fused.scan_cpu", lambda *given: "fused")
    assert selective_scan(**given) == "fused"
    assert selective_scan(**given, kernel="reference") != "fused"


def test_numba_is_imported_by_the_first_scan_only():
    code = (
        "import sys, icrl_plugins.backbones.mamba as m;"
        "b = m.Mamba(m.MambaConfig(model_size=16, num_layers=1), context_length=4);"
        "b.initial_state(1); assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
