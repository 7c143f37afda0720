"""What is on film is what happened: steps, returns and pictures beside the environment's own formulas."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from icrl_bench.stages.rollout import rollout
from icrl_bench.watching.filming import Filmed, FilmedBatch
from icrl_registry.contracts import AdaptationSetting, Agent
from icrl_registry.errors import BenchError
from icrl_registry.testing.toy import ToyPoint, ToyPointConfig, next_position, reward_at

HORIZON, EPISODES = 5, 4


class Straight(Agent):
    """Goes to the right in odd episodes, upwards in even ones."""

    def begin(self, setting):
        self.steps = np.zeros(setting.num_tasks, dtype=int)

    def act(self, observations):
        odd = (self.steps // HORIZON) % 2 == 0
        return np.stack([odd, ~odd], axis=1).astype(np.float32)

    def observe(self, transitions):
        self.steps += transitions.active


class Positions:
    """A renderer whose pictures are the positions themselves."""

    def __init__(self, env):
        self.env, self.open = env.unwrapped, True

    def draw(self, step):
        return self.env.position.copy()

    def close(self):
        self.open = False


def play(episodes, stride=1, row=1, spoil=0.0):
    environment = ToyPoint(ToyPointConfig(horizon=HORIZON))
    tasks = environment.tasks(3)
    env = environment.make(tasks[row])
    inner = environment.make_batch(tasks)
    if spoil:
        plain = inner.step
        inner.step = lambda actions, active: dataclasses.replace(
            plain(actions, active), rewards=plain(actions, active).rewards + np.float32(spoil)
        )
    batch = FilmedBatch(inner, row, episodes, env, Positions(env), stride)
    setting = AdaptationSetting(3, EPISODES, "online", np.random.SeedSequence(0))
    result = None
    try:
        result = rollout(Straight(), batch, environment.spec, tasks, setting, lambda task, episode: 10 * episode + 1)
    except Filmed:
        pass
    finally:
        batch.close()
    return batch, result, tasks[row]


def test_the_pictures_the_steps_and_the_returns_of_an_episode():
    batch, result, task = play([4])
    (shot,) = batch.shots
    env = ToyPoint(ToyPointConfig(horizon=HORIZON)).make(task)
    position = env.reset(seed=31)[0]
    total, expected = 0.0, [(position, 0.0)]
    for _ in range(HORIZON):  # the fourth episode goes upwards
        position = next_position(position, np.array([0.0, 1.0]))
        total += float(np.float32(reward_at(position, np.asarray(task.parameters))))
        expected.append((position, total))
    assert shot.episode == 4
    assert shot.steps == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(np.stack(shot.frames), np.stack([each for each, _ in expected]), atol=1e-6)
    np.testing.assert_allclose(shot.returns, [each for _, each in expected], atol=1e-5)
    assert batch.returns == pytest.approx(list(result.returns[1]))
    assert not batch.renderer.open


def test_every_second_step_and_the_last():
    batch, _, _ = play([1, 2], stride=2)
    assert [shot.steps for shot in batch.shots] == [[0, 2, 4, 5], [0, 2, 4, 5]]


def test_nothing_is_played_after_the_last_episode_on_film():
    batch, result, _ = play([2, 1])
    assert result is None
    assert [shot.episode for shot in batch.shots] == [1, 2]
    assert len(batch.returns) == 2
    assert play([4])[1].returns.shape == (3, EPISODES)


def test_a_film_of_something_else_is_refused():
    with pytest.raises(BenchError, match=r"episode 2, step 1 .* in the batch"):
        play([2], spoil=0.01)
