"""`regrow label`: labelers that vote on rows, tried, kept and applied; votes made elsewhere; and labeling by hand."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from regrow import names
from regrow.cli import asking, output
from regrow.cli.options import Filter, Json, Mistake, Most, OrderBy, Project, connect, pairs
from regrow.client import Client
from regrow.labeling.v1 import labelers_pb2 as pb
from regrow.labeling.v1 import problem_specs_pb2, votes_pb2
from regrow.paging import iterate

app = typer.Typer(help="Labelers, votes, label sets, and labeling by hand.", no_args_is_help=True)
add = typer.Typer(help="Add a labeler: anything that votes on a row or abstains.", no_args_is_help=True)
app.add_typer(add, name="add")
app.command("next")(asking.label_next)

Name = Annotated[str, typer.Argument(help="The labeler's id.")]
Spec = Annotated[str, typer.Option("--spec", "-s", help="The spec whose classes it votes for.")]
Column = Annotated[str, typer.Option("--column", "-c", help="The column that it reads.")]
Class = Annotated[str, typer.Option("--class", help="The class to vote for.")]
Describe = Annotated[str, typer.Option("--description", help="What it looks for, in words.")]
Cases = Annotated[bool, typer.Option("--case-sensitive", help="Tell capitals apart.")]
Against = Annotated[bool, typer.Option("--against", help="Vote against the class instead of for it.")]
Try = Annotated[bool, typer.Option("--preview", help="Only try it; keep nothing.")]


@add.command("keyword")
def add_keyword(
    name: Name,
    spec: Spec,
    column: Column,
    class_name: Class,
    keyword: Annotated[list[str], typer.Option("--keyword", "-k", help="A word or phrase; any is enough. May be repeated.")],
    within_words: Annotated[bool, typer.Option("--within-words", help="Match parts of words too.")] = False,
    case_sensitive: Cases = False,
    against: Against = False,
    description: Describe = "",
    preview: Try = False,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Vote for a class where a keyword occurs."""
    definition = pb.KeywordLabeler(
        column=column, keywords=keyword, class_name=class_name, within_words=within_words,
        case_sensitive=case_sensitive, against=against,
    )  # fmt: skip
    _add(name, spec, project, json, preview, description=description, keyword=definition)


