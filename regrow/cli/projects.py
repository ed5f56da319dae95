"""`regrow projects`: the names that own everything else."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from regrow import names
from regrow.cli import output
from regrow.cli.options import Filter, Json, Most, OrderBy, connect
from regrow.registry.v1 import registry_pb2 as pb

app = typer.Typer(help="Create, list, show and delete projects.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The project's id.")]


@app.command("create")
def create(
    name: Name, description: Annotated[str, typer.Option("--description", help="What it is for.")] = "", json: Json = False
) -> None:
    """Create a project."""
    with connect() as client:
        made = client.projects.CreateProject(
            pb.CreateProjectRequest(project_id=name, project=pb.Project(description=description))
        )
    if json:
        return output.show_json(made)
    output.done(f"Created {made.name}.")


@app.command("list")
def list_projects(filter: Filter = "", order_by: OrderBy = "", limit: Most = 200, json: Json = False) -> None:
    """List the projects that your key may enter, by name."""
    with connect() as client:
        found = list(islice(client.projects.ListProjects.each(pb.ListProjectsRequest(filter=filter, order_by=order_by)), limit))
    if json:
        return output.show_json(found)
    rows = [(names.short(one.name), output.when(one.create_time), one.description) for one in found]
    output.table("", ("project", "created", "description"), rows)


@app.command("show")
def show(name: Name, json: Json = False) -> None:
    """Show a project."""
    with connect() as client:
        found = client.projects.GetProject(pb.GetProjectRequest(name=f"projects/{names.short(name)}"))
    if json:
        return output.show_json(found)
    output.facts({"project": found.name, "created": output.when(found.create_time), "description": found.description})


@app.command("delete")
def delete(name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False) -> None:
    """Delete a project that has no models."""
    if not yes:
        typer.confirm(f"Delete the project {name}?", abort=True)
    with connect() as client:
        client.projects.DeleteProject(pb.DeleteProjectRequest(name=f"projects/{names.short(name)}"))
    output.done(f"Deleted {name}.")
