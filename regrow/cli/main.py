"""`regrow`: puts the commands together, and turns every failure into a sentence and an exit code.

Exit codes: 0 done, 1 refused or failed, 2 the command line itself was wrong, 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import regrow
from regrow.cli import (
    access,
    audit,
    batches,
    certs,
    datasets,
    doctor,
    events,
    feedback,
    labelers,
    labels,
    ledger,
    models,
    operations,
    output,
    policies,
    projects,
    registry,
    runs,
    specs,
    stack,
    status,
    trying,
    versions,
)
from regrow.cli.options import Mistake
from regrow.errors import CallError
from regrow.local import LaunchError

app = typer.Typer(
    name="regrow",
    help="Raw text and tables plus a few human labels become a production classifier that regrows from feedback.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

START, DATA, LEARN, SERVE, ACCESS = "Start here", "Data and labels", "Train", "Serve and regrow", "Access"

app.command("try", rich_help_panel=START)(trying.try_file)
app.command("up", rich_help_panel=START)(stack.up)
app.command("down", rich_help_panel=START)(stack.down)
app.command("status", rich_help_panel=START)(status.status)
app.command("doctor", rich_help_panel=START)(doctor.doctor)
app.command("import", rich_help_panel=DATA)(datasets.import_file)
app.add_typer(datasets.app, name="datasets", rich_help_panel=DATA)
datasets.app.command("versions")(versions.list_versions)
datasets.app.command("version")(versions.show_version)
datasets.app.command("append")(versions.append)
datasets.app.command("retype")(versions.retype)
app.add_typer(specs.app, name="spec", rich_help_panel=DATA)
labelers.app.command("set")(labels.create)
labelers.app.command("sets")(labels.list_sets)
labelers.app.command("show")(labels.show)
labelers.app.command("export")(labels.export)
labelers.app.command("ledger")(ledger.list_votes)
labelers.app.command("retract")(ledger.retract)
app.add_typer(labelers.app, name="label", rich_help_panel=DATA)
app.command("train", rich_help_panel=LEARN)(runs.train)
app.add_typer(runs.app, name="runs", rich_help_panel=LEARN)
app.command("models", rich_help_panel=SERVE)(models.list_models)
app.add_typer(registry.app, name="model", rich_help_panel=SERVE)
app.command("promote", rich_help_panel=SERVE)(models.promote)
app.command("predict", rich_help_panel=SERVE)(models.predict)
app.add_typer(batches.app, name="batch", rich_help_panel=SERVE)
app.add_typer(feedback.app, name="feedback", rich_help_panel=SERVE)
app.add_typer(policies.app, name="policy", rich_help_panel=SERVE)
app.add_typer(events.app, name="events", rich_help_panel=SERVE)
app.add_typer(operations.app, name="operations", rich_help_panel=SERVE)
app.add_typer(projects.app, name="projects", rich_help_panel=ACCESS)
app.command("login", rich_help_panel=ACCESS)(access.login)
app.command("certs", rich_help_panel=ACCESS)(certs.certs)
app.add_typer(access.keys, name="keys", rich_help_panel=ACCESS)
app.add_typer(audit.app, name="audit", rich_help_panel=ACCESS)


def _version(asked: bool) -> None:
    if asked:
        output.say(regrow.__version__)
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Raw text and tables plus a few human labels become a production classifier that regrows from feedback."""


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and ends the process."""
    try:
        app(args=arguments)
    except CallError as error:
        output.fail_call(error)
    except (Mistake, LaunchError) as error:
        output.fail(str(error))
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has enough
    except OSError as error:
        output.fail(f"{error.filename}: {error.strerror}." if error.filename else str(error))
    sys.exit(1)
