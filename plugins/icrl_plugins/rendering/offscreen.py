"""MuJoCo's pictures without a window: an OpenGL context, a camera, the scene with marks of our own, the pixels.

The backend is chosen for each picture-maker, not by what `MUJOCO_GL` was when MuJoCo was imported: EGL draws on a graphics card
or, through Mesa, on the processor; OSMesa on the processor alone; GLFW needs a display.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import mujoco
import numpy as np

from icrl_registry.contracts import Array
from icrl_registry.errors import UsageError
from icrl_registry.onlookers.rendering import Frame

BACKENDS = ("egl", "osmesa", "glfw")  # in the order in which they are tried
LARGEST_SCENE = 1000  # geometries
PAPER = (
    250,
    250,
    248,
)  # where nothing is: a light, even ground, since pages are light and one colour is cheap in a GIF
DARKEST_FLOOR = 205  # of 255: what a texture's black becomes
HINT = "install EGL (apt-get install libegl1 libgl1-mesa-dri) or OSMesa (libosmesa6); `icrl-bench doctor` tries them"


def open_context(width: int, height: int) -> Any:
    """A current OpenGL context of `MUJOCO_GL` or, where that is not set, of the first backend that gives one.

    Raises:
        UsageError: none does; the message has each backend's reason.
    """
    asked = os.environ.get("MUJOCO_GL", "").lower()
    reasons = []
    for backend in (asked,) if asked else BACKENDS:
        if backend not in BACKENDS:
            raise UsageError(f"MUJOCO_GL={backend} is no backend that draws", f"set it to one of {', '.join(BACKENDS)}")
        if backend == "glfw" and not asked and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
            reasons.append("glfw: no display")
            continue
        try:
            context = import_module(f"mujoco.{backend}").GLContext(width, height)
            context.make_current()
            return context
        except Exception as error:  # a library that is missing, or too old, fails in ways of its own
            reasons.append(f"{backend}: {error}")
    raise UsageError(f"no OpenGL to draw with ({'; '.join(reasons)})", HINT)


class Offscreen:
    """Pictures of one model's data, (height, width, 3), seen by one free camera."""

    def __init__(self, model: Any, data: Any, width: int, height: int, camera: dict[str, Any], shadows: bool) -> None:
        """`camera`: `lookat` (3,) in metres, `distance` (m), `azimuth` and `elevation` (degrees).

        Raises:
            UsageError: no OpenGL here.
        """
        self.model, self.data = model, data
        _lighten(model)
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, height)
        self._context = open_context(width, height)
        self._drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._drawing)
        self._scene = mujoco.MjvScene(model, LARGEST_SCENE)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        self._area = mujoco.MjrRect(0, 0, width, height)
        self._options, self._perturbation = mujoco.MjvOption(), mujoco.MjvPerturb()
        self.camera = mujoco.MjvCamera()
        mujoco.mjv_defaultFreeCamera(model, self.camera)
        self.camera.lookat[:] = camera["lookat"]
        self.camera.distance, self.camera.azimuth, self.camera.elevation = (
            camera[name] for name in ("distance", "azimuth", "elevation")
        )
        self._pixels = np.zeros((height, width, 3), dtype=np.uint8)
        self._depths = np.zeros((height, width), dtype=np.float32)
        self._marks: list[tuple[Any, ...]] = []

    def mark(self, kind: str, position: Sequence[float], size: Sequence[float], rgba: Sequence[float]) -> None:
        """Adds a body to the next picture alone: `sphere`, `box`, `cylinder`, … at a position (3,) in metres.

        `size` (3,) is in metres as a model file has it: (radius, 0, 0), half-lengths, (radius, half-length, 0).
        """
        geometry = getattr(mujoco.mjtGeom, f"mjGEOM_{kind.upper()}")
        self._marks.append((geometry, np.asarray(size, float), np.asarray(position, float), np.eye(3).ravel(), rgba))

    def arrow(self, start: Array, end: Array, width: float, rgba: Sequence[float]) -> None:
        """Adds an arrow from `start` to `end`, (3,) each, to the next picture alone; `width` in metres."""
        self._marks.append((mujoco.mjtGeom.mjGEOM_ARROW, width, np.asarray(start, float), np.asarray(end, float), rgba))

    def picture(self) -> Frame:
        """What the camera sees now."""
        self._context.make_current()
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(
            self.model, self.data, self._options, self._perturbation, self.camera, everything, self._scene
        )
        for mark in self._marks:
            self._add(mark)
        self._marks.clear()
        mujoco.mjr_render(self._area, self._scene, self._drawing)
        mujoco.mjr_readPixels(self._pixels, self._depths, self._area, self._drawing)
        self._pixels[self._depths >= 1.0] = PAPER
        return self._pixels[::-1].copy()  # OpenGL's first row is the lowest

    def close(self) -> None:
        """Frees the context."""
        self._drawing.free()
        self._context.free()

    def _add(self, mark: tuple[Any, ...]) -> None:
        geometry = self._scene.geoms[self._scene.ngeom]
        colour = np.asarray(mark[4], dtype=np.float32)
        if mark[0] == mujoco.mjtGeom.mjGEOM_ARROW:
            nothing = np.zeros(3)
            mujoco.mjv_initGeom(geometry, mark[0], nothing, nothing, np.eye(3).ravel(), colour)
            mujoco.mjv_connector(geometry, mark[0], mark[1], mark[2], mark[3])
        else:
            mujoco.mjv_initGeom(geometry, mark[0], mark[1], mark[2], mark[3], colour)
        geometry.emission = 0.4  # a mark is read, not lit
        self._scene.ngeom += 1


def _lighten(model: Any) -> None:
    """Bright, even light and pale floors: the models' own suit a dark window."""
    model.vis.headlight.ambient[:] = 0.45
    model.vis.headlight.diffuse[:] = 0.45
    model.vis.headlight.specular[:] = 0.1
    model.light_diffuse[:] *= 0.45
    model.tex_data[:] = DARKEST_FLOOR + (model.tex_data.astype(np.uint16) * (255 - DARKEST_FLOOR) // 255).astype(
        np.uint8
    )
