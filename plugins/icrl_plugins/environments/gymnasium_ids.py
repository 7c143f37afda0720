"""The environments' Gymnasium ids, such as `gymnasium.make("icrl_bench/PusherGoal-v1", task=(0.4, -0.3, 0.5, 0.0))`.

Gymnasium calls `register` when it is imported, through the entry point `icrl_bench` of its group `gymnasium.envs`; the
entry point's name is the namespace. Hence nothing here imports a simulator.
"""

from __future__ import annotations

NAMESPACE = "icrl_bench"
#: Name, version, class in `gymnasium_env.py` and time limit.
REGISTERED = (
    ("ReacherGoal", 1, "ReacherGoalEnv", 50),
    ("PusherGoal", 1, "PusherGoalEnv", 100),
    ("HalfCheetahVel", 1, "HalfCheetahVelEnv", 200),
    ("AntDir", 1, "AntDirEnv", 200),
)


def register() -> None:
    """Registers the ids under `icrl_bench/`, once; calling it again changes nothing."""
    import gymnasium

    for name, version, class_name, horizon in REGISTERED:
        full_id = f"{NAMESPACE}/{name}-v{version}"
        if full_id not in gymnasium.registry:
            entry_point = f"icrl_plugins.environments.gymnasium_env:{class_name}"
            gymnasium.register(full_id, entry_point=entry_point, max_episode_steps=horizon)
