"""One task of a MuJoCo family as a Gymnasium environment: spaces, rendering and the time limit around `simulation.py`.

It imports no family, so that a family's content hash depends on its own formulas and on what all families share.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv
from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer
from gymnasium.spaces import Box
from gymnasium.wrappers import TimeLimit

from icrl_plugins.environments.formulas import Formulas
from icrl_plugins.environments.simulation import ALL, MujocoBatch, load_model
from icrl_registry.contracts import Array, FloatArray, Task
from icrl_registry.errors import UsageError


class MujocoTaskEnv(MujocoEnv):
    """A single, fixed task. `info` is always empty, since every reward term would say something about the task."""

    #: Every environment adds its own frame rate, so these are, as Gymnasium declares them, no `ClassVar`.
    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}  # noqa: RUF012

    def __init__(
        self,
        family: Formulas,
        task: Sequence[float] | Array | None,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode {render_mode!r} is none of {', '.join(self.metadata['render_modes'])}")
        self.family = family
        parameters = family.checked_parameters(task)
        space = Box(-np.inf, np.inf, (family.observation_size,), dtype=np.float32)
        super().__init__(
            family.model_file,
            family.frame_skip,
            observation_space=space,
            render_mode=render_mode,
            width=width,
            height=height,
            default_camera_config=dict(family.camera),
        )
        self.metadata = {**self.metadata, "render_fps": round(1.0 / self.dt)}
        self.simulation = MujocoBatch(family, [parameters], self.model, self.data)

    def __getstate__(self) -> dict[str, Any]:
        """A copy, in memory or by pickle, goes on in mid-episode exactly as this environment would; it opens no window.

        `simulation` carries model and physics: MuJoCo's arrays are views, and a copied view is frozen.
        """
        return {
            name: value for name, value in self.__dict__.items() if name not in ("model", "data", "mujoco_renderer")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.model, self.data = self.simulation.model, self.simulation.first_data
        camera = dict(self.family.camera)
        self.mujoco_renderer = MujocoRenderer(self.model, self.data, camera, self.width, self.height)

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = load_model(self.family)
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, self.width)  # room for frames of the asked size
        model.vis.global_.offheight = max(model.vis.global_.offheight, self.height)
        return model, mujoco.MjData(model)

    def _set_action_space(self) -> Box:
        """Actions in [-1, 1] whatever the actuators' range; the simulation scales them."""
        self.action_space = Box(-1.0, 1.0, (self.model.nu,), dtype=np.float32)
        return self.action_space

    # Observations are float32 here, which sources store and networks read; MuJoCo's base class declares float64.
    def reset_model(self) -> FloatArray:  # type: ignore[override]
        return self.simulation.start(0, self.np_random)

    def step(  # type: ignore[override]
        self, action: FloatArray
    ) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """One step. Actions outside [-1, 1] are clipped.

        Raises:
            ValueError: an action of another shape, with NaN or infinity, or a step before the first reset.
        """
        values = np.asarray(action, dtype=np.float64)
        if values.shape != self.action_space.shape:
            raise ValueError(f"action has shape {values.shape}, {self.family.id} expects {self.action_space.shape}")
        rewards, terminated = self.simulation.advance(values[None], ALL)
        if self.render_mode == "human":
            self.render()
        return self.simulation.observation(0), float(rewards[0]), bool(terminated[0]), False, {}

    def render(self) -> Any:
        """A frame as `render_mode` says: for "rgb_array" (height, width, 3) uint8. Goal and object are visible in it.

        Raises:
            UsageError: no working OpenGL; the hint names the variable to set.
        """
        with _opengl_without_a_display():
            try:
                return super().render()  # type: ignore[no-untyped-call]
            except (AttributeError, ImportError, OSError, RuntimeError, mujoco.FatalError) as error:
                backend = os.environ.get("MUJOCO_GL", "the default OpenGL")
                raise UsageError(
                    f"cannot render {self.family.id} with {backend}: {error}",
                    "set MUJOCO_GL=egl (needs libegl1), MUJOCO_GL=osmesa (needs libosmesa6) or, with a display, glfw",
                ) from error


@contextmanager
def _opengl_without_a_display() -> Iterator[None]:
    """Gymnasium tries GLFW first, which fails late on a machine without a display; EGL is what works there."""
    if "MUJOCO_GL" in os.environ or sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        yield
        return
    os.environ["MUJOCO_GL"] = "egl"
    try:
        yield
    finally:
        os.environ.pop("MUJOCO_GL", None)


class MeasuredEpisodes(TimeLimit):
    """A time limit that says in `info["success"]` of an episode's last step, and of no other, whether it succeeded."""

    env: MujocoTaskEnv

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        if terminated or truncated:
            info = {**info, "success": float(self.env.simulation.succeeded(0, terminated))}
        return observation, float(reward), terminated, truncated, info


def make_with_time_limit(family: Formulas, task: Task, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    """The environment of `task`, truncated after the family's horizon."""
    return MeasuredEpisodes(MujocoTaskEnv(family, task.parameters, render_mode), family.horizon)
