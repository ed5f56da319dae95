"""YouTube comments from 20 gold labels: labelers and gold, beside gold alone and majority vote. Through the public API.

    python benchmarks/weak_supervision.py [--draws 20] [--gold 20] [--design brew]

Each draw takes other random gold rows of the training split; the 250 test rows are the same for all. The ten labeling
functions' votes are columns of the file. Ends with 1 where the mean accuracy is below .90, or below gold alone + .10.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import pandas as pd
from product import LFS, YOUTUBE, console, holdout, label_set, product, run_all, show, test_split, verdict, vote_for_gold

from regrow import Client
from regrow.labeling.v1 import labelers_pb2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--gold", type=int, default=20)
    parser.add_argument("--design", default="brew")
    options = parser.parse_args()
    frame = pd.read_csv(YOUTUBE)
    started = time.perf_counter()
    with product() as (_, client):
        _prepare(client)
        draws = [_draw(client, frame, options.design, options.gold, draw) for draw in range(options.draws)]
        runs = run_all(client, [run for pair in draws for run in pair])
        majority_end = run_all(client, [_majority_run(client, options.design)])[0]
    weak = np.array([holdout(run, "accuracy") for run in runs[0::2]])
    gold = np.array([holdout(run, "accuracy") for run in runs[1::2]])
    test = frame[frame["split"] == "test"]
    vote = _majority_vote(test)
    rows = [
        ("majority vote of the labelers, no model", vote, "", ""),
        (f"majority-vote labels -> {options.design}, no gold", holdout(majority_end, "accuracy"), "", ""),
        (f"{options.gold} gold alone -> {options.design}", gold.mean(), gold.std(), gold.min()),
        (f"labelers + {options.gold} gold -> {options.design}", weak.mean(), weak.std(), weak.min()),
    ]
    show(f"YouTube comments, {options.draws} draws, 250 test rows, accuracy", ["system", "mean", "sd", "least"], rows)
    console.print(f"{time.perf_counter() - started:.0f} s in all")
    return verdict(
        [
            (f"mean accuracy {weak.mean():.3f} >= .90", weak.mean() >= 0.90),
            (f"{weak.mean() - gold.mean():+.3f} over gold alone >= +.10", weak.mean() >= gold.mean() + 0.10),
        ]
    )


def _prepare(client: Client) -> None:
    client.import_file(YOUTUBE, dataset_id="youtube", holdout=test_split())
    excluded = ["split", *LFS]
    client.create_spec("spam", dataset="youtube", target="label", metric="accuracy", excluded_columns=excluded)
    for name in LFS:
        labeler = name.replace("_", "-")
        client.create_labeler(labeler, problem_spec="spam", column=labelers_pb2.ColumnLabeler(column=name))
    for outcome in client.apply_labelers("youtube", problem_spec="spam").outcomes:
        if outcome.problem:
            raise SystemExit(f"{outcome.labeler}: {outcome.problem}")


def _draw(client: Client, frame: pd.DataFrame, design: str, gold: int, draw: int) -> tuple[object, object]:
    training = frame.index[frame["split"] == "train"].to_numpy()
    picked = np.random.default_rng(draw).choice(training, gold, replace=False)
    labeler = f"gold-{draw}"
    client.create_labeler(labeler, problem_spec="spam", human=labelers_pb2.HumanLabeler(gold=True))
    vote_for_gold(client, "youtube", labeler, {int(row): frame["label"][row] for row in picked})
    weak = label_set(client, "youtube", "spam", [*(name.replace("_", "-") for name in LFS), labeler])
    alone = label_set(client, "youtube", "spam", [labeler])
    return tuple(client.create_run(one.name, model="spam", template=design) for one in (weak, alone))


def _majority_run(client: Client, design: str) -> object:
    made = label_set(client, "youtube", "spam", [name.replace("_", "-") for name in LFS], method="majority")
    return client.create_run(made.name, model="spam", template=design)


def _majority_vote(test: pd.DataFrame) -> float:
    """Ties and rows without a vote go to either class by a coin with a fixed seed."""
    spam, ham = (test[list(LFS)] == "spam").sum(axis=1), (test[list(LFS)] == "ham").sum(axis=1)
    coin = np.random.default_rng(0).random(len(test)) < 0.5
    said = np.where(spam == ham, coin, spam > ham)
    return float((said == (test["label"] == "spam")).mean())


if __name__ == "__main__":
    sys.exit(main())
