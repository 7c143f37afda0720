"""Algorithm Distillation: imitate whole learning histories, and so learn to learn in context (Laskin et al. 2022)."""

from icrl_plugins.methods.algorithm_distillation.trainer import AlgorithmDistillation

__all__ = ["AlgorithmDistillation"]