@add.command("regex")
def add_regex(
    name: Name,
    spec: Spec,
    column: Column,
    class_name: Class,
    pattern: Annotated[str, typer.Option("--pattern", help="A regular expression in RE2 syntax.")],
    case_sensitive: Cases = False,
    against: Against = False,
    description: Describe = "",
    preview: Try = False,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Vote for a class where a regular expression matches."""
    definition = pb.RegexLabeler(
        column=column, pattern=pattern, class_name=class_name, case_sensitive=case_sensitive, against=against
    )
    _add(name, spec, project, json, preview, description=description, regex=definition)


@add.command("sql")
def add_sql(
    name: Name,
    spec: Spec,
    expression: Annotated[str, typer.Option("--expression", "-e", help="One SELECT expression over the row's columns.")],
    class_name: Annotated[str, typer.Option("--class", help="The class where it is true. None: it answers class names.")] = "",
    description: Describe = "",
    preview: Try = False,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Vote by an SQL expression: a class name, NULL to abstain, or true and false with --class."""
    definition = pb.SqlLabeler(expression=expression, class_name=class_name)
    _add(name, spec, project, json, preview, description=description, sql=definition)


@add.command("column")
def add_column(
    name: Name,
    spec: Spec,
    column: Column,
    value: Annotated[
        list[str] | None, typer.Option("--value", help="value=class, where the spec's own values don't fit.")
    ] = None,
    description: Describe = "",
    preview: Try = False,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Vote with the value of a column."""
    definition = pb.ColumnLabeler(column=column, value_classes=pairs(value or [], "--value"))
    _add(name, spec, project, json, preview, description=description, column=definition)


@add.command("human")
def add_human(
    name: Name,
    spec: Spec,
    gold: Annotated[bool, typer.Option("--gold/--no-gold", help="Trust these answers, and correct the others by them.")] = True,
    description: Describe = "",
    project: Project = "default",
    json: Json = False,
) -> None:
    """Vote with people's answers: `regrow label next` asks for them."""
    _add(name, spec, project, json, False, description=description, human=pb.HumanLabeler(gold=gold))


@add.command("imported")
def add_imported(
    name: Name,
    spec: Spec,
    origin: Annotated[str, typer.Option("--origin", help="Where its votes come from, in words.")] = "",
    description: Describe = "",
    project: Project = "default",
    json: Json = False,
) -> None:
    """Take votes that were made elsewhere: `regrow label votes` writes them."""
    _add(name, spec, project, json, False, description=description, imported=pb.ImportedLabeler(origin=origin))


def _add(name: str, spec: str, project: str, json: bool, preview: bool, **fields: Any) -> None:
    with connect(project) as client:
        if preview:
            labeler = pb.Labeler(problem_spec=client.name("problemSpecs", spec), **fields)
            return _preview(client, labeler, json)
        made = client.create_labeler(name, problem_spec=spec, **fields)
    if json:
        return output.show_json(made)
    output.done(f"Added {made.name}.")


@app.command("preview")
def preview(
    name: Annotated[str, typer.Argument(help="A labeler that exists. For a new one: `regrow label add ... --preview`.")],
    rows: Annotated[int, typer.Option("--rows", help="Try it on at most this many rows; 0 means 10,000.")] = 0,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Try a labeler: how many rows it votes on, how often it is right on gold rows, examples."""
    with connect(project) as client:
        labeler = client.labelers.GetLabeler(pb.GetLabelerRequest(name=client.name("labelers", name)))
        _preview(client, labeler, json, rows)


def _preview(client: Client, labeler: pb.Labeler, json: bool, rows: int = 0) -> None:
    request = pb.PreviewLabelerRequest(parent=f"projects/{client.project}", labeler=labeler, row_limit=rows)
    found = client.labelers.PreviewLabeler(request)
    if json:
        return output.show_json(found)
    right = f"{found.gold_right} of {found.gold_votes} right" if found.gold_votes else ""
    share = output.percent(found.votes / max(found.rows, 1))
    output.facts({"rows looked at": found.rows, "votes": f"{found.votes:,} ({share})", "on gold rows": right})
    output.table(
        "Examples",
        ("row", "vote", "gold", "what it saw"),
        [(e.row.rpartition("/")[2], e.class_name, e.gold_class_name, output.shorten(e.excerpt, 120)) for e in found.examples],
    )
    for warning in found.warnings:
        output.warn(warning)


@app.command("apply")
def apply(
    spec: Annotated[str, typer.Option("--spec", "-s", help="Let all labelers of this spec vote.")] = "",
    labeler: Annotated[list[str] | None, typer.Option("--labeler", "-l", help="Only this one. May be repeated.")] = None,
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="The rows. Default: the spec's data set.")] = "",
    version: Annotated[str, typer.Option("--version", help="Which version of them.")] = "latest",
    project: Project = "default",
    json: Json = False,
) -> None:
    """Let labelers vote, and record their votes. One that voted already isn't asked again."""
    with connect(project) as client:
        if not dataset:
            dataset = dataset_of(client, spec or _spec_of(client, labeler or []))
        answer = client.apply_labelers(dataset, problem_spec=spec, labelers=labeler or [], version=version)
    if json:
        output.show_json(answer)
    else:
        rows = [(names.short(o.labeler), o.votes, "again" if o.reused else "new", o.problem) for o in answer.outcomes]
        output.table(
            f"Votes on {names.short(answer.dataset_version)}", ("labeler", "votes", "", "problem"), rows, numbers=("votes",)
        )
    if any(outcome.problem for outcome in answer.outcomes):
        raise typer.Exit(1)


def dataset_of(client: Client, spec: str) -> str:
    """The data set that a spec was made for."""
    request = problem_specs_pb2.GetProblemSpecRequest(name=client.name("problemSpecs", spec))
    return str(client.specs.GetProblemSpec(request).dataset)


def _spec_of(client: Client, labelers: list[str]) -> str:
    if not labelers:
        raise Mistake("Say which labelers vote: --spec for all of a spec, or --labeler.")
    return str(client.labelers.GetLabeler(pb.GetLabelerRequest(name=client.name("labelers", labelers[0]))).problem_spec)


@app.command("list")
def list_labelers(
    spec: Annotated[str, typer.Option("--spec", "-s", help="Only those of this spec.")] = "",
    retired: Annotated[bool, typer.Option("--retired", help="Show retired ones too.")] = False,
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Most = 200,
    project: Project = "default",
    json: Json = False,
) -> None:
    """List labelers, oldest first."""
    with connect(project) as client:
        request = pb.ListLabelersRequest(
            parent=f"projects/{project}", problem_spec=client.name("problemSpecs", spec) if spec else "", show_retired=retired,
            filter=filter, order_by=order_by,
        )  # fmt: skip
        found = [one for one, _ in zip(iterate(client.labelers.ListLabelers, request), range(limit), strict=False)]
    if json:
        return output.show_json(found)
    rows = [
        (names.short(one.name), one.WhichOneof("definition"), output.shorten(_definition(one), 100),
         names.short(one.problem_spec), output.when(one.retire_time))
        for one in found
    ]  # fmt: skip
    output.table("", ("labeler", "kind", "how it votes", "spec", "retired"), rows)


def _definition(labeler: pb.Labeler) -> str:
    kind = labeler.WhichOneof("definition")
    fields = getattr(labeler, kind).ListFields() if kind else []
    return labeler.description or ", ".join(
        f"{field.name}={', '.join(map(str, value)) if field.is_repeated else value}" for field, value in fields
    )


@app.command("retire")
def retire(name: Name, project: Project = "default") -> None:
    """Retire a labeler: later label sets leave it out, its votes stay in the ledger."""
    with connect(project) as client:
        retired = client.labelers.RetireLabeler(pb.RetireLabelerRequest(name=client.name("labelers", name)))
    output.done(f"Retired {retired.name}.")


@app.command("votes")
def votes(
    name: Name,
    file: Annotated[Path, typer.Argument(help="CSV with the columns row and class, and optionally confidence and annotator.")],
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", help="The rows voted on. Default: the data set of the labeler's spec.")
    ] = "",
    separator: Annotated[str, typer.Option("--separator", help="Separates several classes of a row (multi-label).")] = "|",
    project: Project = "default",
) -> None:
    """Write votes that people or another system made, for a human or imported labeler. Repeating it changes nothing."""
    with connect(project) as client:
        labeler = client.name("labelers", name)
        dataset = client.name("datasets", dataset or dataset_of(client, _spec_of(client, [name])))
        written = client.write_votes(dataset, read_votes(file, labeler, separator))
    output.done(f"{written.written:,} votes written, {written.repeated_count:,} were there already.")


def read_votes(file: Path, labeler: str, separator: str) -> Iterator[votes_pb2.Vote]:
    """The votes of a CSV file; their ids come from their content, so a second writing repeats none. Raises `Mistake`."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            table = csv.DictReader(opened)
            if not {"row", "class"} <= set(table.fieldnames or ()):
                raise Mistake(f"{file} needs the columns 'row' and 'class'; it has: {', '.join(table.fieldnames or ['none'])}.")
            for line, cells in enumerate(table, start=2):
                yield _vote(cells, labeler, separator, f"{file}, line {line}")
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(f"{file} can't be read: {error}.") from None


def _vote(cells: dict[str, str], labeler: str, separator: str, where: str) -> votes_pb2.Vote:
    classes = [one.strip() for one in (cells["class"] or "").split(separator) if one.strip()]
    annotator = cells.get("annotator") or ""
    try:
        return votes_pb2.Vote(
            row=int(cells["row"]), labeler=labeler, class_names=classes, confidence=float(cells.get("confidence") or 0),
            annotator=annotator, vote_id=f"{labeler.rpartition('/')[2]}/{cells['row']}/{annotator}/{'+'.join(classes)}"[:200],
        )  # fmt: skip
    except (TypeError, ValueError):
        raise Mistake(f"{where}: row must be a whole number of 0 or more, confidence a number from 0 to 1.") from None
