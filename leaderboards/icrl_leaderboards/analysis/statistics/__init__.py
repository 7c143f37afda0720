"""Statistics of adaptation: scores of runs (`adaptation`), aggregates (`aggregates`), intervals (`bootstrap`)."""

from icrl_leaderboards.analysis.statistics.adaptation import (
    LAST_SHARE,
    ORACLE_SHARE,
    area_under_curve,
    best_episode,
    episodes_to_oracle,
    first_episode,
    improvement,
    last_count,
    last_episodes,
    mean_curve,
    normalised_scores,
    regret,
)
from icrl_leaderboards.analysis.statistics.aggregates import (
    AGGREGATES,
    Statistic,
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

__all__ = [
    "AGGREGATES",
    "LAST_SHARE",
    "ORACLE_SHARE",
    "Statistic",
    "area_under_curve",
    "best_episode",
    "episodes_to_oracle",
    "first_episode",
    "improvement",
    "interquartile_mean",
    "last_count",
    "last_episodes",
    "mean",
    "mean_curve",
    "median",
    "normalised_scores",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
    "regret",
]
