"""Two methods side by side: what is paired with what, by hand and against SciPy, and the verdict in words."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from icrl_leaderboards.analysis.comparison import compare
from icrl_leaderboards.runs.scores import RunScores
from icrl_leaderboards.wording.comparisons import print_comparisons, regression_message, verdict_in_words
from icrl_registry.errors import UnknownNameError, UsageError


def scores(*records):
    return [RunScores.from_record(record) for record in records]


def printed(comparisons, width=80):
    stream = io.StringIO()
    print_comparisons(comparisons, Console(file=stream, width=width, highlight=False, color_system=None))
    return stream.getvalue()


@pytest.fixture
def runs(make_record):
    """ad-mamba far above ad-dt in two environments, three seeds each."""
    return [
        make_record(method, seed, environment, skill=skill)
        for method, skill in (("ad-mamba", 0.8), ("ad-dt", 0.4))
        for environment in ("reacher-goal-v1", "ant-dir-v1")
        for seed in range(3)
    ]


@pytest.fixture
def one_seed(make_record):
    """Returns of A: 1, 5 on two tasks; of B: 0, 1; random 0, oracle 10."""

    def make(method, values, **changes):
        tasks = {"task_parameters": [[0.0]] * 2, "task_labels": ["a", "b"], "zero_action": [0.0] * 2}
        floors = {"random": [0.0] * 2, "oracle": [10.0] * 2, "oracle_greedy": [10.0] * 2}
        returns = {"returns": [[value] for value in values], "episode_lengths": [[50]] * 2}
        return make_record(method, **(tasks | floors | returns | changes))

    return make


def test_by_hand(one_seed):
    (comparison,) = compare(scores(one_seed("a", [1.0, 5.0]), one_seed("b", [0.0, 1.0])), "a", "b")
    (pairing,) = comparison.pairings
    assert pairing.returns == (3.0, 0.5)
    assert pairing.difference.value == 2.5
    assert comparison.score_difference.value == 0.25
    assert comparison.probability.value == 1.0
    assert comparison.probability.interval is None
    assert comparison.outcome == "undecided"  # two tasks and one seed


def test_one_seed_on_many_tasks_is_scipys_paired_t_test(make_record):
    ours, theirs = make_record("a", num_tasks=40, skill=0.6), make_record("b", num_tasks=40, skill=0.5)
    (comparison,) = compare(scores(ours, theirs), "a", "b")
    last = [np.array(record.returns)[:, -5:].mean(axis=1) for record in (ours, theirs)]
    expected = stats.ttest_rel(*last).confidence_interval()
    interval = comparison.pairings[0].difference.interval
    width = expected.high - expected.low
    assert [interval.low, interval.high] == pytest.approx([expected.low, expected.high], abs=0.06 * width)


def test_better_worse_and_the_mirror_image(runs):
    (forth,), (back,) = compare(scores(*runs), "ad-mamba", "ad-dt"), compare(scores(*runs), "ad-dt", "ad-mamba")
    assert (forth.outcome, back.outcome) == ("better", "worse")
    assert forth.score_difference.value == pytest.approx(-back.score_difference.value)
    assert forth.probability.value == pytest.approx(1 - back.probability.value)
    assert forth.regressions == ()
    assert back.regressions == ("ant-dir-v1", "reacher-goal-v1", "overall")
    assert regression_message([forth]) is None
    assert "ant-dir-v1, reacher-goal-v1, overall" in regression_message([back])
    assert forth.score_difference.value == pytest.approx(
        np.mean([pairing.score_difference.value for pairing in forth.pairings])
    )


def test_pairs_are_by_seed_and_task_whatever_their_order(make_record):
    ours = make_record("a", 1)
    theirs = make_record("b", 1)
    order = list(range(10))[::-1]
    turned = dataclasses.replace(
        theirs, **{name: [getattr(theirs, name)[i] for i in order] for name in ("returns", "task_labels")}
    )
    others = [make_record("a", 0), make_record("b", 2)]  # seeds without a partner
    (straight,) = compare(scores(ours, theirs, *others), "a", "b")
    (reversed_,) = compare(scores(*others, turned, ours), "a", "b")
    assert straight.pairings[0].seeds == ((1, 1),)
    assert straight.as_json() == reversed_.as_json()


def test_both_sides_have_the_same_scale(make_record):
    ours = make_record("a", random=[-10.0] * 10, oracle=[-1.0] * 10)
    theirs = make_record("b", random=[-14.0] * 10, oracle=[-3.0] * 10)
    (comparison,) = compare(scores(ours, theirs), "a", "b")
    (pairing,) = comparison.pairings
    assert pairing.score_difference.value == pytest.approx(pairing.difference.value / 10)  # −12 to −2


def test_without_an_oracle_the_verdict_is_on_raw_return(make_record):
    bare = {"oracle": [None] * 10, "oracle_greedy": [None] * 10}
    records = [make_record(m, seed, skill=skill, **bare) for m, skill in (("a", 0.9), ("b", 0.1)) for seed in range(3)]
    (comparison,) = compare(scores(*records), "a", "b")
    assert comparison.score_difference is None
    assert comparison.outcome == "better"
    assert "in return" in verdict_in_words(comparison)
    assert len(comparison.pairings[0].flagged_tasks) == 10


def test_protocols_and_tracks_are_compared_apart(make_record):
    records = [
        make_record(method, protocol=protocol, track=track, run_id=f"{method}{protocol}{track}")
        for method in ("a", "b")
        for protocol, track in (("laptop-v1", "online"), ("laptop-v1", "offline"), ("smoke-v1", "online"))
    ]
    found = compare(scores(*records), "a", "b")
    assert [(each.protocol, each.track) for each in found] == [
        ("laptop-v1", "offline"),
        ("laptop-v1", "online"),
        ("smoke-v1", "online"),
    ]
    with pytest.raises(UsageError, match="nothing in common") as caught:
        compare(scores(make_record("a", protocol="laptop-v1"), make_record("b", protocol="laptop-v2")), "a", "b")
    assert "laptop-v1" in caught.value.hint
    with pytest.raises(UsageError, match="nothing in common"):
        compare(
            scores(make_record("a", environment="ant-dir-v1"), make_record("b", environment="ant-dir-v2")), "a", "b"
        )


def test_run_ids_settings_and_what_is_left_out(make_record):
    base = make_record("a", 0)
    variant = make_record("a", 1, variant={"method.context_length": 200}, run_id="short", skill=0.1)
    elsewhere = make_record("a", 0, environment="ant-dir-v1")
    runs = scores(base, variant, elsewhere)
    (by_id,) = compare(runs, "short", base.run_id)
    assert by_id.pairings[0].seeds == ((1, 0),)  # two runs that were named are a pair
    assert by_id.ours == "run short"
    assert "0 and 1" not in printed([by_id])
    assert "1 and 0" in printed([by_id])
    same_seed = [*runs[1:], *scores(dataclasses.replace(base, seed=1))]
    (by_label,) = compare(same_seed, "a (method.context_length=200)", "a")
    assert by_label.left_out == ("ant-dir-v1: only a has runs",)
    assert "left out: ant-dir-v1" in printed([by_label])


def test_errors_say_what_to_type(make_record):
    base = make_record("ad-mamba")
    first = make_record("ad-dt", variant={"method.x": 1}, run_id="x1")
    second = make_record("ad-dt", variant={"method.x": 2}, run_id="x2")
    runs = scores(base, first, second)
    with pytest.raises(UnknownNameError) as unknown:
        compare(runs, "ad-mamba", "ad-mmba")
    assert "ad-mamba" in unknown.value.hint
    with pytest.raises(UsageError, match="2 settings") as several:
        compare(runs, "ad-dt", "ad-mamba")
    assert "ad-dt (method.x=1)" in several.value.hint
    with pytest.raises(UsageError, match="same runs"):
        compare(runs, "ad-mamba", base.run_id)
    with pytest.raises(UsageError, match="no runs"):
        compare([], "a", "b")
    other_tasks = make_record("macaw", task_labels=[f"other-{index}" for index in range(10)])
    with pytest.raises(UsageError, match="no task in common"):
        compare([*runs, *scores(other_tasks)], "ad-mamba", "macaw")
    apart = [make_record("a", seed) for seed in (0, 1)] + [make_record("b", seed) for seed in (2, 3)]
    with pytest.raises(UsageError, match="no seed in common") as seeds:
        compare(scores(*apart), "a", "b")
    assert "--seeds" in seeds.value.hint


def test_it_fits_80_columns_and_says_who_is_better(runs):
    text = printed(compare(scores(*runs), "ad-mamba", "ad-dt"))
    assert max(map(len, text.splitlines())) <= 80
    for shown in ("A = ad-mamba", "B = ad-dt", "laptop-v0 · online", "ant-dir-v1", "overall", "0–2", "better"):
        assert shown in text


def test_one_pair_of_runs_is_said_to_be_one(make_record):
    text = printed(compare(scores(make_record("a", skill=0.9), make_record("b", skill=0.1)), "a", "b"))
    assert "another seed may say otherwise" in " ".join(text.split())
    assert "intervals are over tasks only" in " ".join(text.split())


def test_a_verdict_names_the_environment_that_says_the_opposite(make_record):
    skills = {"ant-dir-v1": (1.0, 0.1), "reacher-goal-v1": (0.4, 0.7)}
    records = [
        make_record(method, seed, environment, skill=skills[environment][side])
        for side, method in enumerate(("a", "b"))
        for environment in skills
        for seed in range(5)
    ]
    (comparison,) = compare(scores(*records), "a", "b")
    assert verdict_in_words(comparison).endswith("But worse in reacher-goal-v1.")
    assert comparison.regressions == ("reacher-goal-v1",)


def test_a_learning_curve_is_compared_at_its_own_end(make_record):
    found = compare(scores(make_record("ad-mamba"), make_record("source", num_episodes=400)), "ad-mamba", "source")
    assert found[0].pairings[0].num_episodes == (50, 400)
    assert "50 episodes a task and B 400" in " ".join(printed(found).split())


def test_hostile_names_are_text(make_record, hostile_name):
    ours = make_record(hostile_name, environment=hostile_name or "e", protocol=hostile_name, run_id="x")
    theirs = make_record("b", environment=hostile_name or "e", protocol=hostile_name, run_id="y")
    text = printed(compare(scores(ours, theirs), hostile_name, "b"))
    assert all(character.isprintable() or character == "\n" for character in text)
    assert len(text.splitlines()) < 60
