"""The toy problem drawn: a grey plane, the goal a green square, the point a red one."""

from __future__ import annotations

import numpy as np

from icrl_registry.onlookers.rendering import Renderer


class PointPicture(Renderer):
    def __init__(self, env, task, width, height) -> None:
        self.env, self.goal, self.shape = env.unwrapped, task.parameters, (height, width)

    def draw(self, step):
        picture = np.full((*self.shape, 3), 128, np.uint8)
        for place, colour in ((self.goal, (0, 255, 0)), (self.env.position, (255, 0, 0))):
            row, column = self.pixel(place)
            picture[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = colour
        return picture

    def pixel(self, place):
        """(row, column) of a place in the plane."""
        height, width = self.shape
        return round((1 - place[1]) / 2 * (height - 1)), round((place[0] + 1) / 2 * (width - 1))

    def close(self) -> None:
        self.env = None
