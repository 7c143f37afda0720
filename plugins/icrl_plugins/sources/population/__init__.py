"""Sources that train all tasks of a call together, each algorithm on one page: SAC, PPO and DroQ."""
