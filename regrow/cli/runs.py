"""`regrow train` and `regrow runs`: submit, watch, compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table

from regrow import choices, names
from regrow.cli import output
from regrow.cli.options import Filter, Json, Most, OrderBy, Project, connect, nested_name
from regrow.client import Client
from regrow.paging import iterate
from regrow.training.v1 import designs_pb2
from regrow.training.v1 import runs_pb2 as pb

app = typer.Typer(help="List, compare, watch and cancel runs.", no_args_is_help=True)
_BAD_ENDS = (pb.RUN_STATE_FAILED, pb.RUN_STATE_CANCELLED)


def train(
    label_set: Annotated[str, typer.Argument(help="What to learn from, as dataset/label-set.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="The model that gets a new version. Default: the data set's id.")
    ] = "",
    design: Annotated[str, typer.Option("--design", help="A ready-made design; `regrow runs designs` lists them.")] = "brew",
    epochs: Annotated[int, typer.Option("--epochs", min=0, help="Passes over the rows, at most.")] = 0,
    learning_rate: Annotated[float, typer.Option("--learning-rate", min=0.0, help="Step size.")] = 0.0,
    batch_size: Annotated[int, typer.Option("--batch-size", min=0, help="Rows a step.")] = 0,
    patience: Annotated[int, typer.Option("--patience", min=0, help="Epochs without a better score before it stops.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Another draw of weights, slices and batches.")] = 0,
    gold_weight: Annotated[float, typer.Option("--gold-weight", min=0.0, help="How much a gold row weighs.")] = 0.0,
    express: Annotated[bool, typer.Option("--express", help="Go before all runs that wait.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Submit, and end at once.")] = False,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Train a design on a label set: submits a run, shows how it goes, and ends with its scores beside the baselines."""
    full = nested_name("datasets", "labelSets", label_set, project)
    with connect(project) as client:
        run = client.create_run(
            full, model=model or full.split("/")[3], template=design, express=express, max_epochs=epochs,
            learning_rate=learning_rate, batch_size=batch_size, patience=patience, seed=seed, gold_weight=gold_weight,
        )  # fmt: skip
        if no_wait:
            output.tell(f"Submitted. `regrow runs watch {names.short(run.name)}` shows how it goes.")
        else:
            run = follow(client, run.name)
    finish(run, json)


def follow(client: Client, name: str) -> pb.Run:
    """Shows a run's events as they come, until it ends, and answers it."""
    if not output.is_watched():
        _follow(client.watch_run(name), lambda event: output.tell(_line(event)) if _line(event) else None)
    else:
        with Live(console=output.console(error=True), transient=True, refresh_per_second=4) as live:
            epochs: list[pb.EpochEvent] = []

            def show(event: pb.RunEvent) -> None:
                if event.HasField("epoch"):
                    epochs.append(event.epoch)
                    live.update(_curve(epochs))
                elif _line(event):
                    live.console.print(output.clean(_line(event)), style="dim")

            _follow(client.watch_run(name), show)
    return client.get_run(name)


def _follow(events: Iterable[pb.RunEvent], show: Callable[[pb.RunEvent], None]) -> None:
    for event in events:
        show(event)


def _line(event: pb.RunEvent) -> str:
    """One line about an event; empty where there is nothing to say."""
    kind = event.WhichOneof("event")
    if kind == "state":
        return f"{state_word(event.state)}"
    if kind == "message":
        return event.message
    if kind == "epoch":
        losses = ", ".join(_loss(one) for one in event.epoch.losses)
        score = f"; {_score(event.epoch.selection)}" if event.epoch.HasField("selection") else ""
        return f"epoch {event.epoch.epoch} of at most {event.epoch.max_epochs}: {losses}{score}"
    return ""


def _loss(one: pb.HeadLoss) -> str:
    selection = f"/{one.selection_loss:.3f}" if one.HasField("selection_loss") else ""
    return f"{one.head} loss {one.training_loss:.3f}{selection}"


def _curve(epochs: list[pb.EpochEvent], most: int = 12) -> Table:
    """The last epochs as a table: losses of each head on training rows and selection slice, and the metric."""
    heads = list(dict.fromkeys(loss.head for epoch in epochs for loss in epoch.losses))
    table = Table(box=None, pad_edge=False)
    for column in ("epoch", *(f"{head} loss, train / held" for head in heads), "score"):
        table.add_column(column, justify="right")
    for epoch in epochs[-most:]:
        by_head = {loss.head: loss for loss in epoch.losses}
        losses = [_loss(by_head[head]).removeprefix(f"{head} loss ") if head in by_head else "" for head in heads]
        score = _score(epoch.selection) if epoch.HasField("selection") else ""
        table.add_row(f"{epoch.epoch}/{epoch.max_epochs}", *losses, score)
    return table


