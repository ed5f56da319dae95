"""From a CSV and labels to a verified bundle that predicts, without torch for brew."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from services.common.bundle import Bundle
from services.common.bundle.parts import key_of
from services.common.errors import Cancelled, DigestMismatch, FailedPrecondition, InvalidField, NotFound
from services.common.objects import MODELS
from services.common.spec import Metric, Task
from services.training.comparison import compare_bundles
from services.training.fit import TrainingTask, fit

ROW = {"text": "lovely dress, great fit", "age": 52, "town": "Rome", "when": "2024-02-01 10:00"}


def opened(problem, result, cache: Path) -> Bundle:
    return Bundle.open(problem.objects, result.bundle_digest, cache)


def test_brew_learns_reports_and_predicts_what_it_measured(review_problem, brewed, tmp_path):
    events, result, report = brewed.events, brewed.result, brewed.result.report
    assert report["holdout"]["metrics"]["macro_f1"]["value"] > 0.85
    assert report["leaderboard"][-1]["name"] == "majority_class"
    assert {b["name"] for b in report["baselines"]} == {"majority_class", "logistic_regression", "text", "table"}
    assert report["verified"]["rows"] == 128 and report["verified"]["largest_difference"] < 1e-5
    bundle = opened(review_problem, result, tmp_path / "other")
    held = review_problem.version[review_problem.version["__holdout"]]
    rows = [{**row, "age": str(row["age"]), "when": str(row["when"])} for row in held.to_dict("records")]
    predicted = bundle.predict(rows)
    right = np.mean([c == [label] for c, label in zip(predicted.classes, held["label"], strict=True)])
    assert right == pytest.approx(report["holdout"]["metrics"]["accuracy"]["value"])
    assert events[0]["type"] == "stage" and events[-1]["type"] == "report"
    assert json.loads(json.dumps(events, allow_nan=False)) == events


def test_the_selection_never_touches_the_holdout_nor_training_its_labels(review_problem, brewed):
    first = brewed.result.report
    labels = pd.DataFrame(review_problem_labels(review_problem))
    flipped = labels.copy()
    flipped.loc[flipped["holdout"], "probabilities"] = flipped.loc[flipped["holdout"], "probabilities"].map(lambda p: p[::-1])
    second = review_problem.relabeled(flipped).fit("brew").report
    assert first["selection"] == second["selection"] and first["curves"] == second["curves"]
    assert second["holdout"]["metrics"]["accuracy"]["value"] == pytest.approx(
        1 - first["holdout"]["metrics"]["accuracy"]["value"]
    )


def review_problem_labels(problem) -> list[dict]:
    from services.common.frames.label_sets import read_label_set

    return read_label_set(problem.objects, problem.label_set_key).to_dict("records")


@pytest.mark.slow
def test_a_row_that_the_version_holds_out_is_never_trained_on_whatever_the_label_set_says(review_problem):
    labels = pd.DataFrame(review_problem_labels(review_problem))
    expected = int((~labels["holdout"]).sum())
    report = review_problem.relabeled(labels.assign(holdout=False)).fit("brew").report
    assert report["rows"]["training"] == expected


@pytest.mark.slow
def test_brew_needs_neither_torch_nor_scikit_learn_and_repeats_itself_in_another_process(review_problem, brewed, tmp_path):
    task = tmp_path / "task.json"
    task.write_text(json.dumps(review_problem.task("brew").to_json()))
    code = (
        "import json, sys, pathlib\n"
        "from services.common.objects import DirectoryStore\n"
        "from services.training.fit import TrainingTask, fit\n"
        "task = TrainingTask.from_json(json.loads(pathlib.Path(sys.argv[1]).read_text()))\n"
        "store = DirectoryStore(pathlib.Path(sys.argv[2]))\n"
        "result = fit(task, store, lambda e: None, pathlib.Path(sys.argv[3]), lambda: False)\n"
        "assert not {'torch', 'sklearn', 'transformers'} & set(sys.modules), sorted(sys.modules)\n"
        "print(result.bundle_digest)\n"
    )
    arguments = [str(task), str(review_problem.cache.parent / "objects"), str(tmp_path / "cache")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == brewed.result.bundle_digest


def test_a_bundle_takes_rows_as_users_have_them(brewed):
    bundle = brewed.bundle
    strange = [
        ROW,
        {},
        {"text": None, "age": "", "town": None, "when": None},
        {**ROW, "age": "52.0", "town": "Atlantis", "order": 7},
        {**ROW, "text": "😀 \x00 " + "x" * 300_000},
    ]
    predicted = bundle.predict(strange)
    assert predicted.probabilities.shape == (5, 2) and np.allclose(predicted.probabilities.sum(axis=1), 1)
    assert predicted.classes[0] == ["yes"] and not predicted.warnings[0]
    assert {w.field for w in predicted.warnings[1]} == {"text", "age", "town", "when"}
    assert [(w.field, "Atlantis" in w.problem) for w in predicted.warnings[3]] == [("order", False), ("town", True)]
    assert bundle.predict([]).probabilities.shape == (0, 2)
    with pytest.raises(InvalidField, match=r"rows\[0\]\.age"):
        bundle.predict([{**ROW, "age": "old"}])
    with pytest.raises(InvalidField, match=r"rows\[1\]"):
        bundle.predict([ROW, "text"])  # type: ignore[list-item]


def test_a_row_is_answered_alike_alone_and_among_others(brewed):
    bundle = brewed.bundle
    rows = [{**ROW, "age": 20 + i, "text": "awful " * i} for i in range(100)]
    together = bundle.predict(rows).probabilities
    alone = np.concatenate([bundle.predict([row]).probabilities for row in rows])
    assert np.abs(together - alone).max() < 1e-6


def test_damage_is_found_wherever_it_is(review_problem, brewed, tmp_path):
    result = brewed.result
    bundle = opened(review_problem, result, tmp_path / "c")
    assert bundle.describe()["design"]["text"] == "brew" and bundle.describe()["receipt"]["seed"] == 0
    graph = bundle.manifest.part("graph.onnx")
    cached = tmp_path / "c" / key_of(graph.digest).replace("/", "-")
    cached.write_bytes(b"damaged")
    assert opened(review_problem, result, tmp_path / "c").predict([ROW]).classes == [["yes"]]
    content = review_problem.objects.get(MODELS, key_of(graph.digest))
    review_problem.objects.delete(MODELS, key_of(graph.digest))
    with pytest.raises(NotFound):
        opened(review_problem, result, tmp_path / "new")
    review_problem.objects.put(MODELS, key_of(graph.digest), b"damaged")
    with pytest.raises(DigestMismatch):
        opened(review_problem, result, tmp_path / "new")
    review_problem.objects.delete(MODELS, key_of(graph.digest))
    review_problem.objects.put(MODELS, key_of(graph.digest), content)


def test_twenty_gold_rows_are_enough_to_learn_and_to_calibrate(review_problem):
    labels = pd.DataFrame(review_problem_labels(review_problem))
    few = pd.concat([labels[~labels["holdout"]].head(20), labels[labels["holdout"]]])
    report = review_problem.relabeled(few).fit("brew").report
    assert report["rows"]["training"] == 20 and report["selection"]["rows"] == 20
    assert report["holdout"]["metrics"]["accuracy"]["value"] > 0.6


@pytest.mark.slow
def test_a_few_gold_rows_beside_votes_get_a_baseline_of_their_own(review_problem):
    labels = pd.DataFrame(review_problem_labels(review_problem))
    training = labels.index[~labels["holdout"]]
    silver = training[20:]
    labels.loc[silver, "gold"] = False
    labels.loc[silver, "probabilities"] = labels.loc[silver, "probabilities"].map(
        lambda p: np.float32(0.8) * p + np.float32(0.1)
    )
    report = review_problem.relabeled(labels).fit("brew").report
    assert report["rows"]["gold"] == 20 and "gold_only" in {b["name"] for b in report["baselines"]}
    assert report["holdout"]["metrics"]["macro_f1"]["value"] > 0.85


def test_text_that_tells_nothing_is_left_out(problem_of, reviews, tmp_path):
    rng = np.random.default_rng(4)
    noise = [" ".join(f"w{i}" for i in rng.integers(0, 400, 6)) for _ in range(300)]
    problem = problem_of(reviews.assign(text=noise), "label", {"text": "text"})
    result = problem.fit("brew")
    bundle = opened(problem, result, tmp_path / "c")
    assert "text" in bundle.manifest.unused and any("Text was left out" in note for note in result.report["notes"])
    assert not bundle.predict([{k: v for k, v in ROW.items() if k != "text"}]).warnings[0]


def test_multi_label_rows_get_any_number_of_classes(problem_of, tmp_path):
    rng = np.random.default_rng(0)
    wet, cold = rng.random(300) < 0.4, rng.random(300) < 0.4
    texts = [f"day {i} " + "rain " * int(w) + "snow " * int(c) for i, (w, c) in enumerate(zip(wet, cold, strict=True))]
    labels = ["|".join(["wet"] * int(w) + ["cold"] * int(c)) or "|" for w, c in zip(wet, cold, strict=True)]
    problem = problem_of(
        pd.DataFrame({"text": texts, "label": labels}), "label", {"text": "text", "label": "text"}, task=Task.MULTI_LABEL
    )
    result = problem.fit("brew")
    assert result.report["holdout"]["metrics"]["macro_f1"]["value"] > 0.95
    predicted = opened(problem, result, tmp_path / "c").predict([{"text": "rain snow"}, {"text": "day 4"}])
    assert predicted.classes == [["cold", "wet"], []]


@pytest.mark.slow
@pytest.mark.parametrize("rows", [60, 1_100])
def test_a_network_learns_several_classes_of_a_row_with_folds_and_with_a_slice(rows, problem_of, tmp_path):
    rng = np.random.default_rng(1)
    wet, cold = rng.random(rows) < 0.5, rng.random(rows) < 0.5
    labels = ["|".join(["wet"] * int(w) + ["cold"] * int(c)) or "|" for w, c in zip(wet, cold, strict=True)]
    frame = pd.DataFrame({"rain": wet * 2.0 + rng.normal(0, 0.1, rows), "degrees": 20 - cold * 25.0, "label": labels})
    problem = problem_of(frame, "label", {"label": "text"}, task=Task.MULTI_LABEL)
    result = problem.fit("table", epochs=10, dropout=0.0, learning_rate=0.02)
    assert result.report["holdout"]["metrics"]["macro_f1"]["value"] > 0.8
    predicted = opened(problem, result, tmp_path / "c").predict([{"rain": 2.0, "degrees": -5}, {"rain": 0, "degrees": 20}])
    assert predicted.classes == [["cold", "wet"], []]


@pytest.mark.slow
def test_costs_turn_the_decision(problem_of, reviews, tmp_path):
    cheap = {"cost_matrix": ((0.0, 1.0), (1.0, 0.0)), "metric": Metric.EXPECTED_COST}
    dear = {"cost_matrix": ((0.0, 1.0), (50.0, 0.0)), "metric": Metric.EXPECTED_COST}
    problem = problem_of(reviews, "label", {"text": "text"}, **cheap)
    confusions = [
        replace(problem, spec=replace(problem.spec, **costs)).fit("brew").report["holdout"]["confusion"]["matrix"]
        for costs in (cheap, dear)
    ]
    assert confusions[1][1][0] <= confusions[0][1][0] and confusions[1][0][1] > confusions[0][0][1]


@pytest.mark.slow
def test_balanced_classes_find_more_of_a_rare_one(problem_of, reviews):
    rng = np.random.default_rng(0)
    rare = reviews[(reviews["label"] == "no") | (rng.random(300) < 0.4)][["age", "town", "label"]]
    problem = problem_of(rare.assign(age=rare["age"] + rng.normal(0, 15, len(rare))), "label")
    recalls = [
        next(
            c["recall"]
            for c in replace(problem, spec=replace(problem.spec, **weights)).fit().report["holdout"]["classes"]
            if c["name"] == "yes"
        )
        for weights in ({}, {"balance_classes": True}, {"class_weights": (1.0, 8.0)})
    ]
    assert recalls[1] > recalls[0] and recalls[2] > recalls[0]


@pytest.mark.slow
def test_slices_are_reported_apart(problem_of, reviews):
    report = problem_of(reviews, "label", {"text": "text", "town": "categorical"}, slice_columns=("town",)).fit("brew").report
    slices = report["holdout"]["slices"]
    assert {s["value"] for s in slices} == {"Rome", "Oslo", "Lima"}
    assert sum(s["rows"] for s in slices) == report["holdout"]["rows"]


@pytest.mark.slow
def test_without_gold_in_the_holdout_a_model_is_made_and_the_report_says_what_is_missing(review_problem):
    labels = pd.DataFrame(review_problem_labels(review_problem))
    report = review_problem.relabeled(labels[~labels["holdout"]]).fit("brew").report
    assert report["holdout"]["rows"] == 0 and any("No gold label lies in the holdout" in note for note in report["notes"])


def test_a_cancelled_run_stops(review_problem):
    calls = iter(range(100))
    with pytest.raises(Cancelled):
        fit(review_problem.task(), review_problem.objects, lambda e: None, review_problem.cache, lambda: next(calls) > 4)


def test_versions_are_compared_on_the_same_holdout(review_problem, brewed, tmp_path):
    good = brewed.result
    labels = pd.DataFrame(review_problem_labels(review_problem))
    rng = np.random.default_rng(0)
    shuffled = labels.copy()
    training = ~shuffled["holdout"]
    shuffled.loc[training, "probabilities"] = pd.Series(
        [shuffled["probabilities"][i] for i in rng.permutation(shuffled.index[training])], index=shuffled.index[training]
    )
    bad = review_problem.relabeled(shuffled).fit("brew")
    where = (review_problem.manifest_key, review_problem.label_set_key, tmp_path / "c")
    worse = compare_bundles(review_problem.objects, good.bundle_digest, bad.bundle_digest, *where)
    better = compare_bundles(review_problem.objects, bad.bundle_digest, good.bundle_digest, *where)
    assert worse.verdict == "worse" and better.verdict == "better"


def test_a_task_survives_json(review_problem):
    task = review_problem.task("text-table", epochs=3)
    assert TrainingTask.from_json(json.loads(json.dumps(task.to_json()))) == task


class TestBadInput:
    """Each names its mistake and its cure."""

    def test_one_row(self, review_problem):
        labels = pd.DataFrame(review_problem_labels(review_problem))
        with pytest.raises(FailedPrecondition, match="at least 2") as caught:
            review_problem.relabeled(labels[~labels["holdout"]].head(1)).fit()
        assert caught.value.reason == "TOO_FEW_LABELS"

    def test_no_row(self, review_problem):
        labels = pd.DataFrame(review_problem_labels(review_problem))
        with pytest.raises(FailedPrecondition, match="0 training rows"):
            review_problem.relabeled(labels.head(0)).fit()

    def test_one_class(self, review_problem):
        labels = pd.DataFrame(review_problem_labels(review_problem))
        only = labels[~labels["holdout"] & (labels["probabilities"].map(np.argmax) == 1)]
        with pytest.raises(FailedPrecondition, match="'yes'") as caught:
            review_problem.relabeled(only).fit()
        assert caught.value.reason == "ONE_CLASS"

    @pytest.mark.slow
    def test_an_all_missing_column_is_left_out_and_told(self, problem_of, reviews):
        problem = problem_of(reviews.assign(empty=None), "label", {"text": "text", "empty": "numeric"})
        notes = problem.fit().report["notes"]
        assert any("'empty' was left out: it has no value" in note for note in notes)

    def test_nothing_but_empty_columns(self, problem_of, reviews):
        frame = pd.DataFrame({"empty": [None] * 300, "same": ["a"] * 300, "label": reviews["label"]})
        with pytest.raises(FailedPrecondition, match="No input column can be used") as caught:
            problem_of(frame, "label", {"empty": "text", "same": "categorical"}).fit()
        assert caught.value.reason == "NO_USABLE_INPUT"

    def test_a_text_design_without_text(self, problem_of, reviews):
        with pytest.raises(FailedPrecondition, match="no text column"):
            problem_of(reviews[["age", "label"]], "label").fit("text-brew")

    def test_a_column_that_the_version_hasnt(self, review_problem):
        spec = replace(
            review_problem.spec, inputs=(*review_problem.spec.inputs, replace(review_problem.spec.inputs[0], name="gone"))
        )
        with pytest.raises(FailedPrecondition, match="no column 'gone'"):
            replace(review_problem, spec=spec).fit()

    def test_a_label_set_of_another_spec(self, review_problem):
        labels = pd.DataFrame(review_problem_labels(review_problem))
        labels["probabilities"] = [np.ones(3, np.float32) / 3] * len(labels)
        with pytest.raises(FailedPrecondition, match="3 classes, the spec 2"):
            review_problem.relabeled(labels).fit()
