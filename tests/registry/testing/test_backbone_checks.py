"""A good backbone passes every check, and each broken promise fails the check named for it."""

from __future__ import annotations

from typing import Any

from icrl_registry.testing.toy import toy_backbone_class


def backbone_that(**members: Any) -> Any:
    return type("Changed", (toy_backbone_class(),), {"__doc__": "A backbone with one thing changed.", **members})


def test_the_toy_backbone_passes(failures):
    assert failures("backbone", backbone_that()) == {}


def test_a_backbone_that_breaks_a_promise_fails_its_check(failures):
    import torch

    base = toy_backbone_class()

    def anticausal(self, tokens):
        return base.forward(self, tokens) + tokens.mean(dim=1, keepdim=True)

    def mixing(self, tokens):
        return base.forward(self, tokens) + 0.1 * base.forward(self, tokens).mean(dim=0, keepdim=True)

    def other_step(self, token, state):
        output, state = base.step(self, token, state)
        return output * 1.01, state

    def forgetful(self, tokens):
        return torch.tanh(self.mix(torch.cat([tokens, tokens], dim=-1)))

    def finite_only_inside(self, token, state):
        output, state = base.step(self, token, state)
        return torch.where(state[1] > 16, torch.full_like(output, float("nan")), output), state

    def fixed(self, config, *, context_length):
        base.__init__(self, config, context_length=context_length)
        torch.nn.init.constant_(self.mix.weight, 0.5)
        torch.nn.init.zeros_(self.mix.bias)

    def noisy(self, tokens):
        return base.forward(self, tokens) + torch.randn(1)

    for members, check in [
        ({"forward": anticausal}, "is_causal"),
        ({"forward": mixing}, "keeps_rows_apart"),
        ({"step": other_step}, "steps_as_it_runs_forward"),
        ({"forward": forgetful}, "remembers_earlier_tokens"),
        ({"step": finite_only_inside}, "steps_beyond_its_context"),
        ({"__init__": fixed}, "draws_weights_from_torch"),
        ({"forward": noisy}, "is_steady"),
        ({"forward": lambda self, tokens: base.forward(self, tokens)[..., :4]}, "is_a_module_of_its_size"),
    ]:
        assert check in failures("backbone", backbone_that(**members)), check
