"""The logistic regression of brew, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from services.training.linear import Inputs, fit_linear, logits_of


def some_inputs(rows: int = 120, classes: int = 3, seed: int = 0) -> tuple[Inputs, np.ndarray]:
    rng = np.random.default_rng(seed)
    terms = sp.random(rows, 40, density=0.2, format="csr", rng=rng)
    table = rng.normal(size=(rows, 5))
    labels = (table[:, 0] + terms.toarray()[:, 0] + rng.normal(size=rows) > 0).astype(int)
    labels = labels if classes == 2 else labels + (table[:, 1] > 0.5)
    return Inputs(terms=terms, table=table), labels


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("strength", [0.3, 10.0])
def test_it_answers_what_scikit_learn_answers(classes, strength):
    inputs, labels = some_inputs(classes=classes)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(labels))
    ours = fit_linear(inputs, np.eye(classes, dtype=np.float32)[labels], weights, strength=strength)
    z = logits_of(ours, inputs)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    theirs = LogisticRegression(C=strength, max_iter=2000, tol=1e-8)
    everything = np.hstack([inputs.terms.toarray(), inputs.table])
    theirs.fit(everything, labels, sample_weight=weights)
    assert np.abs(p - theirs.predict_proba(everything)).max() < 2e-3


def test_soft_labels_equal_weighted_copies_of_each_row():
    inputs, labels = some_inputs()
    soft = np.random.default_rng(2).dirichlet([1, 1, 1], len(labels)).astype(np.float32)
    ours = fit_linear(inputs, soft, np.ones(len(labels)), strength=1.0)
    copies = Inputs(terms=sp.vstack([inputs.terms] * 3).tocsr(), table=np.vstack([inputs.table] * 3))
    hard = np.repeat(np.eye(3, dtype=np.float32), len(labels), axis=0)
    theirs = fit_linear(copies, hard, soft.T.ravel().astype(float), strength=1.0)
    assert np.abs(logits_of(ours, inputs) - logits_of(theirs, inputs)).max() < 5e-3


def test_multi_label_classes_are_fitted_independently():
    inputs, labels = some_inputs()
    targets = np.stack([labels > 0, labels > 1], axis=1).astype(np.float32)
    both = fit_linear(inputs, targets, np.ones(len(labels)), strength=1.0, multi_label=True)
    for c in range(2):
        alone = fit_linear(inputs, targets[:, [c]], np.ones(len(labels)), strength=1.0, multi_label=True)
        assert np.abs(logits_of(both, inputs)[:, c] - logits_of(alone, inputs)[:, 0]).max() < 1e-2


def test_a_warm_start_ends_where_a_cold_one_ends():
    inputs, labels = some_inputs(classes=2)
    targets, ones = np.eye(2, dtype=np.float32)[labels], np.ones(len(labels))
    first = fit_linear(inputs, targets, ones, strength=0.1)
    warm = fit_linear(inputs, targets, ones, strength=4.0, start=first)
    cold = fit_linear(inputs, targets, ones, strength=4.0)
    assert np.abs(logits_of(warm, inputs) - logits_of(cold, inputs)).max() < 1e-2
