"""MACAW: offline meta-reinforcement learning with advantage weighting (Mitchell et al. 2021)."""

from icrl_plugins.methods.macaw.trainer import MACAW

__all__ = ["MACAW"]
