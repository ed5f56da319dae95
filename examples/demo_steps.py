"""The steps that both stories share, each through the public API alone: label sets, runs, the leaderboard, the regrowth."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from demo_http import Rest
from demo_report import Report, percent

from regrow import CallError, Client
from regrow.labeling.v1 import datasets_pb2, feedback_ledger_pb2, label_sets_pb2, labelers_pb2
from regrow.names import short
from regrow.registry.v1 import registry_pb2
from regrow.training.v1 import policies_pb2, runs_pb2

MOST_PREDICT_ROWS = 100
ENDED = (policies_pb2.REGROWTH_STATE_PROMOTED, policies_pb2.REGROWTH_STATE_REFUSED, policies_pb2.REGROWTH_STATE_FAILED)


def batches(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The rows in pieces of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def preview(client: Client, spec: str, definition: Mapping[str, Any]) -> labelers_pb2.PreviewLabelerResponse:
    """What a labeler would say of the spec's data set; nothing is kept."""
    labeler = labelers_pb2.Labeler(problem_spec=client.name("problemSpecs", spec), **definition)
    request = labelers_pb2.PreviewLabelerRequest(parent=f"projects/{client.project}", labeler=labeler)
    return client.labelers.PreviewLabeler(request)


def apply(client: Client, report: Report, dataset: str, spec: str) -> None:
    """Lets the labelers vote; each must."""
    answer = client.apply_labelers(dataset, problem_spec=spec)
    failed = [f"{short(one.labeler)}: {one.problem}" for one in answer.outcomes if one.problem]
    report.must(not failed, f"A labeler failed: {'; '.join(failed)}")
    report.must(answer.outcomes, "No labeler voted.")
    votes = sum(one.votes for one in answer.outcomes)
    report.say(f"{len(answer.outcomes)} labelers gave {votes:,} votes on {short(answer.dataset_version)}.")


def show_label_set(report: Report, made: label_sets_pb2.LabelSet) -> None:
    """Coverage, conflict, and what was learned of each labeler."""
    method = label_sets_pb2.AggregationMethod.Name(made.method_used).removeprefix("AGGREGATION_METHOD_").lower()
    report.say(
        f"{short(made.name)}, by {method}: {made.training_rows:,} rows to train on ({made.gold_rows:,} of them gold), "
        f"{made.holdout_rows:,} to measure on. Coverage {percent(made.coverage)}, conflict {percent(made.conflict)}."
    )
    rows = [
        (
            short(one.labeler), f"{one.votes:,}", percent(one.coverage), percent(one.conflict),
            f"{one.learned_accuracy:.2f}" if one.HasField("learned_accuracy") else "", _gold(one),
        )
        for one in made.labeler_summaries
    ]  # fmt: skip
    report.table(["labeler", "#votes", "#coverage", "#conflict", "#learned accuracy", "#accuracy on gold (95%)"], rows)
    for note in made.notes:
        report.warn(note)


def label_quality(client: Client, made: label_sets_pb2.LabelSet, truth: Sequence[str]) -> tuple[float, int]:
    """Of the training rows whose label comes of votes: the share that is right, and how many there are.

    `truth` is the class of each row by its number, which nobody has in real life.
    """
    rows = [row for row in exported(client, made.name) if row["holdout"] == "false" and row["gold"] == "false"]
    label = "label_2" if rows and "label_2" in rows[0] else "label"  # numbered where the data has a column of that name
    right = sum(row[label] == truth[int(row["row"])] for row in rows)
    return right / max(len(rows), 1), len(rows)


def exported(client: Client, label_set: str) -> list[dict[str, str]]:
    """A label set joined with its rows, read from the CSV that is streamed."""
    request = label_sets_pb2.ExportLabelSetRequest(name=label_set, format=datasets_pb2.FILE_FORMAT_CSV)
    content = b"".join(piece.data for piece in client.label_sets.ExportLabelSet(request))
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def _gold(one: label_sets_pb2.LabelerSummary) -> str:
    if not one.gold_votes:
        return "no gold row"
    return f"{one.gold_accuracy:.2f} of {one.gold_votes} ({one.gold_accuracy_low:.2f}-{one.gold_accuracy_high:.2f})"


def train(client: Client, report: Report, label_set: str, *, model: str, template: str, express: bool = False) -> runs_pb2.Run:
    """A run, with its epochs as they come; it must succeed."""
    begun = time.monotonic()
    run = client.create_run(label_set, model=model, template=template, express=express)
    losses = ""
    with report.progress(f"{template} trains") as progress:
        for event in client.watch_run(run.name):
            if event.HasField("epoch"):
                epoch = event.epoch
                losses = ", ".join(f"{h.head} {h.training_loss:.3f}/{h.selection_loss:.3f}" for h in epoch.losses)
                score = f", {epoch.selection.metric} {epoch.selection.value:.3f}" if epoch.HasField("selection") else ""
                said = f"{template}, epoch {epoch.epoch} of at most {epoch.max_epochs}{score}"
                progress.update(progress.task_ids[0], description=said, completed=epoch.epoch, total=epoch.max_epochs)
    run = client.get_run(run.name)
    report.must(run.state == runs_pb2.RUN_STATE_SUCCEEDED, f"The run {run.name} did not succeed: {run.problem}")
    selection = run.report.selection
    report.say(
        f"{template}: {time.monotonic() - begun:.1f} s from submission to {short(run.version)}; "
        f"{selection.metric} {selection.value:.3f} on the selection slice."
    )
    if losses:
        report.say(f"  losses at the end (training/selection): {losses}", style="dim")
    return run


