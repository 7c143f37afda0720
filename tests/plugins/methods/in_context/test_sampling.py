"""Windows: within one stream, of whole kept episodes, with the asked share of beginnings, the same for the same seed."""

import numpy as np
import pytest

from icrl_plugins.methods.in_context.config import InContextConfig
from icrl_plugins.methods.in_context.sampling import WindowSampler
from icrl_plugins.methods.in_context.tokens import steps_of, streams_of
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.errors import UsageError

RAW = Normalisation(np.zeros(2, np.float32), np.full(2, 1000.0, np.float32), 10.0)


def make_sampler(histories, seed: int = 0, **settings) -> WindowSampler:
    config = InContextConfig(**{"token_noise": 0.0, **settings})
    return WindowSampler(streams_of(histories), RAW, config, np.random.SeedSequence(seed))


def codes_of(batch, row: int):
    """The coded numbers of a window's observations to act on, (T,)."""
    return np.round(batch.tokens[row, batch.mask[row], 5] * 1000).astype(int)


@pytest.fixture(scope="module")
def histories(toy):
    lengths = [tuple(np.random.default_rng(stream).integers(1, 7, 9)) for stream in range(4)]
    return [toy.coded_history(lengths[:2], index=0), toy.coded_history(lengths[2:], index=1)]


