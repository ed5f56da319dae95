"""Label models on YouTube comments: majority, soft majority and Dawid-Skene, alone and as teachers of an end model.

    python benchmarks/label_models.py [--draws 20] [--gold 20] [--rows 1000000]

Prints the accuracy of each label model on the 250 test rows (fitted on the votes of all rows, on no label), then that of a
logistic regression on TF-IDF trained on its labels with random gold rows, beside gold alone, and the processor time of
Dawid-Skene on many rows by 50 labelers with 10% coverage. Majority is the baseline. Ends with 1 where labelers and gold
through Dawid-Skene are below .90 on average, or below gold alone + .10. The seven functions that are rules read every row;
the other three are imported votes, whose silence says nothing.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.sparse import vstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from services.labeling.aggregation.choice import Aggregate, Method, aggregate, credit
from services.labeling.aggregation.dawid_skene import dawid_skene
from services.labeling.aggregation.majority import majority
from services.labeling.aggregation.votes import Gold, Voter, no_gold, patterns_of, votes_from_matrix, votes_of

FILE = Path(__file__).resolve().parents[1] / "examples" / "youtube_comments" / "comments.csv"
CLASSES = ("ham", "spam")
IMPORTED = (7, 8, 9)
METHODS = (Method.MAJORITY, Method.SOFT_MAJORITY, Method.DAWID_SKENE)
console = Console()


class Comments:
    """Texts, truth and votes of the training rows (`train` and `valid`) and of the test rows."""

    def __init__(self) -> None:
        with FILE.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        test = np.array([row["split"] == "test" for row in rows])
        texts = np.array([row["text"] for row in rows], dtype=object)
        truth = np.array([CLASSES.index(row["label"]) for row in rows])
        votes = np.array([[CLASSES.index(row[f"lf_{j}"]) if row[f"lf_{j}"] else -1 for j in range(10)] for row in rows])
        self.truth, self.test_truth = truth[~test], truth[test]
        self.votes, self.test_votes = votes[~test], votes[test]
        encoder = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(texts[~test])
        self.features, self.test_features = encoder.transform(texts[~test]), encoder.transform(texts[test])
        self.voters = [Voter(name=f"lf_{j}", reads_every_row=j not in IMPORTED) for j in range(10)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--gold", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    comments = Comments()
    show("Label models alone: accuracy on the test rows (no gold, ties share)", _alone(comments))
    ends: dict[str, list[float]] = {"gold alone": [], **{method.value: [] for method in METHODS}}
    for draw in range(options.draws):
        chosen = np.random.default_rng(draw).choice(len(comments.truth), options.gold, replace=False)
        ends["gold alone"].append(_end_model(comments, np.eye(2)[comments.truth], chosen))
        for method in METHODS:
            labels, rows = _labels(comments, method, chosen)
            ends[method.value].append(_end_model(comments, labels, rows))
    title = f"Their labels with {options.gold} random gold rows -> TF-IDF logistic regression, {options.draws} draws"
    show(title, [(name, np.mean(scores), np.std(scores), np.min(scores)) for name, scores in ends.items()])
    timed = _speed(options.rows)
    show(f"{options.rows:,} rows x 50 labelers, 10% coverage, 2 classes", timed, ("step", "processor time", "", ""))
    reached, alone = np.mean(ends[Method.DAWID_SKENE.value]), np.mean(ends["gold alone"])
    good = reached >= 0.90 and reached >= alone + 0.10
    console.print(f"{'PASS' if good else 'FAIL'}: {reached:.3f} >= .90, and {reached - alone:+.3f} over gold alone >= +.10")
    return 0 if good else 1


def _alone(comments: Comments) -> list[tuple[object, ...]]:
    """Fitted on the votes of all rows; no label is read."""
    rows = []
    both = votes_from_matrix(np.concatenate([comments.votes, comments.test_votes]), 2, comments.voters)
    for method in METHODS:
        found = aggregate(both, no_gold(2), method)
        told = found.cases[found.case_of[len(comments.votes) :]]
        truth = np.eye(2, dtype=bool)[comments.test_truth]
        rows.append((f"{method.value}{_fallback(found)}", float(credit(told, truth).mean()), "", ""))
    return rows


def _labels(comments: Comments, method: Method, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label probabilities of all training rows, and which rows have a vote or gold."""
    rows = np.sort(chosen)
    gold = Gold(rows=rows, members=np.eye(2, dtype=bool)[comments.truth[rows]], estimates=np.ones(len(rows), dtype=bool))
    votes = votes_from_matrix(comments.votes, 2, comments.voters)
    found = aggregate(votes, gold, method)
    labels = found.cases[found.case_of]
    labels[rows] = gold.members
    labeled = votes.covered()
    labeled[rows] = True
    return labels, np.flatnonzero(labeled)


def _end_model(comments: Comments, labels: np.ndarray, rows: np.ndarray) -> float:
    """Test accuracy of a logistic regression on soft labels: each row once per class, weighted by its probability."""
    features = vstack([comments.features[rows]] * 2)
    classes, weights = np.repeat([0, 1], len(rows)), labels[rows].T.ravel()
    kept = weights > 1e-4
    if len(np.unique(classes[kept])) < 2:
        return float((comments.test_truth == classes[kept][0]).mean())
    model = LogisticRegression(C=10, max_iter=500).fit(features[kept], classes[kept], sample_weight=weights[kept])
    return float((model.predict(comments.test_features) == comments.test_truth).mean())


def _speed(rows: int) -> list[tuple[object, ...]]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, rows)
    pairs = np.unique(rng.integers(0, rows * 50, rows * 5))
    row, voter = pairs // 50, pairs % 50
    accuracy = rng.uniform(0.6, 0.9, 50)
    cls = np.where(rng.random(len(pairs)) < accuracy[voter], truth[row], 1 - truth[row])
    voters = [Voter(name=str(j), reads_every_row=True) for j in range(50)]
    votes = votes_of(rows=rows, classes=2, voters=voters, row=row, voter=voter, cls=cls)
    patterns, grouping = _timed(lambda: patterns_of(votes, np.full(rows, -1)))
    counted, counting = _timed(lambda: majority(patterns, 2))
    fit, fitting = _timed(lambda: dawid_skene(patterns, votes.voters, 2))
    right = [float((cases[patterns.inverse].argmax(axis=1) == truth).mean()) for cases in (counted, fit.posterior)]
    return [
        ("grouping equal rows", f"{grouping:.2f} s", f"{len(patterns):,} patterns", ""),
        ("majority", f"{counting:.2f} s", "", f"accuracy {right[0]:.3f}"),
        ("Dawid-Skene", f"{fitting:.2f} s", f"{fit.iterations} rounds", f"accuracy {right[1]:.3f}"),
    ]


def _timed(work: Callable[[], object]) -> tuple[object, float]:
    began = time.process_time()
    result = work()
    return result, time.process_time() - began


def _fallback(found: Aggregate) -> str:
    return f" (fell back: {found.notes[0]})" if found.notes else ""


def show(title: str, rows: list[tuple[object, ...]], head: tuple[str, ...] = ("system", "mean", "sd", "least")) -> None:
    table = Table(title=title, title_justify="left", min_width=90)
    for name in head:
        table.add_column(name, justify="left" if name == head[0] else "right")
    for row in rows:
        table.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
