"""Claims as code: what somebody says of methods, held to the leaderboard with its intervals."""

from icrl_leaderboards.analysis.claims.claim import Claim, Evidence, Finding, Verdict
from icrl_leaderboards.analysis.claims.paper import PAPER_CLAIMS

__all__ = ["PAPER_CLAIMS", "Claim", "Evidence", "Finding", "Verdict"]
