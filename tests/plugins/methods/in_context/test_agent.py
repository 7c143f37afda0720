"""The agent: the parallel model's actions one step at a time, whatever the batch around a task does."""

import numpy as np
import pytest
import torch

from icrl_plugins.methods.algorithm_distillation import AlgorithmDistillation
from icrl_plugins.methods.in_context.layout import TokenLayout
from icrl_plugins.methods.in_context.tokens import Window, steps_of, streams_of, write_tokens
from icrl_registry.contracts import AdaptationSetting, LearningHistory, Task, Transitions

ENDS = (4, 7, 13, 15)  # where episodes end: of different lengths, as after early termination


def make_agent(toy, **settings):
    histories = [toy.coded_history([(5, 5, 5)])]
    spec = toy.spec.__class__("coded", observation_size=2, action_size=2, horizon=5)
    config = AlgorithmDistillation.Config(episode_stride=1, updates=2, batch_size=2, learning_rate=0.02, **settings)
    method = AlgorithmDistillation(config, toy.backbone)
    return method.agent(method.train(toy.job(histories, spec=spec)), spec, "cpu")


def setting(num_tasks: int, seed: int = 0) -> AdaptationSetting:
    return AdaptationSetting(num_tasks, 4, "online", np.random.SeedSequence(seed))


def live(agent, num_tasks: int, steps: int = ENDS[-1], seed: int = 0, active=None):
    """Steps the agent through made-up tasks whose numbers do not depend on its actions; gives all that happened."""
    agent.begin(setting(num_tasks, seed))
    generator = np.random.default_rng(11)
    log: dict[str, list] = {name: [] for name in ("observations", "actions", "rewards", "ended")}
    for t in range(steps):
        observations = (1000 + 5 * generator.standard_normal((9, 2))).astype(np.float32)[:num_tasks]
        rewards = (100 * generator.standard_normal(9)).astype(np.float32)[:num_tasks]
        ended = np.full(num_tasks, t + 1 in ENDS)
        rows = np.ones(num_tasks, dtype=np.bool_) if active is None else active(t)
        if active is not None:
            observations[~rows], rewards[~rows] = 1e30, np.nan  # nobody may look at these
        actions = agent.act(observations)
        nobody = np.zeros(num_tasks, dtype=np.bool_)
        agent.observe(Transitions(observations, actions, rewards, observations, nobody, ended, rows))
        for name, value in (
            ("observations", observations),
            ("actions", actions),
            ("rewards", rewards),
            ("ended", ended),
        ):
            log[name].append(value)
    return {name: np.stack(values, axis=1) for name, values in log.items()}  # (K, T, …)


@pytest.mark.parametrize("layout", ["transition", "three"])
@pytest.mark.parametrize("flag", [False, True])
def test_its_actions_are_those_of_the_parallel_model_on_the_same_history(toy, layout: str, flag: bool) -> None:
    agent = make_agent(toy, token_layout=layout, episode_start_flag=flag)
    log = live(agent, 3)
    history = LearningHistory(
        Task((0.0,)),
        log["observations"],
        log["actions"],
        log["rewards"],
        log["observations"],
        np.zeros_like(log["ended"]),
        log["ended"],
    )
    assert np.abs(log["actions"]).max() > 0.01
    for row, stream in enumerate(streams_of([history])):
        steps, is_start = steps_of(stream.bounds)
        layout = TokenLayout(2, 2, flag)
        tokens = np.zeros((len(steps), layout.size), dtype=np.float32)
        write_tokens(tokens, Window(stream, steps, is_start, 0, len(steps)), layout, agent.normalisation)
        with torch.no_grad():
            expected = agent.model(torch.from_numpy(tokens)[None])[0].clamp(-1, 1).numpy()
        np.testing.assert_allclose(log["actions"][row], expected, rtol=0, atol=1e-5)


def test_a_row_does_not_depend_on_the_others(toy) -> None:
    agent = make_agent(toy)
    together = live(agent, 4)["actions"]
    np.testing.assert_allclose(live(agent, 1)["actions"][0], together[0], rtol=0, atol=1e-6)

    def last_two_finish_early(t: int):
        return np.array([True, True, t < 7, t < 7])

    actions = live(agent, 4, active=last_two_finish_early)["actions"]
    np.testing.assert_array_equal(actions[:2], together[:2])
    assert np.isfinite(actions).all()  # what stands in a finished row is not looked at


def test_beginning_again_forgets(toy) -> None:
    agent = make_agent(toy, episode_start_flag=True)
    first = live(agent, 2)["actions"]
    np.testing.assert_array_equal(live(agent, 2)["actions"], first)


def test_actions_are_clipped_and_noise_is_the_agents_own(toy) -> None:
    quiet, noisy = make_agent(toy), make_agent(toy, execution_noise=0.5)
    before = torch.get_rng_state()
    once, again, other = (live(noisy, 9, seed=seed)["actions"] for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.abs(once).max() == 1.0
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
    difference = (once - live(quiet, 9)["actions"])[:, 0]  # at the first step the contexts are still equal
    assert 0.3 < difference.std() < 0.7


def test_a_gaussian_head_is_drawn_from(toy) -> None:
    agent = make_agent(toy, head="gaussian")
    with torch.no_grad():
        agent.model.head.weight.zero_()
        agent.model.head.bias.copy_(torch.tensor([0.2, -0.1, np.log(0.05), np.log(0.2)]))
    once, again, other = (live(agent, 9, seed=seed)["actions"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
    np.testing.assert_allclose(once.mean(axis=(0, 1)), [0.2, -0.1], atol=0.04)  # 135 draws
    np.testing.assert_allclose(once.std(axis=(0, 1)), [0.05, 0.2], rtol=0.2)


def test_a_full_context_is_rebuilt_from_its_newest_half(toy) -> None:
    agent = make_agent(toy, context_length=6, context_overflow="rebuild")
    plain = make_agent(toy, context_length=6)
    rebuilt, unbroken = live(agent, 2)["actions"], live(plain, 2)["actions"]
    np.testing.assert_array_equal(rebuilt[:, :6], unbroken[:, :6])
    assert not np.allclose(rebuilt[:, 6:], unbroken[:, 6:], atol=1e-6)

    # the seventh action: as if the last three inputs and the new one were all there is
    tokens: list[torch.Tensor] = []
    original = plain.model.step
    plain.model.step = lambda token, state: (tokens.append(token), original(token, state))[1]
    live(plain, 2, steps=7)
    with torch.no_grad():
        expected = plain.model(torch.stack(tokens[3:7], dim=1))[:, -1].clamp(-1, 1).numpy()
    np.testing.assert_allclose(rebuilt[:, 6], expected, rtol=0, atol=1e-5)


def test_diagnostics_are_finite_numbers(toy) -> None:
    agent = make_agent(toy)
    log = live(agent, 3)
    diagnostics = agent.diagnostics()
    assert diagnostics["tokens_seen"] == 15
    actions = log["actions"]
    assert diagnostics["action_std_first_episode"] == pytest.approx(actions[:, :4].std(axis=1).mean(), rel=1e-5)
    assert diagnostics["action_std_last_episode"] == pytest.approx(actions[:, 13:].std(axis=1).mean(), rel=1e-5)
    agent.begin(setting(2))
    assert all(np.isfinite(value) for value in agent.diagnostics().values())
