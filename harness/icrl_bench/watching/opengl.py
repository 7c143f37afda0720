"""Whether this machine draws without a window, and with what; each backend is tried in a process, which may crash."""

from __future__ import annotations

import os
import subprocess
import sys

BACKENDS = ("egl", "osmesa")
INSTALL = "as root: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri, or libosmesa6 for OSMesa"
PATIENCE = 60.0  # seconds; a machine can be busy

#: A white ball fills the picture, so that a black one is a failure too.
_DRAW = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 3"/><geom type="sphere" size="1" rgba="1 1 1 1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    assert renderer.render().max() > 50, "the picture is black"
"""


def try_backend(name: str) -> str:
    """Empty if MuJoCo draws a ball with the OpenGL backend `name`, otherwise the last line of what went wrong."""
    environment = {**os.environ, "MUJOCO_GL": name}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _DRAW],
            capture_output=True,
            text=True,
            env=environment,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no picture after {PATIENCE:.0f} s"
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"it ended with {done.returncode}"


def what_draws() -> tuple[bool, str]:
    """Whether something draws, and in words with what, or what to install."""
    reasons = []
    for name in BACKENDS:
        reason = try_backend(name)
        if not reason:
            return True, f"draws without a window, with {name}"
        reasons.append(f"{name}: {reason}")
    return False, f"nothing draws ({'; '.join(reasons)}); {INSTALL}"
