"""`regrow model`: the registry by itself: models, versions, what they were made from, aliases with their history, artifacts."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from regrow import names
from regrow.cli import output
from regrow.cli.datasets import megabytes, write_file
from regrow.cli.options import Filter, Json, Mistake, Most, OrderBy, Project, connect, nested_name
from regrow.registry.v1 import registry_pb2 as pb

app = typer.Typer(help="Models, versions, receipts, aliases and artifacts.", no_args_is_help=True)
Model = Annotated[str, typer.Argument(help="The model.")]
Version = Annotated[str, typer.Argument(help="The version, as model/3; model/latest and model/@champion work too.")]


@app.command("create")
def create(
    model: Model,
    description: Annotated[str, typer.Option("--description", help="What it is for.")] = "",
    project: Project = "default",
    json: Json = False,
) -> None:
    """Create a model; training makes those that it needs by itself."""
    request = pb.CreateModelRequest(parent=f"projects/{project}", model_id=model, model=pb.Model(description=description))
    with connect(project) as client:
        made = client.models.CreateModel(request)
    if json:
        return output.show_json(made)
    output.done(f"Created {made.name}.")


@app.command("show")
def show(model: Model, project: Project = "default", json: Json = False) -> None:
    """Show a model with its aliases."""
    with connect(project) as client:
        found = client.models.GetModel(pb.GetModelRequest(name=client.name("models", model)))
    if json:
        return output.show_json(found)
    aliases = [f"{names.short(one.name).rpartition('/')[2]} -> {names.short(one.version)}" for one in found.aliases]
    output.facts({
        "model": found.name, "versions": found.latest_version, "aliases": aliases, "created": output.when(found.create_time),
        "description": found.description,
    })  # fmt: skip


@app.command("served")
def served(model: Model, project: Project = "default", json: Json = False) -> None:
    """Show what a model reads and answers, and which version serves."""
    with connect(project) as client:
        found = client.served(model)
    if json:
        return output.show_json(found)
    output.facts({
        "model": found.name, "version": found.version, "answers": list(found.class_names), "several": found.multi_label,
        "design": found.design,
    })  # fmt: skip
    output.table("", ("reads", "kind"), [(column.name, column.kind) for column in found.inputs])


@app.command("register")
def register(
    model: Model,
    digest: Annotated[str, typer.Argument(help="sha256:... of the manifest of a bundle that is in the object store.")],
    run: Annotated[str, typer.Option("--run", help="The run that made it, if one did.")] = "",
    project: Project = "default",
    json: Json = False,
) -> None:
    """Register a bundle as the model's next version; a run does this by itself."""
    with connect(project) as client:
        version = pb.Version(bundle_digest=digest, run=client.name("runs", run) if run else "")
        made = client.versions.CreateVersion(pb.CreateVersionRequest(parent=client.name("models", model), version=version))
    if json:
        return output.show_json(made)
    output.done(f"Registered {names.short(made.name)}.")


@app.command("version")
def version(name: Version, project: Project = "default", json: Json = False) -> None:
    """Show one version."""
    with connect(project) as client:
        found = client.versions.GetVersion(pb.GetVersionRequest(name=_version(name, project)))
    if json:
        return output.show_json(found)
    scores = "; ".join(f"{metric} {value:.3f}" for metric, value in sorted(found.scores.items()))
    output.facts({
        "version": found.name, "bundle": found.bundle_digest, "size": megabytes(found.size_bytes), "run": found.run,
        "scores": scores, "registered": output.when(found.create_time),
    })  # fmt: skip


@app.command("receipt")
def receipt(name: Version, project: Project = "default", json: Json = False) -> None:
    """Show what a version was made from: data, labels, spec, feedback, schedule, seed, software."""
    with connect(project) as client:
        found = client.versions.GetReceipt(pb.GetReceiptRequest(name=_version(name, project)))
    if json:
        return output.show_json(found)
    shown = {field: value for field, value in output.plain(found).items() if field != "schedule"}
    output.facts({**shown, "feedbackOffsets": _pairs(found.feedback_offsets), "software": _pairs(found.software)})


