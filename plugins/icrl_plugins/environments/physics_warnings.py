"""What MuJoCo warns of, kept: it would print to stderr and write MUJOCO_LOG.TXT into the working folder.

MuJoCo has one handler a process. Ours is in place while our physics runs and only keeps the words, since an exception
(which a Python warning may become) must not cross the C library. A handler that somebody else has set stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mujoco


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """The list that fills with MuJoCo's warnings inside the block, in order."""
    messages: list[str] = []
    if mujoco.get_mju_user_warning() is not None:
        yield messages
        return
    mujoco.set_mju_user_warning(messages.append)
    try:
        yield messages
    finally:
        mujoco.set_mju_user_warning(None)
