"""The four bodies, each with its goal in the picture: where the camera stands and what is marked.

Colours are one code in all four: green is the goal, whatever it is (a place, a speed, a direction). The agent sees none of it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from icrl_plugins.rendering.offscreen import Offscreen
from icrl_registry.contracts import Task
from icrl_registry.onlookers.rendering import Frame, Renderer

GOAL = (0.10, 0.65, 0.25, 1.0)
FAINT = (0.10, 0.65, 0.25, 0.35)
HIDDEN = (0.0, 0.0, 0.0, 0.0)
BODY = (0.42, 0.50, 0.62, 1.0)
TIP = (0.15, 0.25, 0.45, 1.0)
OBJECT = (0.93, 0.45, 0.10, 1.0)
TABLE = (0.85, 0.85, 0.86, 1.0)


class Scene(Renderer):
    """Base of the four: a camera, and `mark`, which adds to each picture what the body's own model lacks."""

    camera: ClassVar[dict[str, Any]]
    casts_shadows: ClassVar[bool] = True

    def __init__(self, env: Any, task: Task, width: int, height: int) -> None:
        self.env, self.task = env.unwrapped, task
        self.model, self.data = self.env.model, self.env.data
        self.model.mat_reflectance[:] = 0.0  # a mirrored floor doubles what a picture says, and what a GIF weighs
        self.paint()
        self.offscreen = Offscreen(self.model, self.data, width, height, self.camera, self.casts_shadows)

    def draw(self, step: int) -> Frame:
        self.mark(step)
        return self.offscreen.picture()

    def paint(self) -> None:
        """Colours what the model file leaves grey, before the first picture; nothing by default."""

    def colour(self, body: str, rgba: tuple[float, ...]) -> None:
        """Gives all geometries of a body, and of what hangs on it, one colour; alpha 0 hides them."""
        root = self.model.body(body).id
        for geometry in range(self.model.ngeom):
            owner = int(self.model.geom_bodyid[geometry])
            while owner not in (0, root):
                owner = int(self.model.body_parentid[owner])
            if owner == root:
                self.model.geom_rgba[geometry] = rgba

    @abstractmethod
    def mark(self, step: int) -> None:
        """Adds the goal to the next picture and moves the camera, where that is needed."""

    def close(self) -> None:
        self.offscreen.close()

    def body(self, name: str) -> np.ndarray:
        """World position of a body, (3,) in metres."""
        return np.array(self.data.body(name).xpos)


class ReacherScene(Scene):
    """From above: the goal is a disc of the radius that counts as reached, 2 cm."""

    camera: ClassVar[dict[str, Any]] = {
        "lookat": (0.0, 0.0, 0.0),
        "distance": 0.72,
        "azimuth": 90.0,
        "elevation": -90.0,
    }

    def paint(self) -> None:
        self.colour("target", HIDDEN)
        self.colour("body0", BODY)
        self.colour("fingertip", TIP)

    def mark(self, step: int) -> None:
        x, y = self.task.parameters
        self.offscreen.mark("cylinder", (x, y, 0.002), (0.02, 0.001, 0.0), GOAL)


class PusherScene(Scene):
    """From above and the side: the goal is a ring of the radius that counts as success, 5 cm; the object is orange."""

    camera: ClassVar[dict[str, Any]] = {
        "lookat": (0.42, -0.22, -0.28), "distance": 1.5, "azimuth": 135.0, "elevation": -55.0,
    }  # fmt: skip

    def paint(self) -> None:
        self.colour("goal", HIDDEN)
        self.colour("object", OBJECT)
        self.colour("r_shoulder_pan_link", BODY)
        self.model.geom("table").rgba[:] = TABLE

    def mark(self, step: int) -> None:
        x, y = self.task.parameters[2:]
        self.offscreen.mark("cylinder", (x, y, -0.322), (0.05, 0.001, 0.0), GOAL)


class CheetahScene(Scene):
    """From the side: a green post runs at the target velocity from where the episode began, and the camera with the body.

    A post that has left the picture stays at its edge, faint: ahead or behind is what there is to see.
    """

    camera: ClassVar[dict[str, Any]] = {"lookat": (0.0, 0.0, 0.5), "distance": 3.6, "azimuth": 90.0, "elevation": -12.0}
    casts_shadows: ClassVar[bool] = False  # MuJoCo's map of them tears on the endless floor
    edge: ClassVar[float] = 1.35  # m from the middle of the picture

    def mark(self, step: int) -> None:
        x = float(self.data.qpos[0])
        if step == 0:
            self.start = x
        ahead = self.start + self.task.parameters[0] * self.env.dt * step - x
        shown = float(np.clip(ahead, -self.edge, self.edge))
        self.offscreen.camera.lookat[0] = x
        self.offscreen.mark("box", (x + shown, 0.0, 0.6), (0.02, 0.02, 0.6), GOAL if shown == ahead else FAINT)


class AntScene(Scene):
    """From above: a green line leaves the start in the direction of the task, an arrow shows it at the torso."""

    camera: ClassVar[dict[str, Any]] = {"lookat": (0.0, 0.0, 0.3), "distance": 7.0, "azimuth": 90.0, "elevation": -60.0}
    ray: ClassVar[float] = 40.0  # m
    arrow: ClassVar[float] = 1.6  # m

    def mark(self, step: int) -> None:
        angle = self.task.parameters[0]
        ahead = np.array([np.cos(angle), np.sin(angle), 0.0])
        torso = self.body("torso")
        if step == 0:
            self.start = np.array([torso[0], torso[1], 0.02])
        self.offscreen.camera.lookat[:2] = torso[:2]
        self.offscreen.arrow(self.start, self.start + self.ray * ahead, 0.04, FAINT)
        above = np.array([torso[0], torso[1], torso[2] + 0.5])
        self.offscreen.arrow(above, above + self.arrow * ahead, 0.08, GOAL)
