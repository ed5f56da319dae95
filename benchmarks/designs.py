"""Do designs earn their keep? Ad clicks over 20 holdouts, and women's clothing reviews without `Rating`. By the public API.

    python benchmarks/designs.py ad-click [--salts 20]
    python benchmarks/designs.py womens

Ad clicks: `brew` beside scikit-learn's logistic regression on the same rows, and text + table beside the table alone (the
text is noise there). Women's clothing: text + table beside each modality alone and TF-IDF logistic regression.
Ends with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from product import WOMENS, console, holdout, product, run_all, shared_data, show, verdict
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from regrow import Client
from regrow.labeling.v1 import datasets_pb2
from regrow.training.v1 import runs_pb2

AD_NUMBERS = ["Daily Time Spent on Site", "Age", "Area Income", "Daily Internet Usage", "Male"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("story", choices=["ad-click", "womens"])
    parser.add_argument("--salts", type=int, default=20)
    options = parser.parse_args()
    started = time.perf_counter()
    code = ad_click(options.salts) if options.story == "ad-click" else womens()
    console.print(f"{time.perf_counter() - started:.0f} s in all")
    return code


def ad_click(salts: int) -> int:
    file = shared_data() / "ad_click" / "advertising.csv"
    frame = pd.read_csv(file)
    designs = ["brew", "table", "text-table"]
    with product() as (_, client):
        submitted, peers = [], []
        for salt in range(salts):
            dataset = f"ads-{salt}"
            carve = datasets_pb2.Holdout(salt=str(salt), ignored_columns=["Clicked on Ad"])
            client.import_file(file, dataset_id=dataset, holdout=carve, kinds={"Ad Topic Line": "text"})
            client.create_spec(f"click-{salt}", dataset=dataset, target="Clicked on Ad", metric="macro_f1")
            made = client.create_label_set(dataset, problem_spec=f"click-{salt}")
            submitted += [client.create_run(made.name, model="click", template=design) for design in designs]
            peers.append(_ad_peer(frame, _held_out(client, dataset)))
        runs = run_all(client, submitted)
    f1 = {design: np.array([holdout(run, "macro_f1") for run in runs[i::3]]) for i, design in enumerate(designs)}
    joint = np.array([_head(run, "joint") for run in runs[2::3]])
    _answered(runs[2::3])
    ours_lr = np.array([holdout(run, "macro_f1", "logistic_regression") for run in runs[0::3]])
    peer = np.array(peers)
    rows = [
        ("majority class (baseline)", *_spread([holdout(run, "macro_f1", "majority_class") for run in runs[0::3]])),
        ("scikit-learn logistic regression, numbers (peer)", *_spread(peer)),
        ("logistic regression in the run's report (baseline)", *_spread(ours_lr)),
        *((design, *_spread(values)) for design, values in f1.items()),
        ("text-table's joint head alone", *_spread(joint)),
    ]
    show(f"Ad clicks, macro F1 over {salts} holdouts", ["system", "mean", "sd", "least"], rows)
    brew, best = f1["brew"].mean(), max(peer.mean(), ours_lr.mean())
    both, table = f1["text-table"].mean(), f1["table"].mean()
    return verdict(
        [
            (f"brew {brew:.4f} >= logistic regression {best:.4f} - .005", brew >= best - 0.005),
            (f"text-table as it answers {both:.4f} >= table alone {table:.4f} - .008", both >= table - 0.008),
            (f"its joint head alone {joint.mean():.4f} >= table alone {table:.4f} - .008", joint.mean() >= table - 0.008),
        ]
    )


def womens() -> int:
    frame = pd.read_csv(WOMENS)
    designs = ["text-brew", "table", "text-table", "brew"]
    excluded = ["Rating", "row_id"]
    rare = "0"  # who doesn't recommend: one in five; precision about the others is near 1 for anything that reads
    with product() as (_, client):
        carve = datasets_pb2.Holdout(ignored_columns=["Recommended IND", "row_id"])
        client.import_file(WOMENS, dataset_id="womens", holdout=carve, kinds={"Title": "text", "Review Text": "text"})
        client.create_spec(
            "recommended",
            dataset="womens",
            target="Recommended IND",
            metric="average_precision",
            excluded_columns=excluded,
            positive_class=rare,
        )
        made = client.create_label_set("womens", problem_spec="recommended")
        held = _held_out(client, "womens")
        runs = dict(
            zip(
                designs,
                run_all(client, [client.create_run(made.name, model="womens", template=d) for d in designs]),
                strict=True,
            )
        )
    peer = _womens_peer(frame, held)
    metrics = ["average_precision", "macro_f1", "accuracy"]
    rows: list[Any] = [("scikit-learn TF-IDF logistic regression (peer)", *(peer[m] for m in metrics))]
    rows += [
        (f"{name} (baseline)", *(holdout(runs["brew"], m, name) for m in metrics))
        for name in ("majority_class", "logistic_regression")
    ]
    rows += [(design, *(holdout(run, m) for m in metrics)) for design, run in runs.items()]
    joint = _head(runs["text-table"], "joint")
    rows.append(("text-table's joint head alone", joint, float("nan"), float("nan")))
    show(f"Women's clothing without Rating, {len(held)} holdout rows", ["system", *metrics], rows)
    _answered([runs["text-table"]])
    ap = {design: holdout(run, "average_precision") for design, run in runs.items()}
    single = max(ap["text-brew"], ap["table"])
    return verdict(
        [
            (
                f"text-table as it answers {ap['text-table']:.4f} >= better single modality {single:.4f} - .003",
                ap["text-table"] >= single - 0.003,
            ),
            (f"its joint head alone {joint:.4f} >= better single modality {single:.4f} - .003", joint >= single - 0.003),
        ]
    )


def _head(run: runs_pb2.Run, head: str) -> float:
    """The spec's metric of one head alone, on the holdout."""
    return next(one.score.value for one in run.report.head_scores if one.head == head)


