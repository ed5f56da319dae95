"""The second story: comments under music videos, spam or not, labeled by rules that somebody wrote and 20 answers of a person.

Seven of the ten labeling functions of the Snorkel spam tutorial are rewritten as labelers (they vote as the originals do,
row by row); three need a parser or a sentiment model, so their votes are imported.
"""

from __future__ import annotations

import csv
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import demo_steps as steps
from demo_http import Rest
from demo_report import Report, percent

from regrow import Client
from regrow.labeling.v1 import annotation_pb2, datasets_pb2, label_sets_pb2, votes_pb2
from regrow.names import short

FILE = Path(__file__).parent / "youtube_comments" / "comments.csv"
GOLD, PRODUCTION, DRAW = 20, 300, 11
SPAM, HAM = "spam", "ham"
LABELERS: dict[str, dict[str, Any]] = {
    "my": {"keyword": {"column": "text", "keywords": ["my"], "within_words": True, "class_name": SPAM}},
    "subscribe": {"keyword": {"column": "text", "keywords": ["subscribe"], "within_words": True, "class_name": SPAM}},
    "link": {"keyword": {"column": "text", "keywords": ["http"], "within_words": True, "class_name": SPAM}},
    "please": {"keyword": {"column": "text", "keywords": ["please", "plz"], "within_words": True, "class_name": SPAM}},
    "song": {"keyword": {"column": "text", "keywords": ["song"], "within_words": True, "class_name": HAM}},
    "check-out": {"regex": {"column": "text", "pattern": r"(?s)check.*out", "class_name": SPAM}},
    "short": {"sql": {"expression": r"len(string_split_regex(trim(text), '\s+')) < 5", "class_name": HAM}},
}
EXAMPLES = ("Check out my new channel and subscribe, please", "This song never gets old")
IMPORTED = {"person": ("lf_7", "a parser"), "polarity": ("lf_8", "TextBlob"), "subjectivity": ("lf_9", "TextBlob")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comments:
    """`imported` go into the data set (training rows without a label, then the holdout), `production` come later."""

    imported: list[dict[str, str]]
    production: list[dict[str, str]]

    @property
    def truth(self) -> list[str]:
        """The class of each imported row, which only the demo knows."""
        return [row["label"] for row in self.imported]


def comments(*, training: int = 1286, production: int = PRODUCTION, draw: int = DRAW) -> Comments:
    """The same rows for the same draw: at most this many to train on and for production, and the whole test split."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    known = [row for row in rows if row["split"] == "train"]
    random.Random(draw).shuffle(known)
    kept = known[production : production + training]
    return Comments(imported=[*kept, *(row for row in rows if row["split"] == "test")], production=known[:production])


def import_comments(client: Client, rows: Comments, dataset: str, *, gold: Sequence[int] = ()) -> datasets_pb2.Dataset:
    """Training rows are imported without their label, all but those whose numbers are in `gold`."""
    shown = set(gold)
    holdout = datasets_pb2.Holdout(split_column="split", split_values=["test"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "comments.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["split", "text", "label"])
            for number, row in enumerate(rows.imported):
                known = row["split"] == "test" or number in shown
                writer.writerow([row["split"], row["text"], row["label"] if known else ""])
        return client.import_file(path, dataset_id=dataset, holdout=holdout, kinds={"text": "text", "label": "categorical"})


def make_labelers(client: Client, spec: str) -> None:
    """The ten: seven that vote by themselves, three whose votes are written."""
    for name, definition in LABELERS.items():
        client.create_labeler(name, problem_spec=spec, **definition)
    for name, (_, origin) in IMPORTED.items():
        client.create_labeler(name, problem_spec=spec, imported={"origin": f"votes of {origin}, made elsewhere"})


def imported_votes(client: Client, rows: Comments) -> list[votes_pb2.Vote]:
    """The votes of the three on the training rows."""
    return [
        votes_pb2.Vote(row=number, labeler=client.name("labelers", name), class_names=[row[column]])
        for name, (column, _) in IMPORTED.items()
        for number, row in enumerate(rows.imported)
        if row["split"] == "train" and row[column]
    ]


def answer_by_hand(client: Client, rows: Comments, dataset: str, spec: str, count: int) -> list[annotation_pb2.RowToLabel]:
    """A person answers `count` training rows drawn at random, one of them wrongly at first. Answers the rows shown."""
    parent, labeler = (
        client.name("datasets", dataset),
        client.create_labeler("expert", problem_spec=spec, human={"gold": True}).name,
    )
    wanted = annotation_pb2.NextRowsRequest(
        parent=parent, problem_spec=client.name("problemSpecs", spec), labeler=labeler, annotator="ada", count=count,
        strategy=annotation_pb2.ROW_STRATEGY_RANDOM, holdout=False,
    )  # fmt: skip
    shown = list(client.annotation.NextRows(wanted).rows)
    for turn, one in enumerate(shown):
        truth = rows.truth[one.row.number]
        if turn == 0:
            _submit(client, parent, labeler, one, SPAM if truth == HAM else HAM)
            client.annotation.UndoAnnotation(
                annotation_pb2.UndoAnnotationRequest(parent=parent, labeler=labeler, annotator="ada")
            )
        _submit(client, parent, labeler, one, truth)
    return shown


def _submit(client: Client, parent: str, labeler: str, one: annotation_pb2.RowToLabel, label: str) -> None:
    client.annotation.SubmitAnnotation(
        annotation_pb2.SubmitAnnotationRequest(
            parent=parent, labeler=labeler, row=one.row.number, class_names=[label], annotator="ada", drawn=one.drawn
        )
    )


def tell(client: Client, rest: Rest, report: Report) -> None:
    """The whole story. Raises `StepFailed` where a step of the loop didn't happen."""
    report.title(
        "Story 2: YouTube comments, spam or not",
        f"Ten rules that somebody wrote and {GOLD} answers of a person; then {PRODUCTION} labels come back from production.",
    )
    rows = comments()
    with report.step("Import comments without labels, and say what is predicted"):
        dataset = import_comments(client, rows, "comments")
        client.create_spec("spam", dataset="comments", target="label", metric="accuracy")
        version = dataset.latest_version
        report.say(f"{version.row_count:,} comments, none labeled but the {version.holdout_count} that are held out.")
    with report.step("Seven labelers by rule, three by imported votes"):
        _labelers(client, report, rows)
    with report.step(f"A person answers {GOLD} rows drawn at random"):
        _answers(client, report, rows)
    with report.step("Majority vote beside Dawid and Skene's label model"):
        label_set = _label_sets(client, report, rows)
    with report.step("Train the end model; the same on the gold labels alone beside it"):
        best = _train(client, report, label_set)
    _regrow(client, rest, report, rows, best.version)


def _labelers(client: Client, report: Report, rows: Comments) -> None:
    make_labelers(client, "spam")
    steps.apply(client, report, "comments", "spam")
    written = client.write_votes("comments", imported_votes(client, rows))
    report.say(f"{written.written:,} votes were imported for {', '.join(IMPORTED)}.")
    report.must(written.written, "No vote was written.")


def _answers(client: Client, report: Report, rows: Comments) -> None:
    shown = answer_by_hand(client, rows, "comments", "spam", GOLD)
    report.must(len(shown) == GOLD, f"{len(shown)} rows were offered.")
    progress = client.annotation.GetAnnotationProgress(
        annotation_pb2.GetAnnotationProgressRequest(
            parent=client.name("datasets", "comments"), labeler=client.name("labelers", "expert")
        )
    )
    counted = ", ".join(f"{one.training_rows} {one.class_name}" for one in progress.classes)
    report.say(f"Answered, after one slip that was undone: {counted}. One of them: {dict(shown[0].row.values)['text']!r}")
    report.must(progress.answered_rows == GOLD, f"{progress.answered_rows} rows count as answered.")


def _label_sets(client: Client, report: Report, rows: Comments) -> str:
    table, chosen = [], ""
    for method in ("majority", "dawid_skene"):
        made = client.create_label_set("comments", problem_spec="spam", label_set_id=method.replace("_", "-"), method=method)
        right, covered = steps.label_quality(client, made, rows.truth)
        used = label_sets_pb2.AggregationMethod.Name(made.method_used).removeprefix("AGGREGATION_METHOD_").lower()
        table.append((method, used, f"{covered:,}", percent(right)))
        chosen = made.name
    report.table(["asked for", "used", "#rows labeled by votes", "#right (only the demo knows)"], table)
    steps.show_label_set(report, made)
    return chosen


def _train(client: Client, report: Report, label_set: str) -> Any:
    steps.train(client, report, label_set, model="spam", template="brew", express=True)
    best = steps.show_leaderboard(client, report, label_set)
    steps.promote(client, report, best, "spam")
    return best


def _regrow(client: Client, rest: Rest, report: Report, rows: Comments, champion: str) -> None:
    features = [{"text": row["text"]} for row in rows.production]
    with report.step(f"Production: {PRODUCTION} comments, whose true labels come back"):
        policy = steps.create_policy(client, "spam", "spam", feedback_count=PRODUCTION, promote_on_tie=True, tolerance=0.02)
        report.say("The policy promotes what is shown to be better, or is no worse than by 2 points of accuracy.")
        steps.predict_with_curl(report, rest, "spam", [{"text": text} for text in EXAMPLES])
        answered = steps.predict_all(client, report, "spam", features)
        truth = [row["label"] for row in rows.production]
        right = sum(said == true for (_, said), true in zip(answered, truth, strict=True))
        report.say(f"{len(answered)} answered by {short(champion)}, {percent(right / len(answered))} of them right.")
        sent = steps.send_labels(client, "spam", [(p, t) for (p, _), t in zip(answered, truth, strict=True)], "moderators")
        report.must(sent == PRODUCTION, f"{sent} of {PRODUCTION} labels were accepted.")
    with report.step("Regrowth"):
        regrowth = steps.watch_regrowth(client, report, policy.name)
        swapped = steps.wait_until_served(client, "spam", regrowth.challenger)
        report.must(swapped, f"The gateway still answers with {steps.served_version(client, 'spam')}.")
        report.good(f"{short(champion)} answered before, {short(regrowth.challenger)} answers now.")
