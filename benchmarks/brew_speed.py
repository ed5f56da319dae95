"""From an uploaded file to a score: `brew` through the product beside a bare scikit-learn script on the same file, as a ratio.

    python benchmarks/brew_speed.py [--rounds 3]

The product does more in that time: it infers kinds, profiles, carves the holdout, calibrates, measures intervals and
baselines, verifies the bundle, registers it. The script reads, fits TF-IDF + one-hot + scaling + logistic regression, scores.
Both are timed from the moment the file is on disk; the services run already, the script starts a Python of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from product import WOMENS, console, holdout, product, run_all, show

from regrow.labeling.v1 import datasets_pb2

SCRIPT = """
import sys, pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
frame = pd.read_csv(sys.argv[1])
frame["words"] = frame["Title"].fillna("") + " " + frame["Review Text"].fillna("")
categories = ["Division Name", "Department Name", "Class Name"]
frame[categories] = frame[categories].fillna("missing")
train, test = train_test_split(frame, test_size=0.2, random_state=0)
columns = make_column_transformer(
    (TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True), "words"),
    (StandardScaler(), ["Age", "Positive Feedback Count"]),
    (OneHotEncoder(handle_unknown="ignore"), categories),
)
model = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(train, train["Recommended IND"])
print(f1_score(test["Recommended IND"], model.predict(test), average="macro"))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    ours, theirs, scores = [], [], []
    with product(concurrent_runs=1) as (_, client):
        for i in range(rounds):
            started = time.perf_counter()
            carve = datasets_pb2.Holdout(ignored_columns=["Recommended IND", "row_id"])
            client.import_file(WOMENS, dataset_id=f"w{i}", holdout=carve, kinds={"Title": "text", "Review Text": "text"})
            client.create_spec(f"w{i}", dataset=f"w{i}", target="Recommended IND", excluded_columns=["Rating", "row_id"])
            made = client.create_label_set(f"w{i}", problem_spec=f"w{i}")
            run = run_all(client, [client.create_run(made.name, model="w", template="brew")])[0]
            ours.append(time.perf_counter() - started)
            started = time.perf_counter()
            printed = subprocess.run([sys.executable, "-c", SCRIPT, str(WOMENS)], check=True, capture_output=True, text=True)
            theirs.append(time.perf_counter() - started)
            scores.append((holdout(run, "macro_f1"), float(printed.stdout)))
    rows = [
        ("bare scikit-learn script", statistics.median(theirs), scores[-1][1]),
        ("brew through the product", statistics.median(ours), scores[-1][0]),
    ]
    show(f"5,000 reviews, upload to score, median of {rounds}", ["system", "seconds", "macro F1 (own holdouts)"], rows)
    console.print(
        f"The product takes {statistics.median(ours) / statistics.median(theirs):.2f} times as long as the bare script."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
