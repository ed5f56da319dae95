"""The first story: an online shop's reviews, text and table. Would the customer recommend the piece?

All 5,000 reviews have their label; the demo plays as if most had none: 200 are the seed, 1,000 measure (the holdout), 900
arrive later as production traffic whose labels come back as feedback, and the rest is imported without its label.
"""

from __future__ import annotations

import csv
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import demo_steps as steps
from demo_http import Rest
from demo_report import Report, percent

from regrow import Client
from regrow.labeling.v1 import datasets_pb2
from regrow.names import short
from regrow.training.v1 import runs_pb2
from regrow.types.v1 import problem_spec_pb2, schema_pb2

FILE = Path(__file__).parent / "womens_clothing" / "reviews.csv"
TARGET, TITLE, TEXT = "Recommended IND", "Title", "Review Text"
SEED, HOLDOUT, PRODUCTION, DRAW = 200, 1_000, 900, 7
YES, NO = "recommends", "does-not"
CLASSES = [
    {"name": YES, "description": "The customer would recommend the piece.", "source_values": ["1"]},
    {"name": NO, "description": "The customer would not.", "source_values": ["0"]},
]
PRAISE = (
    "perfect", "perfectly", "compliments", "comfortable", "comfy", "versatile", "great", "so glad", "highly recommend",
)  # fmt: skip
COMPLAINTS = (
    "cheap", "poor", "poorly", "awful", "horrible", "terrible", "ugly", "worst", "unflattering",
    "disappointing", "disappointed",
)  # fmt: skip
LABELERS: dict[str, dict[str, Any]] = {
    "praise": {
        "description": "Words that happy customers use.",
        "keyword": {"column": TEXT, "class_name": YES, "keywords": PRAISE},
    },
    "praise-in-title": {
        "description": "A title that praises.",
        "regex": {
            "column": TITLE,
            "class_name": YES,
            "pattern": r"love|perfect|great|beautiful|gorgeous|cute|favorite|comf|fabulous|amazing|stunning",
        },
    },
    "exclaims": {
        "description": "Three exclamation marks or more.",
        "sql": {"expression": f"""length("{TEXT}") - length(replace("{TEXT}", '!', '')) >= 3""", "class_name": YES},
    },
    "wanted-to-love": {
        "description": "The polite beginning of a complaint.",
        "regex": {
            "column": TEXT,
            "class_name": NO,
            "pattern": r"\bwanted (so (much|badly) )?to (love|like)\b|\breally wanted (it )?to",
        },
    },
    "goes-back": {
        "description": "The piece goes back to the shop.",
        "regex": {
            "column": TEXT,
            "class_name": NO,
            "pattern": r"\b(returning|returned|go(ing|es) back|went back|sent (it )?back|sending (it|this|them) back)\b",
        },
    },
    "quality": {
        "description": "Complaints about fabric and make.",
        "keyword": {"column": TEXT, "class_name": NO, "keywords": COMPLAINTS},
    },
    "complaint-in-title": {
        "description": "A title that complains.",
        "sql": {
            "expression": f"""CASE WHEN regexp_matches(lower("{TITLE}"), 'disappoint|cheap|huge|poor|return|wanted|weird|awful|'
                || 'unflattering|not for|strange|too (big|small|short|large)') THEN '{NO}' END"""
        },
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The rows as the demo plays them: `imported` go into the file (some without their label), `production` come later."""

    header: list[str]
    imported: list[dict[str, str]]
    production: list[dict[str, str]]
    truth: list[str]
    """The class of each imported row, which only the demo knows."""


def cut() -> Cut:
    """The same cut every time."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    header = ["split", *rows[0]]
    random.Random(DRAW).shuffle(rows)
    holdout, rest = rows[:HOLDOUT], rows[HOLDOUT:]
    production, training = rest[:PRODUCTION], rest[PRODUCTION:]
    truth = [_class(row) for row in [*training, *holdout]]
    imported = [{**row, "split": "train", TARGET: row[TARGET] if i < SEED else ""} for i, row in enumerate(training)]
    imported += [{**row, "split": "test"} for row in holdout]
    return Cut(header=header, imported=imported, production=production, truth=truth)


def tell(client: Client, rest: Rest, report: Report) -> None:
    """The whole story. Raises `StepFailed` where a step of the loop didn't happen."""
    report.title(
        "Story 1: women's clothing reviews, text and table",
        f"Would the customer recommend the piece? {SEED} labeled reviews, thousands without a label, a table beside the text.",
    )
    rows = cut()
    with report.step("Import, and what was understood"):
        _import(client, report, rows)
    with report.step("Say what is predicted, and see a column that gives the label away"):
        _spec(client, report)
    with report.step(f"Seven labelers, tried on the {SEED} gold labels before they vote"):
        _labelers(client, report)
    with report.step("Let them vote, and make a label set of votes and gold"):
        label_set = _label_set(client, report, rows.truth)
    with report.step("Train: brew in seconds, then text and table fused"):
        for template in ("brew", "text-table"):
            steps.train(client, report, label_set, model="reviews", template=template)
    with report.step("The leaderboard, trivial baselines beside it; the best by selection score is promoted"):
        best = steps.show_leaderboard(client, report, label_set)
        steps.promote(client, report, best, "reviews")
    with report.step("Predict"):
        steps.predict_with_curl(report, rest, "reviews", [_features(row) for row in _short(rows.production)])
    _regrow(client, rest, report, rows, best)


def _import(client: Client, report: Report, rows: Cut) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reviews.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows.header)
            writer.writeheader()
            writer.writerows(rows.imported)
        size = path.stat().st_size
        with report.progress("uploading", total=size) as progress:
            dataset = client.import_file(
                path, dataset_id="reviews", kinds={"Clothing ID": "id", TARGET: "categorical"},
                holdout=datasets_pb2.Holdout(split_column="split"),
                sent=lambda sent: progress.update(progress.task_ids[0], completed=sent),
            )  # fmt: skip
    version = dataset.latest_version
    report.say(
        f"{size / 1e6:.1f} MB: {version.row_count:,} rows, {version.holdout_count:,} of them held out. "
        + " ".join(version.notes)
    )
    profile = client.datasets.GetProfile(datasets_pb2.GetProfileRequest(name=f"{dataset.name}/versions/latest"))
    seen = {one.column: one for one in profile.columns}
    report.table(
        ["column", "kind", "why", "#missing", "#distinct"],
        [
            (
                c.name,
                _kind(c.kind),
                c.inferred_because or "as you said",
                f"{seen[c.name].missing:,}",
                f"{seen[c.name].distinct:,}",
            )
            for c in version.schema.columns
        ],
    )
    report.must(version.row_count == len(rows.imported) and version.holdout_count == HOLDOUT, "Not all rows were imported.")


def _kind(kind: int) -> str:
    return schema_pb2.ColumnKind.Name(kind).removeprefix("COLUMN_KIND_").lower()


def _spec(client: Client, report: Report) -> None:
    first = client.create_spec("with-rating", dataset="reviews", target=TARGET, metric="macro_f1", classes=_classes())
    for warning in first.warnings:
        report.warn(warning)
    report.must(any("Rating" in warning for warning in first.warnings), "Nobody noticed that Rating gives the label away.")
    spec = client.create_spec(
        "recommends", dataset="reviews", target=TARGET, metric="macro_f1", classes=_classes(), excluded_columns=["Rating"],
        supersedes=first.name,
    )  # fmt: skip
    report.must(
        not any("Rating" in warning for warning in spec.warnings), f"The second spec still warns: {list(spec.warnings)}"
    )
    report.good(f"Without Rating, a model reads: {', '.join(column.name for column in spec.resolved_inputs)}.")


def _classes() -> list[problem_spec_pb2.ClassDefinition]:
    return [problem_spec_pb2.ClassDefinition(**one) for one in CLASSES]


def _labelers(client: Client, report: Report) -> None:
    rows = []
    for name, definition in LABELERS.items():
        tried = steps.preview(client, "recommends", definition)
        client.create_labeler(name, problem_spec="recommends", **definition)
        example = tried.examples[0].excerpt.replace("\n", " ")[:34] if tried.examples else ""
        rows.append((name, definition["description"], f"{tried.votes:,}", f"{tried.gold_right} of {tried.gold_votes}", example))
    report.table(["labeler", "what it looks for", "#votes", "#right on gold", "votes on"], rows)


def _label_set(client: Client, report: Report, truth: list[str]) -> str:
    steps.apply(client, report, "reviews", "recommends")
    made = client.create_label_set("reviews", problem_spec="recommends", label_set_id="seed-and-labelers")
    steps.show_label_set(report, made)
    report.must(made.training_rows > 2 * SEED, f"Only {made.training_rows} rows were labeled.")
    right, covered = steps.label_quality(client, made, truth)
    report.say(
        f"What only this demo can know: {percent(right)} of the {covered:,} labels made of votes are right.", style="dim"
    )
    return made.name


def _features(row: dict[str, str]) -> dict[str, Any]:
    """A row as the shop's own system would send it: numbers as numbers, nothing that isn't known yet."""
    sent: dict[str, Any] = {name: row[name] or None for name in (TITLE, TEXT, "Division Name", "Department Name", "Class Name")}
    return {**sent, "Age": int(row["Age"]), "Positive Feedback Count": int(row["Positive Feedback Count"])}


def _short(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """One short review of each class, for a line that fits on a screen."""
    found = sorted((row for row in rows if row[TITLE] and row[TEXT]), key=lambda row: len(row[TEXT]))
    return [next(row for row in found if _class(row) == label) for label in (YES, NO)]


def _class(row: dict[str, str]) -> str:
    return YES if row[TARGET] == "1" else NO


def _regrow(client: Client, rest: Rest, report: Report, rows: Cut, best: runs_pb2.Run) -> None:
    truth = [_class(row) for row in rows.production]
    with report.step(f"Production: {PRODUCTION} predictions, and a policy that retrains after {PRODUCTION} labels"):
        policy = steps.create_policy(
            client, "reviews", "reviews", feedback_count=PRODUCTION, promote_on_tie=True, tolerance=0.02
        )
        report.say("It promotes what is shown to be better, or is no worse than by 2 points of macro F1.")
        answered = steps.predict_all(client, report, "reviews", [_features(row) for row in rows.production])
        right = sum(said == true for (_, said), true in zip(answered, truth, strict=True))
        report.say(f"{len(answered)} rows answered, {percent(right / len(answered))} of them right, as the labels will tell.")
    with report.step("Feedback: what the customers really said, by prediction id"):
        sent = steps.send_labels(client, "reviews", [(p, t) for (p, _), t in zip(answered, truth, strict=True)], "shop")
        report.must(sent == PRODUCTION, f"{sent} of {PRODUCTION} labels were accepted.")
        report.good(f"{sent} labels are committed to the event log.")
    with report.step("Regrowth: a new label set, a challenger, a paired test on the holdout"):
        regrowth = steps.watch_regrowth(client, report, policy.name)
        stats = steps.feedback_stats(client, "reviews")
        report.say(f"Feedback by fate: {stats.votes} votes in the ledger ({stats.used} used), {stats.unmatched} unmatched.")
        report.must(stats.votes + stats.unmatched == PRODUCTION, "Feedback was lost.")
    with report.step("Hot swap: the gateway answers with the new champion"):
        swapped = steps.wait_until_served(client, "reviews", regrowth.challenger)
        report.must(swapped, f"The gateway still answers with {steps.served_version(client, 'reviews')}.")
        answer = steps.predict_with_curl(report, rest, "reviews", [_features(row) for row in _short(rows.production)])
        report.must(answer["version"] == regrowth.challenger, f"{answer['version']} answered.")
        steps.show_moves(client, report, "reviews")
        report.good(f"{short(best.version)} answered before, {short(regrowth.challenger)} answers now.")
