"""Mamba: the block of mamba-ssm with a fused selective scan for CPUs."""

from icrl_plugins.backbones.mamba.stack import Mamba, MambaConfig

__all__ = ["Mamba", "MambaConfig"]