@app.command("alias")
def alias(
    name: Annotated[str, typer.Argument(help="The alias, as model@champion.")],
    as_of: Annotated[str, typer.Option("--as-of", help="Where it pointed then, like 2026-03-27T14:53:00Z.")] = "",
    project: Project = "default",
    json: Json = False,
) -> None:
    """Show where an alias points, or pointed at an earlier moment."""
    request = pb.GetAliasRequest(name=_alias(name, project))
    if as_of:
        request.as_of.CopyFrom(_moment(as_of))
    with connect(project) as client:
        found = client.aliases.GetAlias(request)
    if json:
        return output.show_json(found)
    output.facts({"alias": found.name, "version": found.version, "since": output.when(found.move_time), "etag": found.etag})


@app.command("history")
def history(
    name: Annotated[str, typer.Argument(help="The alias, as model@champion.")],
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Most = 50,
    project: Project = "default",
    json: Json = False,
) -> None:
    """List every move of an alias, newest first: from where to where, when, who and why."""
    request = pb.ListAliasHistoryRequest(name=_alias(name, project), filter=filter, order_by=order_by)
    with connect(project) as client:
        found = list(islice(client.aliases.ListAliasHistory.each(request), limit))
    if json:
        return output.show_json(found)
    rows = [
        (output.when(m.move_time), _number(m.from_version), _number(m.to_version), m.moved_by, m.why) for m in found
    ]  # fmt: skip
    output.table("", ("moved", "from", "to", "by", "why"), rows)


@app.command("artifacts")
def artifacts(name: Version, limit: Most = 200, project: Project = "default", json: Json = False) -> None:
    """List the parts of a version's bundle."""
    with connect(project) as client:
        request = pb.ListArtifactsRequest(parent=_version(name, project))
        found = list(islice(client.artifacts.ListArtifacts.each(request), limit))
    if json:
        return output.show_json(found)
    rows = [(one.part, megabytes(one.size_bytes), one.digest) for one in found]
    output.table("", ("part", "size", "digest"), rows, numbers=("size",))


@app.command("download")
def download(
    name: Version,
    part: Annotated[str, typer.Argument(help="The part's name (manifest.json, model.onnx, ...) or its sha256.")],
    to: Annotated[Path | None, typer.Option("--to", "-o", help="The file to write. Default: stdout.")] = None,
    project: Project = "default",
) -> None:
    """Download one part of a version's bundle; its bytes are checked against their digest."""
    with connect(project) as client:
        parts = list(client.artifacts.ListArtifacts.each(pb.ListArtifactsRequest(parent=_version(name, project))))
        found = next((one for one in parts if part in (one.part, one.digest, one.digest.removeprefix("sha256:"))), None)
        if found is None:
            raise Mistake(f"{name} has no part '{part}'. It has: {', '.join(one.part for one in parts)}.")
        write_file(client.artifacts.DownloadArtifact(pb.DownloadArtifactRequest(name=found.name)), to)


def _version(name: str, project: str) -> str:
    return nested_name("models", "versions", name, project)


def _alias(name: str, project: str) -> str:
    if name.startswith("projects/"):
        return name
    model, at, own = name.partition("@")
    if not at or not model or not own:
        raise Mistake(f"'{name}' names no alias: write it as <model>@<alias>, like {name.partition('/')[0] or 'buy'}@champion.")
    return f"{names.full('models', model, project)}/aliases/{own}"


def _moment(text: str) -> Timestamp:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Mistake(f"--as-of '{text}' is no time. Write it like 2026-03-27T14:53:00Z.") from None
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    return stamp


def _number(version: str) -> str:
    return version.rpartition("/")[2] or "(none)"


def _pairs(found: object) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(dict(found).items()))  # type: ignore[call-overload]
