"""Majority and soft majority: no learning, and still what a label model has to beat."""

from __future__ import annotations

import numpy as np

from services.labeling.aggregation.votes import Floats, Patterns, quotient


def shares(patterns: Patterns, classes: int) -> Floats:
    """Weight of the votes per pattern and class (patterns, classes). A vote against a class is shared by all others."""
    size = len(patterns) * classes
    weight = patterns.weight
    against = patterns.code_against[patterns.code]
    cell = patterns.pattern * classes + patterns.code_class[patterns.code]
    spread = weight / max(classes - 1, 1)
    total = np.bincount(cell, np.where(against, -spread, weight), minlength=size).reshape(len(patterns), classes)
    everyone = np.bincount(patterns.pattern, np.where(against, spread, 0.0), minlength=len(patterns))
    return np.asarray(np.maximum(total + everyone[:, None], 0.0))


def soft_majority(patterns: Patterns, classes: int) -> Floats:
    """The share of the votes (patterns, classes); equal for all classes where there is no vote."""
    weight = shares(patterns, classes)
    total = weight.sum(axis=1, keepdims=True)
    return quotient(weight, np.broadcast_to(total, weight.shape), 1 / classes)


def majority(patterns: Patterns, classes: int) -> Floats:
    """All to the class with the most votes; ties share (patterns, classes)."""
    weight = shares(patterns, classes)
    # Weights are sums of the same few numbers in any order, so a tie may differ in the last bits.
    best = weight >= weight.max(axis=1, keepdims=True) * (1 - 1e-9)
    return np.asarray(best / best.sum(axis=1, keepdims=True))
