"""Which renderer draws an environment: a plugin's, or the environment's own Gymnasium `render()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from icrl_registry.contracts import Environment, Task
from icrl_registry.errors import UsageError
from icrl_registry.onlookers.rendering import Frame, Renderer, find_renderer

if TYPE_CHECKING:
    import gymnasium


class OwnPictures(Renderer):
    """What the environment itself renders, scaled to the asked size."""

    def __init__(self, env: gymnasium.Env[Any, Any], task: Task, width: int, height: int) -> None:
        self.env, self.size = env, (width, height)

    def draw(self, step: int) -> Frame:
        from PIL import Image

        picture = np.asarray(self.env.render())
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise UsageError(
                f"render() gave {picture.dtype} of shape {picture.shape}, expected uint8 (height, width, 3)",
                'the environment must draw with render_mode="rgb_array"',
            )
        return np.asarray(Image.fromarray(picture).resize(self.size, Image.Resampling.LANCZOS))

    def close(self) -> None:
        pass  # the environment closes its own window


def make_renderer(
    environment: Environment, name: str, task: Task, width: int, height: int
) -> tuple[gymnasium.Env[Any, Any], Renderer]:
    """A Gymnasium environment of `task` and what draws it; the caller resets, steps and closes both.

    `name` is the environment's registered name.

    Raises:
        UsageError: the environment cannot be drawn, or this machine cannot draw. PluginError: a broken renderer.
    """
    component = find_renderer(name)
    if component is not None:
        env = environment.make(task)
        return env, component(env, task, width, height)
    try:
        env = environment.make(task, render_mode="rgb_array")
    except (ValueError, TypeError, NotImplementedError) as error:
        raise UsageError(
            f"{name} has no picture: {error}",
            "its `make` must take render_mode='rgb_array', or a plugin an entry point in icrl_bench.renderers",
        ) from error
    if env.render_mode != "rgb_array":
        env.close()
        raise UsageError(
            f"{name} has no picture: it ignores render_mode='rgb_array'",
            "let it draw, or add an entry point in icrl_bench.renderers",
        )
    return env, OwnPictures(env, task, width, height)
