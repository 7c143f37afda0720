"""The environments' Gymnasium ids, such as `gymnasium.make("icrl_bench/PusherGoal-v1", task=(0.4, -0.3, 0.5, 0.0))`.

Importing this module registers them. Gymnasium 1.0 and later read no entry points, so a program imports it, or names it
in the id as Gymnasium allows: `gymnasium.make("icrl_plugins.environments.gymnasium_ids:icrl_bench/PusherGoal-v1", …)`.
No simulator is imported until an environment is made.
"""

from __future__ import annotations

import gymnasium

NAMESPACE = "icrl_bench"
#: Name and version, class in `registered_envs.py`, and time limit.
REGISTERED = (
    ("ReacherGoal-v1", "ReacherGoalEnv", 50),
    ("PusherGoal-v1", "PusherGoalEnv", 100),
    ("HalfCheetahVel-v1", "HalfCheetahVelEnv", 200),
    ("AntDir-v1", "AntDirEnv", 200),
)


def register() -> None:
    """Registers the ids under `icrl_bench/`; calling it again changes nothing."""
    for name, class_name, horizon in REGISTERED:
        full_id = f"{NAMESPACE}/{name}"
        if full_id not in gymnasium.registry:
            entry_point = f"icrl_plugins.environments.registered_envs:{class_name}"
            gymnasium.register(full_id, entry_point=entry_point, max_episode_steps=horizon)


register()