def show_leaderboard(client: Client, report: Report, label_set: str) -> runs_pb2.Run:
    """The runs on a label set, best selection score first, then the baselines on the same holdout rows. Answers the best."""
    request = runs_pb2.ListRunsRequest(parent=f"projects/{client.project}", label_set=label_set)
    runs = [run for run in client.runs.ListRuns(request).runs if run.state == runs_pb2.RUN_STATE_SUCCEEDED]
    report.must(runs, "The leaderboard is empty.")
    metrics = list(dict.fromkeys([runs[0].report.selection.metric, "accuracy", "macro_f1"]))[:2]
    rows = [
        (
            f"{run.schedule.design.template} ({short(run.version)})",
            f"{run.report.selection.value:.3f}",
            *_scores(run.report.holdout, metrics),
        )
        for run in runs
    ]
    rows += [(f"  {base.name}", "", *_scores(base.scores, metrics)) for base in runs[0].report.baselines]
    columns = ["model, baselines below", f"#selection {metrics[0]}", *(f"#holdout {metric} (95%)" for metric in metrics)]
    report.table(
        columns, rows, title=f"{runs[0].report.selection_rows:,} rows to choose on, {runs[0].report.holdout_rows:,} held out"
    )
    for note in dict.fromkeys(note for run in runs for note in run.report.notes):
        report.warn(note)
    return runs[0]


def _scores(scores: Iterable[runs_pb2.Score], metrics: Sequence[str]) -> list[str]:
    found = {score.metric: score for score in scores}
    return [_score(found[metric]) if metric in found else "" for metric in metrics]


def _score(score: runs_pb2.Score) -> str:
    if not score.HasField("low"):
        return f"{score.value:.3f}"
    return f"{score.value:.3f} ({score.low:.3f}-{score.high:.3f})"


def promote(client: Client, report: Report, run: runs_pb2.Run, model: str) -> None:
    """Makes the run's version the champion, and waits until the gateway answers with it."""
    why = f"best selection score of its leaderboard: {run.report.selection.metric} {run.report.selection.value:.3f}"
    client.promote(run.version, why=why)
    report.must(wait_until_served(client, model, run.version), f"The gateway did not load {run.version}.")
    report.good(f"{short(run.version)} is the champion, and the gateway answers with it.")


def wait_until_served(client: Client, model: str, version: str, seconds: float = 30.0) -> bool:
    """Whether the gateway answers with this version within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if served_version(client, model) == version:
            return True
        time.sleep(0.1)
    return False


def served_version(client: Client, model: str) -> str:
    """The version that answers now; empty while none does."""
    try:
        return str(client.served(model).version)
    except CallError as failure:
        if failure.code in ("NOT_FOUND", "FAILED_PRECONDITION", "UNAVAILABLE"):
            return ""
        raise


def predict_with_curl(report: Report, rest: Rest, model: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The call that any app makes, shown as it is, with its answer in short."""
    path, body = f"/v1/projects/default/models/{model}:predict", {"rows": list(rows)}
    answer = rest.call(path, body)
    report.must(len(answer.get("predictions", [])) == len(rows), f"The gateway answered {answer}")
    report.command(rest.line(path, body), "\n".join(_in_short(answer)))
    return answer


def _in_short(answer: Mapping[str, Any]) -> Iterator[str]:
    for one in answer["predictions"]:
        said = ", ".join(f"{p['className']} {p['probability']:.2f}" for p in one["probabilities"])
        yield f"  {', '.join(one['classNames'])} ({said}), prediction {one['predictionId']}, by {short(answer['version'])}"


