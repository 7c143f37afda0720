"""The goal is where a camera formula written by hand puts it, in all four bodies, and a film of each is of its own episode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from icrl_bench.stages.rollout import rollout
from icrl_bench.watching.drawing import make_renderer
from icrl_bench.watching.filming import FilmedBatch
from icrl_plugins.rendering import offscreen
from icrl_plugins.rendering.scenes import AntScene, CheetahScene, PusherScene, ReacherScene
from icrl_registry.contracts import AdaptationSetting, Agent, Task
from icrl_registry.discovery import load
from icrl_registry.errors import UsageError

SIZE = 200
TASKS = {
    "reacher-goal-v1": ((0.1, 0.05), (-0.08, 0.12)),
    "pusher-goal-v2": ((0.45, -0.3, 0.5, 0.0), (0.5, -0.25, 0.4, 0.05)),
    "half-cheetah-vel-v1": ((0.5,), (2.5,)),
    "ant-dir-v1": ((0.7,), (3.9,)),
}


def environment(name: str) -> Any:
    component = load("environment", name).component
    return component(component.Config())


def start(name: str, task: tuple[float, ...]) -> tuple[Any, Any]:
    env, renderer = make_renderer(environment(name), name, Task(task), SIZE, SIZE)
    env.reset(seed=3)
    return env, renderer


def pixel(point: tuple[float, float, float], camera: dict[str, Any], lookat: Any, fovy: float) -> tuple[float, float]:
    """(row, column) of a world point: MuJoCo's free camera looks from `distance` at `lookat`, z up."""
    azimuth, elevation = np.radians(camera["azimuth"]), np.radians(camera["elevation"])
    forward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    up = np.cross(right, forward)
    offset = np.asarray(point) - (np.asarray(lookat) - camera["distance"] * forward)
    focal = SIZE / 2 / np.tan(np.radians(fovy) / 2)
    depth = offset @ forward
    return SIZE / 2 - focal * (offset @ up) / depth, SIZE / 2 + focal * (offset @ right) / depth


def green(picture: np.ndarray) -> np.ndarray:
    """(n, 2) rows and columns of what has the goal's colour."""
    red, lime, blue = (picture[..., channel].astype(int) for channel in range(3))
    return np.argwhere((lime > red + 60) & (lime > blue + 40))


@pytest.mark.parametrize("number", [0, 1])
def test_the_reachers_goal(number: int):
    task = TASKS["reacher-goal-v1"][number]
    env, renderer = start("reacher-goal-v1", task)
    expected = pixel((*task, 0.002), ReacherScene.camera, ReacherScene.camera["lookat"], 45.0)
    assert green(renderer.draw(0)).mean(axis=0) == pytest.approx(expected, abs=1.0)
    renderer.close()
    env.close()


@pytest.mark.parametrize("number", [0, 1])
def test_the_pushers_goal(number: int):
    task = TASKS["pusher-goal-v2"][number]
    env, renderer = start("pusher-goal-v2", task)
    expected = pixel((*task[2:], -0.322), PusherScene.camera, PusherScene.camera["lookat"], 45.0)
    assert green(renderer.draw(0)).mean(axis=0) == pytest.approx(expected, abs=2.0)
    renderer.close()
    env.close()


@pytest.mark.parametrize("speed", [0.5, 2.5])
def test_the_cheetahs_post_runs_at_the_target_speed(speed: float):
    env, renderer = start("half-cheetah-vel-v1", (speed,))
    begin = env.unwrapped.data.qpos[0]
    renderer.draw(0)
    env.unwrapped.data.qpos[0] = begin + 0.2  # as if it had run
    ahead = begin + speed * env.unwrapped.dt * 8 - env.unwrapped.data.qpos[0]
    column = green(renderer.draw(8))[:, 1].mean()
    camera = CheetahScene.camera
    assert column == pytest.approx(pixel((ahead, 0.0, 0.6), camera, camera["lookat"], 45.0)[1], abs=2.0)
    renderer.close()
    env.close()


@pytest.mark.parametrize("angle", [0.7, 3.9])
def test_the_ants_arrow_points_where_it_should_go(angle: float):
    env, renderer = start("ant-dir-v1", (angle,))
    torso = np.array(env.unwrapped.data.body("torso").xpos)
    lookat = np.array([*torso[:2], AntScene.camera["lookat"][2]])
    above = torso + np.array([0, 0, 0.5])
    middle = above + 0.8 * np.array([np.cos(angle), np.sin(angle), 0.0])
    expected = np.array(pixel(tuple(middle), AntScene.camera, lookat, 45.0))
    found = green(renderer.draw(0))
    assert np.linalg.norm(found - expected, axis=1).min() < 1.5
    behind = np.array(pixel(tuple(2 * above - middle), AntScene.camera, lookat, 45.0))
    assert np.linalg.norm(found - behind, axis=1).min() > 5
    renderer.close()
    env.close()


class Random(Agent):
    def begin(self, setting):
        self.generator = np.random.default_rng(0)

    def act(self, observations):
        return self.generator.uniform(-1, 1, (len(observations), self.size)).astype(np.float32)

    def observe(self, transitions):
        pass


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_film_of_each_body(name: str):
    """Filming compares each reward of the picture's environment with the batch's; the last picture differs from the first."""
    body = environment(name)
    tasks = [Task(parameters, "test", index) for index, parameters in enumerate(TASKS[name])]
    agent = Random()
    agent.size = body.spec.action_size
    env, renderer = make_renderer(body, name, tasks[1], 64, 64)
    batch = FilmedBatch(body.make_batch(tasks), 1, [2], env, renderer, stride=20)
    setting = AdaptationSetting(2, 2, "online", np.random.SeedSequence(0))
    result = rollout(agent, batch, body.spec, tasks, setting, lambda task, episode: 5 * task.index + episode)
    batch.close()
    (shot,) = batch.shots
    assert shot.steps[-1] == result.lengths[1, 1]
    assert shot.returns[-1] == pytest.approx(result.returns[1, 1])
    assert shot.frames[0].shape == (64, 64, 3)
    assert np.abs(shot.frames[0].astype(int) - shot.frames[-1]).max() > 40


def test_without_opengl_the_reasons_and_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    with pytest.raises(UsageError, match="MUJOCO_GL=disabled"):
        offscreen.open_context(8, 8)
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(offscreen, "import_module", lambda name: 1 / 0)
    with pytest.raises(UsageError, match="egl: division by zero; osmesa: division by zero; glfw: no display") as caught:
        offscreen.open_context(8, 8)
    assert "libegl1" in caught.value.hint