def finish(run: pb.Run, json: bool) -> None:
    """Prints how a run ended; a bad end ends the command with exit code 1."""
    if json:
        output.show_json(run)
    else:
        show_run(run)
    if run.state in _BAD_ENDS:
        raise typer.Exit(1)


def state_word(state: int) -> str:
    """`running` for RUN_STATE_RUNNING."""
    return choices.word(pb.RunState, state)


def show_run(run: pb.Run) -> None:
    """Prints a run with its report."""
    seconds = run.end_time.ToMilliseconds() - run.start_time.ToMilliseconds()
    output.facts({
        "run": names.short(run.name),
        "state": state_word(run.state),
        "waits for": run.waiting_for,
        "version": names.short(run.version) if run.version else "",
        "design": run.schedule.design.template,
        "label set": names.short(run.label_set),
        "attempts": run.attempts if run.attempts > 1 else "",
        "took": f"{seconds / 1000:.1f} s" if run.end_time.seconds and run.start_time.seconds else "",
    })  # fmt: skip
    if run.problem:
        output.fail(run.problem)
    if run.HasField("report"):
        show_report(run.report)


def show_report(report: pb.RunReport) -> None:
    """Prints the scores with their intervals beside the baselines on the same rows, the confusion matrix, and the notes."""
    output.facts({
        "selection": _score(report.selection),
        "rows": f"{report.training_rows:,} trained on, {report.selection_rows:,} to select, {report.holdout_rows:,} held out",
        "calibration error": f"{report.calibration_error_before:.3f} before, {report.calibration_error_after:.3f} after"
        if report.HasField("calibration_error_after") else "",
        "predicts by": report.prediction_head,
        "each head alone": ", ".join(f"{one.head} {one.score.value:.3f}" for one in report.head_scores),
    })  # fmt: skip
    _show_holdout(report)
    if report.slices:
        output.table(
            "Slices", ("column", "value", "rows", "scores"),
            [(s.column, s.value, s.rows, "; ".join(map(_score, s.scores))) for s in report.slices], numbers=("rows",),
        )  # fmt: skip
    show_confusion(report.confusion_matrix)
    if told_nothing(report):
        output.warn(
            f"On {report.holdout_rows:,} held-out rows, it can't be told from always answering the most frequent class. "
            "More rows, better labels or other columns may help."
        )
    for note in report.notes:
        output.warn(note)


def told_nothing(report: pb.RunReport) -> bool:
    """Whether the score of always answering the most frequent class lies within the interval of this model's."""
    ours = next((score for score in report.holdout if score.metric == report.selection.metric), None)
    trivial = [score for b in report.baselines if b.name == "majority_class" for score in b.scores]
    theirs = next((score.value for score in trivial if score.metric == report.selection.metric), None)
    return bool(ours and theirs is not None and ours.HasField("low") and ours.low <= theirs <= ours.high)


def _show_holdout(report: pb.RunReport) -> None:
    """The metrics that people compare by, beside the baselines; the others in a line."""
    measured = [score.metric for score in report.holdout]
    metrics = [metric for metric in dict.fromkeys((report.selection.metric, "accuracy", "log_loss")) if metric in measured]
    rows = [("this model", *_cells(report.holdout, metrics))]
    rows += [(baseline.name.replace("_", " "), *_cells(baseline.scores, metrics)) for baseline in report.baselines]
    if metrics:
        title = "On the holdout, with 95% intervals"
        output.table(title, ("scores of", *(metric.replace("_", " ") for metric in metrics)), rows)
    others = "; ".join(_score(score) for score in report.holdout if score.metric not in metrics)
    if others:
        output.say(f"Also: {others}")


def show_confusion(matrix: Iterable[pb.ConfusionRow], most: int = 12) -> None:
    """Prints a confusion matrix that a person can read; large ones are for JSON."""
    rows = list(matrix)
    if not rows or len(rows) > most:
        return
    columns = ["true \\ predicted", *(row.class_name for row in rows)]
    columns += ["abstained"] * (len(rows[0].predicted) > len(rows))
    output.table("Confusion on the holdout", columns, [(row.class_name, *row.predicted) for row in rows], numbers=columns[1:])


def _cells(scores: Iterable[pb.Score], metrics: list[str]) -> list[str]:
    by_metric = {score.metric: score for score in scores}
    return [_value(by_metric[metric]) if metric in by_metric else "" for metric in metrics]