def predict_all(client: Client, report: Report, model: str, rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The prediction's id and the class, of every row, as a stream of production traffic would get them."""
    answered: list[tuple[str, str]] = []
    for piece in batches(rows, MOST_PREDICT_ROWS):
        answer = client.predict(model, piece)
        answered += [(one.prediction_id, one.class_names[0] if one.class_names else "") for one in answer.predictions]
    report.must(len(answered) == len(rows), f"{len(rows)} rows were sent and {len(answered)} answered.")
    return answered


def create_policy(client: Client, policy_id: str, model: str, **rules: Any) -> policies_pb2.Policy:
    """A policy of continuous training. `rules` are fields of `Policy`."""
    policy = policies_pb2.Policy(model=client.name("models", model), **rules)
    request = policies_pb2.CreatePolicyRequest(parent=f"projects/{client.project}", policy_id=policy_id, policy=policy)
    return client.policies.CreatePolicy(request)


def send_labels(client: Client, model: str, labels: Sequence[tuple[str, str]], source: str) -> int:
    """Feedback: (prediction id, true class). Answers how many events are committed."""
    sent = 0
    for piece in batches(labels, 300):
        feedback = [{"prediction_id": prediction, "class_names": label, "source": source} for prediction, label in piece]
        sent += len(client.send_feedback(model, feedback))
    return sent


def feedback_stats(client: Client, model: str) -> feedback_ledger_pb2.FeedbackStats:
    """What became of a model's feedback."""
    request = feedback_ledger_pb2.GetFeedbackStatsRequest(parent=client.name("models", model))
    return client.feedback_ledger.GetFeedbackStats(request)


def newest_regrowth(client: Client, policy: str) -> policies_pb2.Regrowth | None:
    """The regrowth that started last."""
    request = policies_pb2.ListRegrowthsRequest(parent=policy, page_size=1)
    regrowths = client.policies.ListRegrowths(request).regrowths
    return regrowths[0] if regrowths else None


def wait_for_regrowth(
    client: Client, policy: str, *, after: str = "", seconds: float = 240.0
) -> Iterator[policies_pb2.Regrowth]:
    """Yields the newest regrowth at each change of state until it ends. `after` is the name of one that doesn't count.

    Raises `TimeoutError` that says where it stood.
    """
    deadline, state, seen = time.monotonic() + seconds, 0, "no regrowth began"
    while time.monotonic() < deadline:
        regrowth = newest_regrowth(client, policy)
        if regrowth is not None and regrowth.name != after and regrowth.state != state:
            state, seen = regrowth.state, f"{regrowth.name} is {state_name(regrowth)}"
            yield regrowth
            if state in ENDED:
                return
        time.sleep(0.2)
    raise TimeoutError(f"After {seconds:.0f} s {seen}.")


def state_name(regrowth: policies_pb2.Regrowth) -> str:
    """`promoted` for REGROWTH_STATE_PROMOTED."""
    return policies_pb2.RegrowthState.Name(regrowth.state).removeprefix("REGROWTH_STATE_").lower()


def watch_regrowth(client: Client, report: Report, policy: str) -> policies_pb2.Regrowth:
    """Follows a regrowth to its end and shows how champion and challenger compare. It must end in a promotion."""
    regrowth = policies_pb2.Regrowth()
    begun = time.monotonic()
    with report.progress("waiting for the policy to fire") as progress:
        for regrowth in wait_for_regrowth(client, policy):
            progress.update(progress.task_ids[0], description=f"regrowth: {state_name(regrowth)}")
            report.say(f"{time.monotonic() - begun:5.1f} s  {state_name(regrowth)}")
    if regrowth.label_set:
        made = client.label_sets.GetLabelSet(label_sets_pb2.GetLabelSetRequest(name=regrowth.label_set))
        show_label_set(report, made)
    show_comparison(report, regrowth)
    promoted = regrowth.state == policies_pb2.REGROWTH_STATE_PROMOTED
    report.must(promoted, f"The challenger was not promoted ({state_name(regrowth)}): {regrowth.decision}")
    report.good(f"{short(regrowth.challenger)} was promoted.")
    return regrowth


def show_comparison(report: Report, regrowth: policies_pb2.Regrowth) -> None:
    """Why it began, what it compared, what was decided."""
    made = regrowth.comparison
    report.say(f"Why it began: {regrowth.trigger}")
    report.say(f"What it learned from: {short(regrowth.label_set)}, {regrowth.feedback_votes:,} labels from feedback in it.")
    if made.rows:
        both = [
            f"{made.champion:.3f}",
            f"{made.challenger:.3f}",
            f"{made.difference:+.3f} ({made.low:+.3f} to {made.high:+.3f})",
        ]
        discordant = f"{made.champion_only_right} / {made.challenger_only_right}"
        columns = [
            f"{made.metric} on {made.rows:,} rows",
            "#champion",
            "#challenger",
            "#difference (95%)",
            "#p",
            "#only one right",
        ]
        report.table(columns, [(short(regrowth.challenger), *both, f"{made.p_value:.4f}", discordant)])
    report.say(f"Decision: {regrowth.decision}")


def show_moves(client: Client, report: Report, model: str) -> None:
    """The alias's history."""
    alias = f"{client.name('models', model)}/aliases/champion"
    moves = client.aliases.ListAliasHistory(registry_pb2.ListAliasHistoryRequest(name=alias)).moves
    rows = [
        (short(one.from_version) if one.from_version else "", short(one.to_version), one.moved_by, one.why) for one in moves
    ]
    report.table(["champion was", "is", "moved by", "why"], rows)
