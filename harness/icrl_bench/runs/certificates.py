"""Making the certificate of an environment under a protocol, and holding it to what the protocol demands."""

from __future__ import annotations

from typing import Any

from icrl_bench.planning import Request, make_plan
from icrl_bench.stages.certify import CLONED, Certify
from icrl_bench.stages.stage import Context, Stage, in_order
from icrl_leaderboards.runs.certificates import Certificate
from icrl_registry.errors import BenchError
from icrl_registry.protocols.model import Protocol


def certificate_stage(environment: str, protocol: Protocol, device: str = "cpu", overrides: Any = None) -> Certify:
    """The stage that makes it; `in_order([stage])` is what it needs.

    Raises:
        UsageError, UnknownNameError, PluginError: as `make_plan`.
    """
    return Certify(make_plan(Request(CLONED, environment, protocol, overrides or {}, device)))


def certify(stage: Certify, context: Context) -> Certificate:
    """Makes what is missing of the certificate, reads it, and records it where there is a leaderboard."""
    for each in stages_of_certificate(stage):
        each.ensure(context)
    found = stage.read(context.store)
    if context.leaderboard is not None:
        context.leaderboard.record_certificate(found)
    return found


def stages_of_certificate(stage: Certify) -> list[Stage[Any]]:
    """All that a certificate needs, in order, itself last."""
    return in_order([stage])


def require_passed(certificate: Certificate, protocol: Protocol) -> None:
    """Refuses an environment that doesn't show what the protocol demands.

    Raises:
        BenchError: with everything that is missing.
    """
    verdict = certificate.verdict(protocol.certificate)
    if not verdict.passed:
        raise BenchError(
            f"{certificate.environment} is no test of learning in context under {certificate.protocol}: "
            + "; ".join(verdict.missing),
            f"`icrl-bench tasks {certificate.environment} --protocol {protocol.id} --certificate` shows the numbers",
        )
