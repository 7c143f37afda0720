"""Sources on Stable-Baselines3 (Raffin et al., 2021), which train one task after the other: SAC, PPO and DroQ."""
