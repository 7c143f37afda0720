"""A certificate in words: one line for a table, a few lines for a card."""

from __future__ import annotations

from icrl_leaderboards.runs.certificates import Certificate


def solved_in_words(certificate: Certificate) -> str:
    """`9 of 10 test tasks`."""
    count = len(certificate.task_labels)
    if certificate.solved is None:
        return "not measured"
    return f"{round(certificate.solved * count)} of {count} test tasks"


def headroom_in_words(certificate: Certificate) -> str:
    """`0.72 [0.60, 0.81] above mixture 0`."""
    low, high = certificate.headroom_interval
    return f"{certificate.headroom:.2f} [{low:.2f}, {high:.2f}] above {certificate.blind_policy.replace('_', ' ')}"


def certificate_line(certificate: Certificate) -> str:
    """What a table of results says of its environment."""
    return f"the oracle solves {solved_in_words(certificate)}, headroom {headroom_in_words(certificate)}"


def certificate_entries(certificate: Certificate) -> list[tuple[str, str]]:
    """The card: (what, value)."""
    wrong = certificate.wrong_task_score
    means = certificate.summary()["mean_return"]
    return [
        ("solved", f"{solved_in_words(certificate)}, by {certificate.source}"),
        ("headroom", headroom_in_words(certificate)),
        ("wrong task", "–" if wrong is None else f"{wrong:.2f} (0 random, 1 oracle)"),
        ("told apart", f"after {certificate.steps_to_tell_apart:.0f} of {certificate.horizon} steps"),
        (
            "mean return",
            ", ".join(f"{name.replace('_', ' ')} {value:.4g}".replace("-", "−") for name, value in means.items()),
        ),
    ]
