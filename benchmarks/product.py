"""What the benchmarks share: a Regrow of their own on this machine, and the short way through its public API."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from regrow import Client
from regrow.labeling.v1 import datasets_pb2, label_sets_pb2, votes_pb2
from regrow.local.launcher import Local
from regrow.training.v1 import runs_pb2

ROOT = Path(__file__).parents[1]
YOUTUBE = ROOT / "examples" / "youtube_comments" / "comments.csv"
WOMENS = ROOT / "examples" / "womens_clothing" / "reviews.csv"
LFS = tuple(f"lf_{i}" for i in range(10))
console = Console(width=None if os.isatty(1) else 120)


def shared_data() -> Path:
    """The folder of data sets that aren't shipped. Raises `SystemExit` that says how to name it."""
    folder = Path(os.environ.get("REGROW_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        raise SystemExit(f"No data in '{folder}'. Set REGROW_SHARED_DATA to the folder that has ad_click/advertising.csv.")
    return folder


@contextmanager
def product(*, concurrent_runs: int = 2) -> Iterator[tuple[Local, Client]]:
    """Four services in an empty folder, and a client of them; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="regrow-benchmark-") as folder:
        settings = {"REGROW_TRAINING_CONCURRENT_RUNS": str(concurrent_runs), "REGROW_LOG_LEVEL": "WARNING"}
        local = Local(data=Path(folder), free_ports=True, settings=settings, tell=lambda line: console.print(line, style="dim"))
        with local, Client(local.grpc_address, local.admin_key, timeout=600) as client:
            yield local, client


def run_all(client: Client, submitted: Sequence[runs_pb2.Run]) -> list[runs_pb2.Run]:
    """Waits for runs; raises `SystemExit` with what a failed one says."""
    ended = []
    for run in submitted:
        run = client.wait_for_run(run.name)
        if run.state != runs_pb2.RUN_STATE_SUCCEEDED:
            raise SystemExit(f"{run.name} failed: {run.problem}")
        ended.append(run)
    return ended


def holdout(run: runs_pb2.Run, metric: str, baseline: str = "") -> float:
    """A metric on the holdout, of the model or of one of the baselines beside it."""
    scores = run.report.holdout
    if baseline:
        scores = next(b.scores for b in run.report.baselines if b.name == baseline)
    return next(score.value for score in scores if score.metric == metric)


def test_split() -> datasets_pb2.Holdout:
    """Rows whose `split` is `test` are held out."""
    return datasets_pb2.Holdout(split_column="split", split_values=["test"])


def vote_for_gold(client: Client, dataset: str, labeler: str, truth: Mapping[int, str]) -> None:
    """Writes random gold labels, row to class, as votes of a human labeler."""
    name = client.name("labelers", labeler)
    client.write_votes(
        dataset,
        [
            votes_pb2.Vote(row=row, labeler=name, class_names=[label], drawn=votes_pb2.DRAWN_RANDOM)
            for row, label in truth.items()
        ],
    )


def label_set(client: Client, dataset: str, spec: str, labelers: Sequence[str], **fields: Any) -> label_sets_pb2.LabelSet:
    """A label set of these labelers' votes alone, without the target column's training cells."""
    return client.create_label_set(
        dataset,
        problem_spec=spec,
        labelers=[client.name("labelers", one) for one in labelers],
        ignore_target_column=True,
        **fields,
    )


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table; floats with three decimals."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


def verdict(checks: Sequence[tuple[str, bool]]) -> int:
    """Prints each check; answers 1 where one failed."""
    for sentence, passed in checks:
        console.print(f"[{'green' if passed else 'red'}]{'passes' if passed else 'FAILS '}[/] {sentence}")
    return 0 if all(passed for _, passed in checks) else 1
