"""How good votes are: coverage, conflict, and accuracy on gold with Wilson's interval."""

from __future__ import annotations

import math

import numpy as np

from services.labeling.aggregation.votes import Bools, Floats, Gold, Ints, Votes

_Z95 = 1.959963984540054


def wilson(right: float, trials: int) -> tuple[float, float]:
    """The 95% score interval of a share (Wilson 1927)."""
    share, z2 = right / trials, _Z95**2
    middle = share + z2 / (2 * trials)
    reach = _Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return max(0.0, (middle - reach) / (1 + z2 / trials)), min(1.0, (middle + reach) / (1 + z2 / trials))


def disagreeing_rows(votes: Votes) -> Bools:
    """Rows (single-label) whose votes name different classes, or a class both for and against."""
    named, refused = votes.only(~votes.against), votes.only(votes.against)
    lowest = np.full(votes.rows, votes.classes)
    highest = np.full(votes.rows, -1)
    np.minimum.at(lowest, named.row, named.cls)
    np.maximum.at(highest, named.row, named.cls)
    both = np.intersect1d(named.row * votes.classes + named.cls, refused.row * votes.classes + refused.cls)
    conflict: Bools = (highest >= 0) & (lowest < highest)
    conflict[both // votes.classes] = True
    return conflict


def per_voter(votes: Votes, chosen: Bools) -> Ints:
    """How many rows each labeler has among the entries of a mask."""
    size = max(len(votes.voters), 1)
    pairs = np.unique(votes.row[chosen] * size + votes.voter[chosen])
    return np.bincount(pairs % size, minlength=len(votes.voters))


def hits(votes: Votes, gold: Gold) -> tuple[Ints, Floats, Ints]:
    """Per labeler: its votes on gold rows, and on those that may estimate: how many are right, and of how many."""
    place = np.full(votes.rows, -1)
    place[gold.rows] = np.arange(len(gold))
    at = place[votes.row]
    on_gold = at >= 0
    usable = on_gold.copy()
    usable[on_gold] = gold.estimates[at[on_gold]]
    usable &= votes.cls >= 0
    member = gold.members[at[usable], votes.cls[usable]]
    right = np.where(votes.against[usable], ~member, member)
    size = len(votes.voters)
    return (
        per_voter(votes, on_gold),
        np.bincount(votes.voter[usable], right, minlength=size).astype(np.float64),
        np.bincount(votes.voter[usable], minlength=size).astype(np.int64),
    )
