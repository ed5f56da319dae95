"""What a feedback source may weigh: a reliability that is learned, and a share that is capped.

Feedback is a vote, not the truth. Together, the feedback votes on a row weigh at most one vote, however many ids a sender uses.
Where no label model learns accuracies (majority), a source's votes are also scaled by how far it beats guessing on the rows
where others voted or gold is known; a careless or hostile source so loses its say by itself.
"""

from __future__ import annotations

import numpy as np

from services.labeling.aggregation.majority import majority
from services.labeling.aggregation.votes import Floats, Ints, Votes, patterns_of

_PRIOR_RIGHT, _PRIOR_VOTES = 0.8, 10.0


def capped(votes: Votes) -> Votes:
    """The same votes, those of feedback sources scaled to a weight of at most 1 per row together."""
    feedback = _of_feedback(votes)
    if not feedback.any():
        return votes
    total = np.bincount(votes.row[feedback], votes.weight[feedback], minlength=votes.rows)
    return votes.reweighted(np.where(feedback, votes.weight / np.maximum(total, 1.0)[votes.row], votes.weight))


def scaled_by_reliability(votes: Votes, gold: Ints) -> Votes:
    """Feedback votes scaled by (k a - 1) / (k - 1): 1 for a source that is always right, nothing for one that guesses."""
    feedback = _of_feedback(votes)
    if not feedback.any():
        return votes
    accuracy = reliability(votes, gold)
    beyond_chance = np.clip((votes.classes * accuracy - 1) / max(votes.classes - 1, 1), 0.0, 1.0)
    return votes.reweighted(np.where(feedback, votes.weight * beyond_chance[votes.voter], votes.weight))


def reliability(votes: Votes, gold: Ints) -> Floats:
    """Accuracy of each labeler against gold, or where there is none, against the majority of the others; drawn to .8."""
    others = votes.only(~_of_feedback(votes))
    patterns = patterns_of(others, gold)
    truth = majority(patterns, votes.classes)  # (patterns, classes)
    truth[patterns.gold >= 0] = np.eye(votes.classes)[patterns.gold[patterns.gold >= 0]]
    known = (others.covered() | (gold >= 0))[votes.row]
    said = truth[patterns.inverse[votes.row], votes.cls]
    right = np.where(votes.against, 1 - said, said) * known
    size = len(votes.voters)
    hits, seen = (np.bincount(votes.voter, values, minlength=size) for values in (right, known.astype(float)))
    return (hits + _PRIOR_RIGHT * _PRIOR_VOTES) / (seen + _PRIOR_VOTES)


def _of_feedback(votes: Votes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([voter.capped for voter in votes.voters], dtype=bool)[votes.voter]
