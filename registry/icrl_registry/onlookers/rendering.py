"""Drawing an environment for a person: what a plugin may add so that `icrl-bench watch` shows also what its agents cannot see.

A renderer is a class that an entry point of the group `icrl_bench.renderers` names. The entry point carries the name of an
environment (`pusher-goal-v2`), or of a family for all its versions (`pusher-goal`). Environments without one are drawn by their
own Gymnasium `render()`, and then show what that shows: a target speed, say, is in no picture of a running body.

A renderer is no part of an environment: it changes no content hash, and no number of a result.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from icrl_registry.contracts import Task
from icrl_registry.discovery import entries_of_group, import_entry
from icrl_registry.errors import PluginError

if TYPE_CHECKING:
    import gymnasium

GROUP = "icrl_bench.renderers"

Frame = NDArray[np.uint8]
"""One picture, (height, width, 3): red, green, blue; the first row is the top one."""


@runtime_checkable
class Renderer(Protocol):
    """Draws one task while it is played.

    It is made once for a Gymnasium environment that `Environment.make` gave, and that the harness resets and steps.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], task: Task, width: int, height: int) -> None: ...

    @abstractmethod
    def draw(self, step: int) -> Frame:
        """The environment as it is now, `step` steps after its reset: (height, width, 3), with the goal in it.

        Raises:
            UsageError: nothing can be drawn on this machine; the hint says what to install.
        """

    @abstractmethod
    def close(self) -> None:
        """Frees what it holds; the environment stays open."""


def find_renderer(environment: str) -> type[Renderer] | None:
    """The renderer of an environment's full name, else that of its family; None where nobody gives one.

    Raises:
        PluginError: it cannot be imported, lacks what `Renderer` asks for, or two distributions carry the name.
    """
    entries = entries_of_group(GROUP, "renderer")
    for name in (environment, re.sub(r"-v\d+$", "", environment)):
        found = [entry for entry in entries if entry.name == name]
        if len(found) > 1:
            owners = " and ".join(entry.distribution for entry in found)
            raise PluginError(f"the renderer '{name}' is carried twice, by {owners}", "uninstall one of them")
        if found:
            component: type[Renderer] = import_entry(found[0], GROUP)
            missing = [member for member in ("draw", "close") if not callable(getattr(component, member, None))]
            if missing:
                raise PluginError(
                    f"the renderer '{name}' ({found[0].value}, from {found[0].distribution}) lacks {', '.join(missing)}",
                    "derive from icrl_registry.onlookers.rendering.Renderer",
                )
            return component
    return None
