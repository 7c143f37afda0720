"""What a backbone promises: causal, the same numbers step by step, rows apart, weights from torch's generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icrl_registry.testing.trial import Check, Trial, fixed_torch_generator, require

if TYPE_CHECKING:
    import torch

BATCH, STEPS, CONTEXT = 3, 12, 16
TOLERANCE = 1e-4  # of float32 sums taken in another order, for outputs of order 1


def is_a_module_of_its_size(trial: Trial) -> None:
    """A `torch.nn.Module` that keeps the shape (B, T, D), with finite outputs and gradients."""
    import torch

    backbone = _make(trial)
    require(isinstance(backbone, torch.nn.Module), f"{trial.component.__name__} is not a torch.nn.Module")
    for name in ("model_size", "embedding_size"):
        value = getattr(backbone, name, None)
        require(isinstance(value, int) and value > 0, f"{name} is {value!r}, expected a positive whole number")
    tokens = _tokens(backbone)
    output = backbone(tokens)
    require(output.shape == tokens.shape, f"the output has shape {tuple(output.shape)}, expected {tuple(tokens.shape)}")
    require(bool(torch.isfinite(output).all()), "the output has a NaN or an infinity")
    output.square().mean().backward()
    gradients = {name: value.grad for name, value in backbone.named_parameters() if value.grad is not None}
    require(bool(gradients), "no parameter gets a gradient")
    for name, gradient in gradients.items():
        require(bool(torch.isfinite(gradient).all()), f"the gradient of '{name}' is not finite")


def is_causal(trial: Trial) -> None:
    """Changing a token changes its own output and leaves every earlier one as it was."""
    import torch

    backbone = _make(trial).eval()
    tokens = _tokens(backbone)
    with torch.no_grad():
        before = backbone(tokens)
        for position in (1, STEPS // 2, STEPS - 1):
            changed = tokens.clone()
            changed[:, position] += 1.0
            after = backbone(changed)
            gap = _gap(after[:, :position], before[:, :position])
            require(gap <= TOLERANCE, f"changing token {position} changes earlier outputs by {gap:.3g}: not causal")
            moved = _gap(after[:, position], before[:, position])
            require(moved > 0, f"the output at {position} doesn't depend on the token there")


def remembers_earlier_tokens(trial: Trial) -> None:
    """The last output depends on the first token: a model without memory cannot learn in context."""
    import torch

    backbone = _make(trial).eval()
    tokens = _tokens(backbone)
    changed = tokens.clone()
    changed[:, 0] += 1.0
    with torch.no_grad():
        moved = _gap(backbone(changed)[:, -1], backbone(tokens)[:, -1])
    require(moved > 0, f"the output at {STEPS - 1} doesn't depend on the first token")


def steps_as_it_runs_forward(trial: Trial) -> None:
    """`step`, one token at a time, gives what `forward` gives for the whole sequence."""
    import torch

    backbone = _make(trial).eval()
    tokens = _tokens(backbone)
    with torch.no_grad():
        whole = backbone(tokens)
        stepped = _step_through(backbone, tokens)
    for position in range(STEPS):
        gap = _gap(stepped[:, position], whole[:, position])
        require(gap <= TOLERANCE, f"step and forward differ by {gap:.3g} at token {position}")


def takes_any_length(trial: Trial) -> None:
    """`forward` works for every T from 1 to the context length, and a shorter sequence is a prefix of a longer one."""
    import torch

    backbone = _make(trial).eval()
    tokens = _tokens(backbone, CONTEXT)
    with torch.no_grad():
        whole = backbone(tokens)
        for length in (1, 2, 5, CONTEXT):
            gap = _gap(backbone(tokens[:, :length]), whole[:, :length])
            require(
                gap <= TOLERANCE, f"a sequence of {length} gives other outputs ({gap:.3g}) than the longer one's start"
            )


def steps_beyond_its_context(trial: Trial) -> None:
    """`step` goes on past the context length with finite outputs: an agent's life is longer than a training window."""
    import torch

    backbone = _make(trial).eval()
    tokens = _tokens(backbone, 2 * CONTEXT + 3)
    with torch.no_grad():
        stepped = _step_through(backbone, tokens)
    require(bool(torch.isfinite(stepped).all()), f"the outputs beyond {CONTEXT} tokens have a NaN or an infinity")


def keeps_rows_apart(trial: Trial) -> None:
    """Changing one row of a batch leaves the others as they were, in `forward` and in `step`."""
    import torch

    backbone = _make(trial).eval()
    tokens = _tokens(backbone)
    changed = tokens.clone()
    changed[1] -= 1.0
    with torch.no_grad():
        for name, run in (("forward", backbone), ("step", lambda batch: _step_through(backbone, batch))):
            gap = _gap(run(changed)[[0, 2]], run(tokens)[[0, 2]])
            require(gap <= TOLERANCE, f"{name}: changing row 1 of a batch changes other rows by {gap:.3g}")


def is_steady(trial: Trial) -> None:
    """In `eval` mode the same tokens give the same output, and a step leaves the state it was given unchanged in value."""
    import torch

    backbone = _make(trial).eval()
    tokens = _tokens(backbone)
    with torch.no_grad():
        require(_gap(backbone(tokens), backbone(tokens)) == 0, "two calls of forward in eval mode differ")
        require(_gap(_step_through(backbone, tokens), _step_through(backbone, tokens)) == 0, "two walks by step differ")


def draws_weights_from_torch(trial: Trial) -> None:
    """The default generator in the same state gives the same weights, in another one others."""
    import torch

    first, again, other = (_make(trial, seed).state_dict() for seed in (0, 0, 1))
    same = all(torch.equal(first[name], again[name]) for name in first)
    require(same, "the same state of torch's default generator gave other weights")
    differs = any(not torch.equal(first[name], other[name]) for name in first)
    require(differs, "the weights don't depend on torch's default generator: seeds would all start alike")


def _make(trial: Trial, seed: int = 0) -> Any:
    with fixed_torch_generator(seed):
        return trial.make(context_length=CONTEXT)


def _tokens(backbone: Any, steps: int = STEPS) -> torch.Tensor:
    """(B, T, D), standard normal."""
    import torch

    return torch.randn(BATCH, steps, backbone.model_size, generator=torch.Generator().manual_seed(1))


def _step_through(backbone: Any, tokens: torch.Tensor) -> torch.Tensor:
    import torch

    state = backbone.initial_state(tokens.shape[0])
    outputs = []
    for position in range(tokens.shape[1]):
        output, state = backbone.step(tokens[:, position], state)
        require(output.shape == tokens[:, position].shape, f"step returns shape {tuple(output.shape)}, expected (B, D)")
        outputs.append(output)
    return torch.stack(outputs, dim=1)


def _gap(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first - second).abs().max())


BACKBONE_CHECKS: tuple[Check, ...] = (
    is_a_module_of_its_size,
    is_causal,
    remembers_earlier_tokens,
    steps_as_it_runs_forward,
    takes_any_length,
    steps_beyond_its_context,
    keeps_rows_apart,
    is_steady,
    draws_weights_from_torch,
)