def _answered(runs: Sequence[runs_pb2.Run]) -> None:
    """Says by which heads the runs answer: a run that answers by one modality tells nothing of fusion."""
    counts = Counter(run.report.prediction_head for run in runs)
    console.print("text-table answers by: " + ", ".join(f"{head} in {count}" for head, count in counts.most_common()))


def _held_out(client: Client, dataset: str) -> np.ndarray:
    """Row numbers of the holdout, as the product carved it."""
    found, token = [], ""
    while True:
        request = datasets_pb2.ListRowsRequest(
            parent=f"{client.name('datasets', dataset)}/versions/latest", page_size=1000, page_token=token
        )
        answer = client.datasets.ListRows(request)
        found += [row.number for row in answer.rows if row.holdout]
        token = answer.next_page_token
        if not token:
            return np.array(found)


def _ad_peer(frame: pd.DataFrame, held: np.ndarray) -> float:
    training = frame.drop(index=held)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(training[AD_NUMBERS], training["Clicked on Ad"])
    return float(f1_score(frame.loc[held, "Clicked on Ad"], model.predict(frame.loc[held, AD_NUMBERS]), average="macro"))


def _womens_peer(frame: pd.DataFrame, held: np.ndarray) -> dict[str, float]:
    frame = frame.assign(words=frame["Title"].fillna("") + " " + frame["Review Text"].fillna(""))
    categories = ["Division Name", "Department Name", "Class Name"]
    frame[categories] = frame[categories].fillna("missing")
    training, test = frame.drop(index=held), frame.loc[held]
    columns = make_column_transformer(
        (TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True), "words"),
        (StandardScaler(), ["Age", "Positive Feedback Count"]),
        (OneHotEncoder(handle_unknown="ignore"), categories),
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(training, training["Recommended IND"])
    truth, p = test["Recommended IND"], model.predict_proba(test)[:, 1]
    return {
        "average_precision": float(average_precision_score(1 - truth, 1 - p)),
        "macro_f1": float(f1_score(truth, p >= 0.5, average="macro")),
        "accuracy": float(accuracy_score(truth, p >= 0.5)),
    }


def _spread(values: Any) -> tuple[float, float, float]:
    array = np.asarray(values)
    return float(array.mean()), float(array.std()), float(array.min())


if __name__ == "__main__":
    sys.exit(main())