def _value(score: pb.Score) -> str:
    interval = f" ({score.low:.3f} to {score.high:.3f})" if score.HasField("low") and score.HasField("high") else ""
    return f"{score.value:.3f}{interval}"


def _score(score: pb.Score) -> str:
    return f"{score.metric.replace('_', ' ')} {_value(score)}" if score.metric else ""


@app.command("list")
def list_runs(
    label_set: Annotated[
        str, typer.Option("--label-set", "-l", help="The leaderboard of this label set, dataset/label-set.")
    ] = "",
    model: Annotated[str, typer.Option("--model", "-m", help="Only runs of this model.")] = "",
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Most = 50,
    project: Project = "default",
    json: Json = False,
) -> None:
    """List runs, newest first; of one label set, best first, with the baselines beneath."""
    with connect(project) as client:
        request = pb.ListRunsRequest(
            parent=f"projects/{project}",
            label_set=nested_name("datasets", "labelSets", label_set, project) if label_set else "",
            model=client.name("models", model) if model else "",
            filter=filter,
            order_by=order_by,
        )
        found = [one for one, _ in zip(iterate(client.runs.ListRuns, request), range(limit), strict=False)]
    if json:
        return output.show_json(found)
    rows = [_row(run) for run in found]
    rows += _baseline_rows(found) if label_set else []
    columns = ("run", "state", "design", "version", "selection", "holdout", "submitted")
    output.table("Leaderboard" if label_set else "", columns, rows)


def _row(run: pb.Run) -> tuple[str, ...]:
    version = names.short(run.version) if run.version else ""
    holdout = "; ".join(map(_score, run.report.holdout[:2]))
    return (
        names.short(run.name), state_word(run.state), run.schedule.design.template, version,
        _score(run.report.selection), holdout, output.when(run.create_time),
    )  # fmt: skip


def _baseline_rows(runs: list[pb.Run]) -> list[tuple[str, ...]]:
    """The baselines of the leading run: all runs of a label set are measured on the same holdout rows."""
    leader = next((run for run in runs if run.HasField("report")), None)
    if leader is None:
        return []
    wanted = [score.metric for score in leader.report.holdout[:2]]
    return [
        (
            f"baseline: {b.name.replace('_', ' ')}",
            "",
            "",
            "",
            "",
            "; ".join(_score(s) for s in b.scores if s.metric in wanted),
            "",
        )
        for b in leader.report.baselines
    ]


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="The run.")], project: Project = "default", json: Json = False) -> None:
    """Show a run with its scores, baselines and confusion matrix."""
    with connect(project) as client:
        run = client.get_run(name)
    output.show_json(run) if json else show_run(run)


@app.command("watch")
def watch(name: Annotated[str, typer.Argument(help="The run.")], project: Project = "default", json: Json = False) -> None:
    """Show how a run goes until it ends, its past first."""
    with connect(project) as client:
        finish(follow(client, name), json)


@app.command("cancel")
def cancel(name: Annotated[str, typer.Argument(help="The run.")], project: Project = "default") -> None:
    """Cancel a run. One that ended stays as it is."""
    with connect(project) as client:
        run = client.runs.CancelRun(pb.CancelRunRequest(name=client.name("runs", name)))
    stopping = run.state in (pb.RUN_STATE_QUEUED, pb.RUN_STATE_RUNNING)
    output.done(f"{names.short(run.name)} is {'being cancelled' if stopping else state_word(run.state)}.")


@app.command("check")
def check(
    spec: Annotated[str, typer.Argument(help="The problem spec.")],
    design: Annotated[str, typer.Option("--design", help="A ready-made design; `regrow runs designs` lists them.")] = "brew",
    project: Project = "default",
    json: Json = False,
) -> None:
    """Check whether a design fits a spec, without training: which columns it would read, what doesn't fit."""
    with connect(project) as client:
        schedule = designs_pb2.Schedule(design=designs_pb2.Design(template=design))
        found = client.designs.ValidateDesign(
            designs_pb2.ValidateDesignRequest(
                parent=f"projects/{project}", problem_spec=client.name("problemSpecs", spec), schedule=schedule
            )
        )
    if json:
        return output.show_json(found)
    output.facts({"text columns": list(found.text_columns), "table columns": list(found.tabular_columns)})
    for problem in found.problems:
        output.warn(problem)
    if found.problems:
        raise typer.Exit(1)


@app.command("designs")
def designs(json: Json = False) -> None:
    """List the ready-made designs, simplest first."""
    with connect() as client:
        found = list(client.designs.ListTemplates.each(designs_pb2.ListTemplatesRequest()))
    if json:
        return output.show_json(found)
    output.table("", ("design", "what it is", "what it costs"), [(t.id, t.description, t.cost) for t in found])