def test_every_window_is_a_run_of_kept_steps_of_one_stream(histories) -> None:
    sampler = make_sampler(histories, episode_stride=3, context_length=7, batch_size=8)
    allowed = {}
    for stream in sampler.streams:
        for phase in range(3):
            steps, _ = steps_of(stream.bounds[phase::3])
            codes = stream.observations[steps, 0].astype(int)
            allowed[(int(codes[0]) // 100, phase)] = codes.tolist()
    seen = set()
    for update in range(100):
        batch = sampler.batch(update)
        for row in range(8):
            window = codes_of(batch, row).tolist()
            homes = [
                key
                for key, codes in allowed.items()
                if any(codes[i : i + len(window)] == window for i in range(len(codes) - len(window) + 1))
            ]
            assert homes, window
            seen |= set(homes)
            assert len(window) == min(7, len(allowed[homes[0]])) or len(homes) > 1
    assert seen == set(allowed)  # every stream and every phase is visited


def test_targets_are_the_actions_taken_at_the_tokens_steps(histories) -> None:
    sampler = make_sampler(histories, episode_stride=2, context_length=5, batch_size=8, token_noise=0.05)
    batch, noiseless = (
        sampler.batch(1),
        make_sampler(histories, episode_stride=2, context_length=5, batch_size=8).batch(1),
    )
    for row in range(8):
        for t, code in enumerate(codes_of(noiseless, row)):
            index, stream, step = code // 1000 - 1, code // 100 % 10, code % 100
            assert np.array_equal(batch.targets[row, t], histories[index].actions[stream, step])


def test_full_contexts_hold_whole_histories_padded_at_the_end_and_masked(histories) -> None:
    sampler = make_sampler(histories, episode_stride=2, context_length="full", batch_size=16)
    totals = [[len(steps_of(s.bounds[phase::2])[0]) for phase in range(2)] for s in sampler.streams]
    assert sampler.context_length == max(map(max, totals))
    assert sampler.tokens_per_pass == sum(phases[0] for phases in totals)
    batch = sampler.batch(0)
    counts = batch.mask.sum(axis=1)
    assert set(counts) <= {total for phases in totals for total in phases}
    assert batch.tokens.shape[1] == counts.max()
    for row, count in enumerate(counts):
        assert batch.mask[row, :count].all()
        assert not batch.tokens[row, count:].any()
        assert not batch.targets[row, count:].any()
        assert not batch.tokens[row, 0, :5].any()  # begins where the history begins


def test_a_context_longer_than_any_history_is_cut_to_the_longest(histories) -> None:
    full = make_sampler(histories, episode_stride=2, context_length="full")
    assert make_sampler(histories, episode_stride=2, context_length=10_000).context_length == full.context_length


def test_a_stride_beyond_the_number_of_episodes_keeps_one(toy) -> None:
    sampler = make_sampler([toy.coded_history([(3, 4)])], episode_stride=50, batch_size=8)
    assert sampler.context_length == 4
    assert set(sampler.batch(0).mask.sum(axis=1)) == {3, 4}


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_share_of_windows_that_begin_a_history(toy, share: float) -> None:
    history = toy.coded_history([(5,) * 20])
    sampler = make_sampler([history], episode_stride=1, context_length=20, batch_size=100, start_share=share)
    firsts = np.concatenate(
        [[codes_of(batch, row)[0] - 1000 for row in range(100)] for batch in map(sampler.batch, range(20))]
    )
    places = 100 - 20 + 1
    expected = share + (1 - share) / places
    spread = np.sqrt(max(expected * (1 - expected), 1e-9) / len(firsts))
    assert abs((firsts == 0).mean() - expected) <= 4 * spread + 1e-9
    if share < 1:
        later = firsts[firsts > 0]
        assert later.max() == places - 1  # the last window is reachable, and nothing beyond it
        assert abs(later.mean() - places / 2) < 4 * places / np.sqrt(12 * len(later))


def test_streams_are_visited_equally_often_in_shuffled_passes(histories) -> None:
    sampler = make_sampler(histories, episode_stride=1, batch_size=6)
    order = [codes_of(batch, row)[0] // 100 for batch in map(sampler.batch, range(20)) for row in range(6)]
    passes = np.array(order).reshape(30, 4)
    assert all(sorted(one) == sorted(passes[0]) for one in passes)
    assert len({tuple(one) for one in passes}) > 5


def test_noise_is_on_inputs_only(histories) -> None:
    settings = {"episode_stride": 2, "batch_size": 32, "episode_start_flag": True}
    clean = make_sampler(histories, **settings).batch(3)
    noisy = make_sampler(histories, token_noise=0.05, **settings).batch(3)
    difference = (noisy.tokens - clean.tokens)[clean.mask]
    assert np.array_equal(noisy.targets, clean.targets)
    assert np.array_equal(noisy.mask, clean.mask)
    assert not difference[:, -1].any()  # the flag stays 0 or 1
    assert np.std(difference[:, :-1], axis=0) == pytest.approx(np.full(7, 0.05), rel=0.2)


def test_a_batch_is_a_function_of_seed_and_number(histories) -> None:
    settings = {"episode_stride": 2, "context_length": 6, "token_noise": 0.05}
    first, second = make_sampler(histories, **settings), make_sampler(histories, **settings)
    second.batch(7)
    assert np.array_equal(first.batch(2).tokens, second.batch(2).tokens)
    assert not np.array_equal(first.batch(2).tokens, first.batch(3).tokens)
    assert not np.array_equal(first.batch(2).tokens, make_sampler(histories, seed=1, **settings).batch(2).tokens)


def test_epochs_count_passes_over_all_tokens(histories) -> None:
    sampler = make_sampler(histories, episode_stride=2, context_length=5, batch_size=2, updates=None, epochs=3)
    needed = 3 * sampler.tokens_per_pass / (2 * 5)
    assert sampler.config.num_updates(sampler.tokens_per_pass, sampler.context_length) == int(np.ceil(needed))


def test_settings_that_contradict_each_other_are_refused() -> None:
    from icrl_registry.configuration import build_config

    for settings, said in [
        ({"epochs": 3}, "exactly one of updates and epochs"),
        ({"updates": None}, "exactly one of updates and epochs"),
        ({"select_best": True}, "validation_every"),
        ({"context_length": 0}, "context_length"),
        ({"context_length": "half"}, "context_length"),
        ({"episode_sampling": "random"}, "episodes_per_window"),
        ({"token_layout": "three", "embedder": "joint"}, "embedder=joint"),
        ({"reward_normalisation": "standardise", "reward_scale": 2.0}, "reward_scale"),
    ]:
        with pytest.raises(UsageError, match=said):
            build_config(InContextConfig, settings, "method")
    assert build_config(InContextConfig, {"context_length": None}, "method").context_length == "full"


@pytest.fixture(scope="module")
def rising(toy):
    """One stream of twenty episodes of five steps, whose returns rise but for two that are swapped."""
    history = toy.coded_history([(5,) * 20])
    history.rewards[0] = np.repeat(np.arange(20.0), 5)
    history.rewards[0, 50:55], history.rewards[0, 55:60] = 11.0, 10.0
    return history


def episodes_of(batch, row: int):
    """Which episodes of `rising` a window holds, in its order."""
    codes = codes_of(batch, row) - 1000
    assert (codes.reshape(-1, 5) % 5 == np.arange(5)).all()  # whole ones
    return (codes[::5] // 5).tolist()


def test_random_episodes_are_distinct_ordered_and_equally_likely(rising) -> None:
    sampler = make_sampler([rising], episode_sampling="random", episodes_per_window=4, batch_size=200)
    assert sampler.context_length == 20
    assert sampler.tokens_per_pass == 100
    drawn = [episodes_of(batch, row) for batch in map(sampler.batch, range(5)) for row in range(200)]
    assert all(len(set(chosen)) == 4 and chosen == sorted(chosen) for chosen in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=20)
    assert np.abs(counts - 200).max() < 4 * np.sqrt(200 * 0.8)  # each is in a fifth of the windows


def test_windows_sorted_by_return_end_with_their_best_episode(rising) -> None:
    settings = {"episode_sampling": "random", "episodes_per_window": 20}
    in_order = make_sampler([rising], **settings).batch(0)
    by_return = make_sampler([rising], window_order="return", **settings).batch(0)
    assert episodes_of(in_order, 0) == list(range(20))
    assert episodes_of(by_return, 0) == [*range(10), 11, 10, *range(12, 20)]


def test_the_early_part_of_a_history_is_left_out(rising) -> None:
    strided = make_sampler([rising], history_from=0.5, episode_stride=2, batch_size=8)
    assert strided.context_length == 25
    assert strided.tokens_per_pass == 25
    chosen = {tuple(episodes_of(batch, row)) for batch in map(strided.batch, range(5)) for row in range(8)}
    assert chosen == {(10, 12, 14, 16, 18), (11, 13, 15, 17, 19)}
    random = make_sampler([rising], history_from=0.5, episode_sampling="random", episodes_per_window=2, batch_size=50)
    drawn = {each for batch in map(random.batch, range(5)) for row in range(50) for each in episodes_of(batch, row)}
    assert drawn == set(range(10, 20))


def test_windows_open_with_an_early_episode_where_that_is_asked_for(rising) -> None:
    """Of 20 episodes the first is one of 0 to 4, the others are those that other windows have, also past a later begin."""
    sampler = make_sampler(
        [rising], episode_sampling="random", episodes_per_window=3, opening_until=0.25, history_from=0.5, batch_size=400
    )
    chosen = np.array([episodes_of(sampler.batch(0), row) for row in range(400)])
    assert set(chosen[:, 0]) == set(range(5))
    assert set(chosen[:, 1:].ravel()) == set(range(11, 20))
    assert (np.diff(chosen) > 0).all()


def test_fewer_of_the_kept_episodes_are_a_run_of_them(rising) -> None:
    sampler = make_sampler([rising], episode_stride=5, episodes_per_window=2, batch_size=50)
    assert sampler.context_length == 10
    drawn = {tuple(episodes_of(batch, row)) for batch in map(sampler.batch, range(5)) for row in range(50)}
    assert drawn == {(first, first + 5) for first in range(15)}


def test_a_window_of_chosen_episodes_begins_as_a_trial_does(rising) -> None:
    batch = make_sampler([rising], episode_sampling="random", episodes_per_window=2, batch_size=8).batch(0)
    assert not batch.tokens[:, 0, :5].any()  # nothing came before
    assert batch.tokens[:, 5, 4].all()  # the second episode sees the last reward of the first


def test_more_episodes_than_a_stream_has_are_all_of_them(toy) -> None:
    sampler = make_sampler([toy.coded_history([(3, 4)])], episode_sampling="random", episodes_per_window=9)
    assert sampler.context_length == 7


def test_hidden_steps_are_whole_and_as_many_as_asked(rising) -> None:
    settings = {"episode_sampling": "random", "episodes_per_window": 10, "batch_size": 40}
    clean = make_sampler([rising], **settings).batch(0)
    hidden = make_sampler([rising], token_mask=0.3, **settings).batch(0)
    before = (hidden.tokens[:, 1:, :5] != 0).any(axis=-1)  # every step but the first has one before it
    assert (~before).mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / before.size))
    assert np.array_equal(hidden.tokens[:, 1:, :5][before], clean.tokens[:, 1:, :5][before])
    assert np.array_equal(hidden.tokens[:, :, 5:], clean.tokens[:, :, 5:])  # what is acted on is always seen
