"""Meta-Q-Learning (Fakoor et al. 2020, arXiv 1910.00125): TD3 with a recurrent context, adapted off-policy."""

from icrl_plugins.methods.mql.trainer import MQL

__all__ = ["MQL"]
