"""`regrow operations`: calls that run in the background."""

from __future__ import annotations

import json as jsonlib
from itertools import islice
from typing import Annotated, Any

import typer
from google.longrunning import operations_pb2 as pb
from google.protobuf import json_format

from regrow import names
from regrow.cli import output
from regrow.cli.options import Filter, Json, Mistake, Most, Project, connect
from regrow.client import Client
from regrow.gateway.v1 import operations_pb2
from regrow.messages import metadata_of

app = typer.Typer(help="Calls that run in the background: start, list, await and cancel them.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The operation.")]


@app.command("start")
def start(
    method: Annotated[str, typer.Argument(help="The call, like LabelSetService/CreateLabelSet.")],
    request: Annotated[str, typer.Argument(help="Its request as JSON, as the REST API has it, with names in full.")],
    project: Project = "default",
    json: Json = False,
) -> None:
    """Start a slow call in the background, and end at once."""
    with connect(project) as client:
        call = _call(client, method)
        try:
            message = json_format.Parse(request, call.request())
        except json_format.ParseError as error:
            raise Mistake(f"The request is no {call.request.DESCRIPTOR.name}: {error}.") from None
        started = client.start(call, message)
    if json:
        return output.show_json(started)
    output.done(f"Started. `regrow operations wait {names.short(started.name)}` shows how it ends.")


@app.command("list")
def list_operations(filter: Filter = "", limit: Most = 50, project: Project = "default", json: Json = False) -> None:
    """List operations, newest first."""
    with connect(project) as client:
        request = pb.ListOperationsRequest(name=f"projects/{project}", filter=filter)
        found = list(islice(client.operations.ListOperations.each(request), limit))
    if json:
        return output.show_json(found)
    rows = []
    for one in found:
        about = metadata_of(one)
        problem = one.error.message if one.HasField("error") else ""
        rows.append(
            (names.short(one.name), about.method.rpartition("/")[2], _state(about), output.when(about.create_time), problem)
        )
    output.table("", ("operation", "call", "state", "asked for", "problem"), rows)


@app.command("show")
def show(name: Name, project: Project = "default", json: Json = False) -> None:
    """Show an operation as it is now."""
    with connect(project) as client:
        found = client.operations.GetOperation(pb.GetOperationRequest(name=client.name("operations", name)))
    _show(found, json)


@app.command("wait")
def wait(
    name: Name,
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="Give up after so long; 0: never.")] = 0.0,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Wait until an operation ends; exit code 1 where it failed or hasn't ended."""
    with connect(project) as client:
        found = client.wait_for_operation(name, seconds=seconds or None)
    _show(found, json)
    if not found.done or found.HasField("error"):
        raise typer.Exit(1)


@app.command("cancel")
def cancel(name: Name, project: Project = "default") -> None:
    """Cancel an operation; what was done until then may stand."""
    with connect(project) as client:
        client.operations.CancelOperation(pb.CancelOperationRequest(name=client.name("operations", name)))
    output.done(f"Cancelled {name}.")


@app.command("delete")
def delete(name: Name, project: Project = "default") -> None:
    """Forget an operation that has ended."""
    with connect(project) as client:
        client.operations.DeleteOperation(pb.DeleteOperationRequest(name=client.name("operations", name)))
    output.done(f"Forgot {name}.")


def _call(client: Client, method: str) -> Any:
    """The client's call by `Service/Method`, with or without its package. Raises `Mistake`."""
    calls = {call.path[1:]: call for service in vars(client).values() for call in _calls(service)}
    found = next((call for path, call in calls.items() if path == method or path.endswith(f".{method}")), None)
    if found is None:
        raise Mistake(f"There is no call '{method}'. Write it like LabelSetService/CreateLabelSet.")
    return found


def _calls(service: object) -> list[Any]:
    return [one for one in vars(service).values() if hasattr(one, "path")] if hasattr(service, "__dict__") else []


def _show(found: pb.Operation, json: bool) -> None:
    if json:
        return output.show_json(found)
    about = metadata_of(found)
    output.facts({
        "operation": found.name, "call": about.method, "state": _state(about), "by": about.created_by,
        "attempts": about.attempts, "asked for": output.when(about.create_time), "ended": output.when(about.end_time),
        "problem": found.error.message if found.HasField("error") else "",
    })  # fmt: skip
    if found.HasField("response"):
        output.say(jsonlib.dumps(output.plain(found.response), indent=2, ensure_ascii=False))


def _state(about: operations_pb2.OperationMetadata) -> str:
    return operations_pb2.OperationState.Name(about.state).removeprefix("OPERATION_STATE_").lower()
