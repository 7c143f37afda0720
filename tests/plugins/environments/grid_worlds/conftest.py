"""The grid worlds with their default settings."""

from __future__ import annotations

import pytest

from icrl_plugins.environments.grid_worlds.dark_key_to_door import DarkKeyToDoor
from icrl_plugins.environments.grid_worlds.dark_room import DarkRoom


@pytest.fixture
def room() -> DarkRoom:
    return DarkRoom(DarkRoom.Config())


@pytest.fixture
def key_to_door() -> DarkKeyToDoor:
    return DarkKeyToDoor(DarkKeyToDoor.Config())
