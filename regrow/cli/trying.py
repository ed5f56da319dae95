"""`regrow try my.csv --target col`: a person's own file to a served model in one line.

Import, spec, label set, a run of the quickest design, promotion, a prediction: each step is an ordinary call, and its names
are printed, so that what was begun here can be gone on with by the other commands.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from regrow import local, names
from regrow.cli import output, rowfiles, runs, targets
from regrow.cli.datasets import bare_name, profile_of, show_understanding, size_of, upload
from regrow.cli.options import DATA, PATIENCE, Data, Mistake, Project, another_gateway, pairs
from regrow.cli.stack import announce, stop_on_signals, wait_for_stop
from regrow.client import Client
from regrow.credentials import (
    Credentials,
    credentials_file,
    credentials_of,
    key_of_folder,
    store_credentials,
    store_key_of_folder,
    stored_credentials,
)
from regrow.errors import CallError
from regrow.gateway.v1 import gateway_pb2
from regrow.labeling.v1 import datasets_pb2, problem_specs_pb2
from regrow.local import Local
from regrow.local.launcher import PORTS, is_running
from regrow.local.ports import problem_of
from regrow.local.supervisor import read_state
from regrow.registry.v1 import registry_pb2
from regrow.rows import values
from regrow.training.v1 import runs_pb2
from regrow.types.v1 import problem_spec_pb2

_SERVED_WITHIN = 30.0
_SHOWN = 300
"""Characters of a text that the printed command carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Where `try` works. `own` is the Regrow that it started itself."""

    credentials: Credentials
    own: Local | None = None


def try_file(
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSON lines or Parquet, plain or gzipped.")],
    target: Annotated[str, typer.Option("--target", "-t", help="The column to predict.")],
    exclude: Annotated[list[str] | None, typer.Option("--exclude", "-x", help="A column that the model must not read.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="What a column is, column=text (or numeric, ...).")] = None,
    metric: Annotated[str, typer.Option("--metric", help="How success is measured. Default: macro_f1.")] = "",
    design: Annotated[str, typer.Option("--design", help="The design to train.")] = "brew",
    name: Annotated[str, typer.Option("--name", help="What to call it all. Default: the file's name.")] = "",
    end: Annotated[bool, typer.Option("--exit", help="End when the model serves, instead of at Ctrl-C.")] = False,
    data: Data = DATA,
    project: Project = "default",
) -> None:
    """Your own file to a served model in one line: what was understood, how good it is, and the curl to call it.

    Uses the Regrow that you are logged in to; where there is none, starts one here.
    """
    started = time.monotonic()
    check_file(file, target)
    stop_on_signals()
    with gateway(data) as where, _client(where.credentials, project) as client:
        trial = Trial(client=client, file=file, target=target, name=_free_name(client, name or names.id_from(bare_name(file))))
        trial.run(exclude=exclude or [], kinds=pairs(kind or [], "--kind"), metric=metric, design=design)
        output.tell(f"From file to served model in {time.monotonic() - started:.0f} s.")
        trial.show_how_to_call(where.credentials)
        if where.own is not None and not end:
            wait_for_stop(
                f"Regrow keeps running at {where.own.url}. Ctrl-C stops it; `regrow up --data {data}` starts it again."
            )


def check_file(file: Path, target: str) -> None:
    """Raises `Mistake` at once for what is plainly wrong, before anything is started: no file, no bytes, a mistyped column."""
    size_of(file)
    columns = rowfiles.local_columns(file) if {".csv", ".tsv"} & set(file.suffixes) else []
    if target not in columns and targets.nearest(target, columns):
        raise Mistake(targets.no_such_column(target, columns))


def _client(credentials: Credentials, project: str) -> Client:
    return Client(credentials.grpc_address, credentials.key, project=project, retry_for=PATIENCE, ca_file=credentials.ca_file)


@contextmanager
def gateway(data: Path) -> Iterator[Gateway]:
    """The gateway of the login where it answers, else the one that runs on the data folder, else one that is started here."""
    known = stored_credentials()
    try:
        if known.key and _answers(known):
            if other := another_gateway(known, data):
                output.tell(f"{other} That of the login is asked.")
            yield Gateway(credentials=known)
            return
    except CallError as error:
        if error.code != "UNAVAILABLE" or not _is_here(known.grpc_address):
            raise
    if is_running(data) and (state := read_state(data)).get("ready"):
        running = credentials_of(state, _key_of(data))
        store_credentials(running)
        yield Gateway(credentials=running)
        return
    output.tell(f"No Regrow answers, so one is started here, on {data.absolute()}.")
    busy = any(problem_of(f"127.0.0.1:{port}") for port in PORTS.values())
    with Local(data=data, free_ports=busy, tell=output.tell) as own:
        credentials = announce(own, show_key=False)
        if own.admin_key:
            output.tell(f"Your admin key is kept in {credentials_file()}, where your commands find it.")
        if not credentials.key:
            credentials = own.credentials(_key_of(data))
            store_credentials(credentials)
        yield Gateway(credentials=credentials, own=own)


def _answers(credentials: Credentials) -> bool:
    with Client(credentials.grpc_address, credentials.key, retry_for=0, timeout=5, ca_file=credentials.ca_file) as client:
        client.keys.GetCaller(gateway_pb2.GetCallerRequest())
    return True


def _is_here(address: str) -> bool:
    return address.rpartition(":")[0].rpartition("/")[2] in ("127.0.0.1", "localhost", "[::1]")


def _key_of(data: Path) -> str:
    """The stored key of a data folder, or a new admin key, which who can write to the folder may always make."""
    key = key_of_folder(data)
    if not key:
        key = local.reset_key(data)
        output.tell(f"No key of this folder was stored here, so a new admin key was made: {store_key_of_folder(data, key)}.")
    return key


def _free_name(client: Client, wanted: str) -> str:
    """The first of `reviews`, `reviews-2`, ... that names no data set, spec or model yet."""
    for number in range(1, 1000):
        name = wanted if number == 1 else f"{wanted[:55]}-{number}"
        uses = (
            (client.datasets.GetDataset, datasets_pb2.GetDatasetRequest(name=client.name("datasets", name))),
            (client.specs.GetProblemSpec, problem_specs_pb2.GetProblemSpecRequest(name=client.name("problemSpecs", name))),
            (client.models.GetModel, registry_pb2.GetModelRequest(name=client.name("models", name))),
        )
        if not any(_exists(get, request) for get, request in uses):
            return name
    raise Mistake(f"There are a thousand data sets named like '{wanted}'. Give it another name with --name.")


def _exists(get: Any, request: Any) -> bool:
    try:
        get(request)
    except CallError as error:
        if error.code == "NOT_FOUND":
            return False
        raise
    return True


@dataclass(slots=True, kw_only=True)
class Trial:
    """One file on its way to a served model."""

    client: Client
    file: Path
    target: str
    name: str

    def run(self, *, exclude: list[str], kinds: dict[str, str], metric: str, design: str) -> None:
        """All steps, each printed. Raises `CallError`, `Mistake`; a file that can't be tried leaves nothing behind."""
        dataset = self._import(kinds)
        try:
            spec = self._understand(dataset, exclude, metric)
            labels = self.client.create_label_set(dataset.name, problem_spec=spec.name)
        except (CallError, Mistake):
            self.client.datasets.DeleteDataset(datasets_pb2.DeleteDatasetRequest(name=dataset.name, force=True))
            raise
        output.done(f"Labels: {labels.training_rows:,} rows to learn from, {labels.holdout_rows:,} held out to measure.")
        for note in labels.notes:
            output.warn(note)
        run = runs.follow(self.client, self.client.create_run(labels.name, model=self.name, template=design, express=True).name)
        if run.state != runs_pb2.RUN_STATE_SUCCEEDED:
            raise Mistake(f"The run ended as {runs.state_word(run.state)}: {run.problem}")
        output.done(f"Trained {names.short(run.version)}.")
        runs.show_report(run.report)
        self._promote(run.version)

    def _import(self, kinds: dict[str, str]) -> datasets_pb2.Dataset:
        holdout = datasets_pb2.Holdout(ignored_columns=[self.target])
        try:
            return upload(self.client, self.file, self.name, kinds=kinds, holdout=holdout)
        except CallError as error:
            columns = rowfiles.local_columns(self.file)
            if any(field.startswith("holdout.ignored_columns") for field in error.fields) and columns:
                raise Mistake(targets.no_such_column(self.target, columns)) from None
            raise

    def _understand(self, dataset: datasets_pb2.Dataset, exclude: list[str], metric: str) -> problem_spec_pb2.ProblemSpec:
        profile = profile_of(self.client, dataset.latest_version.name)
        show_understanding(dataset, profile)
        problem = targets.problem_with(profile, self.target)
        if problem:
            raise Mistake(problem)
        try:
            spec = self.client.create_spec(
                self.name, dataset=dataset.name, target=self.target, metric=metric or 0, excluded_columns=exclude
            )
        except ValueError as error:
            raise Mistake(f"--metric: {error}") from None
        rows = [(value, count, output.percent(share)) for value, count, share in targets.balance(profile, self.target)]
        output.table(f"Classes in '{self.target}'", ("class", "rows", "share"), rows, numbers=("rows", "share"))
        for warning in spec.warnings:
            output.warn(warning)
        if any("excluded_columns" in warning for warning in spec.warnings):
            output.tell("A column that is not known yet when a prediction is needed is left out by --exclude COLUMN.")
        return spec

    def _promote(self, version: str) -> None:
        self.client.promote(version, why="The first version, made by `regrow try`.")
        deadline = time.monotonic() + _SERVED_WITHIN
        while True:
            try:
                if self.client.served(self.name).version == version:
                    return output.done(f"{names.short(version)} is the champion, and serves.")
            except CallError as error:
                if error.code not in ("NOT_FOUND", "FAILED_PRECONDITION", "UNAVAILABLE") or time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise Mistake(
                    f"{names.short(version)} was promoted, but the gateway does not serve it yet. Look at `regrow status`."
                )
            time.sleep(0.1)

    def show_how_to_call(self, credentials: Credentials) -> None:
        """Prints the exact command that predicts a real row, and its answer."""
        served = self.client.served(self.name)
        row = self._example(served)
        answer = self.client.predict(self.name, [row]).predictions[0]
        body = json.dumps({"rows": [row]}, ensure_ascii=False)
        key = self._key_to_show(credentials)
        trust = f"--cacert {shlex.quote(credentials.ca_file)} " if credentials.ca_file else ""
        output.say("\nCall it:", style="bold")
        output.say(
            f"curl -s {trust}{credentials.url}/v1/{served.name}:predict \\\n"
            f"  -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n"
            f"  -d {shlex.quote(body)}"
        )
        top = ", ".join(f"{one.class_name} {one.probability:.3f}" for one in answer.probabilities[:5])
        output.say(f"It answers: {', '.join(answer.class_names) or '(abstains)'} ({top})")
        output.say(f"\nGo on with `regrow runs show`, `regrow feedback send {self.name}`, `regrow policy create {self.name}`.")

    def _example(self, served: gateway_pb2.ServedModel) -> dict[str, Any]:
        """A real row of the file, whole and short where there is one, with the columns that the model reads."""
        request = datasets_pb2.ListRowsRequest(
            parent=f"{self.client.name('datasets', self.name)}/versions/latest", page_size=200
        )
        rows = [values(row.values) for row in self.client.datasets.ListRows(request).rows]
        inputs = [column.name for column in served.inputs]
        read = [{name: row[name] for name in inputs if row.get(name) is not None} for row in rows]
        complete = max(map(len, read), default=0)
        row = min((row for row in read if len(row) == complete), key=lambda row: len(str(row)), default={})
        return {name: value[:_SHOWN] if isinstance(value, str) else value for name, value in row.items()}

    def _key_to_show(self, credentials: Credentials) -> str:
        """A viewer's key for this project, since an admin's has no place in a shell's history; else the name of a variable."""
        key = gateway_pb2.Key(
            display_name=f"try {self.name}", role=gateway_pb2.ROLE_VIEWER, projects=[f"projects/{self.client.project}"]
        )
        try:
            return str(self.client.keys.CreateKey(gateway_pb2.CreateKeyRequest(key=key)).secret)
        except CallError as error:
            if error.code != "PERMISSION_DENIED":
                raise
        return "'$REGROW_KEY'"  # closes the quotes around it, so that the shell fills it in
