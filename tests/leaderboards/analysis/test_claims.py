"""A claim's verdict follows from its statements, and a statement's from the interval, on rows whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from icrl_leaderboards.analysis.claims import PAPER_CLAIMS, Claim, Evidence
from icrl_leaderboards.analysis.claims.claim import below_near, better, longer_is_better, near_oracle
from icrl_leaderboards.analysis.claims.controls import control_claim
from icrl_leaderboards.analysis.claims.speed import speed_claim
from icrl_leaderboards.runs.record import REFERENCES
from icrl_leaderboards.runs.scores import RunScores
from icrl_leaderboards.wording.claims import evidence_in_words
from icrl_registry.errors import UsageError

TASKS, EPISODES = 10, 20
REFERENCE_RETURNS = dict.fromkeys(REFERENCES, np.full(TASKS, np.nan)) | {
    "random": np.zeros(TASKS),
    "oracle": np.ones(TASKS),
}


def rows(method, level, environment="reacher-goal-v1", variant=None, seeds=(0, 1, 2), noise=0.01):
    """Runs whose score of the last episodes is `level` on every task, up to noise: random is 0, the oracle 1."""
    found = []
    for seed in seeds:
        generator = np.random.default_rng([seed, len(method), len(environment)])
        returns = level + noise * generator.normal(size=(TASKS, EPISODES))
        found.append(
            RunScores(
                run_id=f"{method}-{environment}-{variant}-{seed}",
                method=method,
                backbone=None,
                environment=environment,
                protocol="laptop-v2",
                track="online",
                seed=seed,
                variant=variant or {},
                parameters=1,
                collect_env_steps=1,
                train_env_steps=1,
                adapt_env_steps=1,
                seconds={"train": 1.0},
                created_at="2026-01-01T00:00:00+00:00",
                plugins=(),
                task_labels=tuple(f"test-{index:03d}" for index in range(TASKS)),
                returns=returns,
                references=REFERENCE_RETURNS,
            )
        )
    return found


def verdicts(runs):
    return {claim.id: claim.judge(runs).verdict for claim in PAPER_CLAIMS}


FOUR = ("reacher-goal-v1", "pusher-goal-v2", "half-cheetah-vel-v1", "ant-dir-v1")


def test_better_worse_and_undecided():
    high, low = rows("ad-mamba", 0.9), rows("ad-dt", 0.5)
    assert better(high + low, "ad-mamba", "ad-dt", "reacher-goal-v1").holds is True
    assert better(high + low, "ad-dt", "ad-mamba", "reacher-goal-v1").holds is False
    equal = rows("ad-dt", 0.9)
    assert better(high + equal, "ad-mamba", "ad-dt", "reacher-goal-v1").holds is None


def test_the_number_is_the_difference_of_scores_with_its_seeds():
    found = better(rows("ad-mamba", 0.9) + rows("ad-dt", 0.5), "ad-mamba", "ad-dt", "reacher-goal-v1")
    assert found.value == pytest.approx(0.4, abs=0.02)
    assert found.low < found.value < found.high
    assert found.seeds == 3


def test_a_missing_row_is_named_and_decides_nothing():
    found = better(rows("ad-mamba", 0.9), "ad-mamba", "macaw", "reacher-goal-v1")
    assert found.holds is None
    assert found.missing == "no row of macaw"


def test_rows_with_other_settings_do_not_count():
    runs = rows("ad-mamba", 0.9) + rows("ad-dt", 0.5, variant={"method.updates": 1})
    assert better(runs, "ad-mamba", "ad-dt", "reacher-goal-v1").missing == "no row of ad-dt"


def test_near_the_oracle():
    runs = rows("mql", 0.95) + rows("ad-mamba", 0.3)
    assert near_oracle(runs, "mql", "reacher-goal-v1").holds is True
    assert near_oracle(runs, "ad-mamba", "reacher-goal-v1").holds is False
    assert below_near(runs, "ad-mamba", "reacher-goal-v1").holds is True
    assert near_oracle(rows("mql", 0.8, noise=0.3), "mql", "reacher-goal-v1").holds is None


def test_longer_contexts_against_shorter_ones():
    key = "method.context_length"
    runs = [
        run
        for value, level in ((200, 0.2), (1000, 0.5), ("full", 0.8))
        for run in rows("ad-mamba", level, variant={key: value})
    ]
    assert longer_is_better(runs, "ad-mamba", key, "reacher-goal-v1").holds is True
    assert longer_is_better(runs[:3], "ad-mamba", key, "reacher-goal-v1").missing


def test_rows_of_two_studies_of_contexts_are_not_mixed():
    key = "method.context_length"
    windows = {"method.episodes_per_window": 6}
    six = [
        run
        for value, level in ((50, 0.8), (200, 0.7), ("full", 0.2))
        for run in rows("ad-mamba", level, variant={key: value, **windows})
    ]
    other = rows("ad-mamba", 0.9, variant={key: "full"}) + rows("ad-mamba", 0.1, variant={key: 10})
    found = longer_is_better(other + six, "ad-mamba", key, "reacher-goal-v1")
    assert found.holds is False
    assert found.value == pytest.approx(-0.6, abs=0.02)
    assert longer_is_better(other, "ad-mamba", key, "reacher-goal-v1").holds is True


def test_a_claim_of_all_holds_only_where_every_statement_does():
    everywhere = [run for name in FOUR for run in rows("ad-mamba", 0.9, name) + rows("ad-dt", 0.5, name)]
    assert verdicts(everywhere)["C1"] == "reproduced"
    short = [run for run in everywhere if run.environment != "ant-dir-v1"]
    assert verdicts(short)["C1"] == "undecided"
    swapped = {"ad-mamba": "ad-dt", "ad-dt": "ad-mamba"}
    on_ant = [run for run in everywhere if run.environment == "ant-dir-v1"]
    one_worse = [replace(run, method=swapped[run.method]) for run in on_ant]
    assert verdicts(short + one_worse)["C1"] == "contradicted"


def test_a_claim_of_two_in_four():
    def worlds(levels):
        return [
            run
            for name, level in zip(FOUR, levels, strict=True)
            for run in rows("ad-mamba", level, name) + rows("mql", 0.5, name)
        ]

    assert verdicts(worlds((0.9, 0.9, 0.2, 0.2)))["C6"] == "reproduced"
    assert verdicts(worlds((0.9, 0.2, 0.2, 0.2)))["C6"] == "contradicted"
    assert verdicts(worlds((0.9, 0.5, 0.2, 0.2)))["C6"] == "undecided"


def test_without_rows_nothing_is_decided():
    assert set(verdicts([]).values()) == {"undecided"}


def test_every_claim_says_what_makes_its_rows():
    for claim in PAPER_CLAIMS:
        assert claim.command.startswith("icrl-bench ")
        assert all(isinstance(each, Evidence) for each in claim.gather([]))


def test_the_newest_version_of_an_environment_counts():
    runs = [run for name in ("pusher-goal-v1", "pusher-goal-v2") for run in rows("ad-mamba", 0.9, name)]
    finding = next(claim for claim in PAPER_CLAIMS if claim.id == "C1").judge(runs)
    assert "pusher-goal-v2" in [each.environment for each in finding.evidence]


def test_a_claim_of_a_plugin_is_judged_alike():
    claim = Claim("P1", "toy", "a plugin", lambda runs: [Evidence("toy-v1", "x", True)], "icrl-bench run")
    assert claim.judge([]).verdict == "reproduced"


@pytest.mark.parametrize(
    ("mamba", "dt", "verdict"),
    [
        ((0.8, 1.0), (1.3, 1.8), "reproduced"),
        ((0.8, 1.0), (0.9, 1.05), "contradicted"),
        ((1.2, 1.4), (1.3, 1.8), "contradicted"),
        ((0.9, 1.3), (1.3, 1.8), "undecided"),
    ],
)
def test_growth_with_the_context(tmp_path, mamba, dt, verdict):
    growths = [
        {"subject": name, "quantity": "training, one pass", "exponent": sum(interval) / 2, "interval": interval}
        for name, interval in (("mamba", mamba), ("dt", dt))
    ]
    table = tmp_path / "backbones.json"
    table.write_text(json.dumps({"growths": growths}))
    assert speed_claim(table).judge([]).verdict == verdict
    assert speed_claim(None).judge([]).verdict == "undecided"


NULL = '{"growths": [{"subject": "dt", "quantity": "training, one pass", "exponent": 1, "interval": null}]}'


@pytest.mark.parametrize(
    "content",
    ["[]", NULL, NULL.replace("1,", "null,").replace(": null}]", ": [1, 2]}]"), NULL.replace(": null", ": [1]")],
)
def test_a_table_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UsageError, match="bench backbones"):
        speed_claim(tmp_path / "x.json")


def with_ceiling(runs, ceiling):
    return [replace(run, references={**run.references, "blind_ceiling": np.full(TASKS, ceiling)}) for run in runs]


@pytest.mark.parametrize(
    ("level", "holds", "verdict"), [(0.3, True, "reproduced"), (0.8, False, "contradicted"), (0.5, None, "undecided")]
)
def test_a_control_is_held_to_the_blind_ceiling(level, holds, verdict):
    """The ceiling is 0.5 and the oracle 1: a score of 0.3 is −0.4 on that scale, one of 0.8 is 0.6."""
    finding = control_claim(with_ceiling(rows("dpt-mamba", level, noise=0.2), 0.5)).judge([])
    (evidence,) = finding.evidence
    assert evidence.holds is holds
    assert evidence.value == pytest.approx((level - 0.5) / 0.5, abs=0.15)
    assert finding.verdict == verdict


def test_a_control_without_a_ceiling_or_of_other_settings_decides_nothing():
    (evidence,) = control_claim(rows("dpt-mamba", 0.3)).judge([]).evidence
    assert (evidence.holds, evidence.missing) == (None, "no blind ceiling known for dpt-mamba")
    assert control_claim([]).judge([]).verdict == "undecided"
    changed = with_ceiling(rows("dpt-mamba", 0.9, variant={"method.updates": 9}), 0.5)
    assert control_claim(changed).judge([]).verdict == "undecided"


def test_evidence_says_whom_it_is_about_where_a_claim_says_several_things():
    runs = rows("mql", 0.95) + rows("ad-mamba", 0.9) + rows("ad-dt", 0.5)
    claims = {claim.id: claim.judge(runs) for claim in PAPER_CLAIMS}
    first, second = evidence_in_words(claims["C4"])
    assert first.startswith("reacher-goal-v1, mql: +0.95")
    assert second.startswith("reacher-goal-v1, ad-mamba: +0.9")
    assert evidence_in_words(claims["C1"])[0].startswith("reacher-goal-v1: +0.4")
    assert evidence_in_words(claims["C2"])[1] == "ant-dir, macaw − ad-dt: no row of macaw"
