"""`regrow login` and `regrow keys`: who may call, and as whom this user's commands do."""

from __future__ import annotations

import json as jsonlib
import os
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from regrow import choices, local, names
from regrow.cli import output
from regrow.cli.options import DATA, PATIENCE, Data, Filter, Json, Mistake, OrderBy, connect, span
from regrow.client import Client
from regrow.credentials import (
    Credentials,
    credentials_of,
    key_of_folder,
    replace_key,
    store_credentials,
    store_key_of_folder,
    stored_credentials,
    trusting,
)
from regrow.gateway.v1 import gateway_pb2
from regrow.local.launcher import is_running
from regrow.local.supervisor import read_state
from regrow.paging import iterate

keys = typer.Typer(help="Create, list, change, rotate and revoke API keys.", no_args_is_help=True)
_GRPC_PORT = 8081
CallsPerSecond = Annotated[float | None, typer.Option(min=0, help="How often it may call; 0 is no limit.")]
Burst = Annotated[int | None, typer.Option(min=0, help="Calls that may come at once; 0 is one second's.")]
RowsPerDay = Annotated[int | None, typer.Option(min=0, help="Rows predicted in a day, UTC; 0 is no limit.")]
FeedbackPerDay = Annotated[int | None, typer.Option(min=0, help="Pieces of feedback in a day; 0 is no limit.")]


def login(
    url: Annotated[str, typer.Option("--url", help="Where REST answers, http(s)://host:port.")] = "",
    grpc: Annotated[
        str, typer.Option("--grpc", help="Where gRPC answers, host:port. Default: the URL's host, port 8081.")
    ] = "",
    key: Annotated[str, typer.Option("--key", help="The API key. Asked for where it is left out.")] = "",
    ca_file: Annotated[
        str, typer.Option("--ca-file", help="The authority (PEM) of its certificate, where the system doesn't know it.")
    ] = "",
    check: Annotated[bool, typer.Option("--check", help="Only show who you are there; store nothing.")] = False,
) -> None:
    """Store which gateway your commands talk to, and with which key, after trying both.

    REGROW_URL, REGROW_GRPC, REGROW_KEY and REGROW_CA_FILE beat it, and so does the Regrow that runs on REGROW_DATA_DIR.
    """
    known = stored_credentials()
    url = (url or known.url).rstrip("/")
    is_known = url == known.url.rstrip("/") and grpc in ("", known.grpc_address)
    address = grpc or (known.grpc_address if is_known else _grpc_of(url))
    key = key or (known.key if check and is_known else "") or typer.prompt("API key", hide_input=True)
    trusted = str(Path(ca_file).absolute()) if ca_file else known.ca_file if is_known else ""
    credentials = Credentials(url=url, grpc_address=address, key=key.strip(), ca_file=trusted)
    _show_caller(credentials)
    if not check:
        output.done(f"Stored in {store_credentials(credentials)}.")


def _grpc_of(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Mistake(f"'{url}' is no URL: write http://host:port.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{'https://' if parts.scheme == 'https' else ''}{host}:{_GRPC_PORT}"


def _show_caller(credentials: Credentials) -> None:
    with Client(credentials.grpc_address, credentials.key, retry_for=PATIENCE, ca_file=credentials.ca_file) as client:
        caller = client.keys.GetCaller(gateway_pb2.GetCallerRequest())
    _check_rest(credentials)
    output.facts({"REST": credentials.url, "gRPC": credentials.grpc_address, **_facts_of(caller)})


def _check_rest(credentials: Credentials) -> None:
    request = urllib.request.Request(f"{credentials.url}/v1/caller", headers={"Authorization": f"Bearer {credentials.key}"})
    try:
        with urllib.request.urlopen(request, timeout=10, context=trusting(credentials.ca_file)) as answer:
            jsonlib.load(answer)
    except urllib.error.HTTPError as refusal:
        raise Mistake(
            f"REST at {credentials.url} refuses the key that gRPC takes ({refusal.code}). Is it another Regrow?"
        ) from None
    except (OSError, ValueError) as error:
        raise Mistake(f"gRPC answers at {credentials.grpc_address}, but REST at {credentials.url} does not: {error}") from None


def _facts_of(key: gateway_pb2.Key) -> dict[str, object]:
    projects = ", ".join(name.removeprefix("projects/") for name in key.projects) or "all"
    facts: dict[str, object] = {
        "key": key.display_name or key.name,
        "role": choices.word(gateway_pb2.Role, key.role),
        "projects": projects,
    }
    if key.models:
        facts["models"] = ", ".join(names.short(name) for name in key.models)
    if key.HasField("expire_time"):
        facts["ends"] = output.when(key.expire_time)
    for field, value in key.limits.ListFields():
        facts[field.name.replace("_", " ")] = f"{value:g}" if value else "no limit"
    return facts


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    role: Annotated[
        str, typer.Option("--role", help="viewer (also predicts and sends feedback), labeler, editor or admin.")
    ] = "viewer",
    project: Annotated[list[str] | None, typer.Option("--project", "-p", help="Only this project. May be repeated.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Only predict, send feedback about and read this model. May be repeated."),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Make it although a model of --model doesn't exist yet.")
    ] = False,
    expires: Annotated[str, typer.Option("--expires", help="When it ends by itself: 90d, 12h, 30m. Default: never.")] = "",
    calls_per_second: CallsPerSecond = None,
    burst: Burst = None,
    rows_per_day: RowsPerDay = None,
    feedback_per_day: FeedbackPerDay = None,
    json: Json = False,
) -> None:
    """Create a key. Its secret is printed once and kept nowhere."""
    try:
        number = choices.number(gateway_pb2.Role, role)
    except ValueError as error:
        raise Mistake(f"--role: {error}") from None
    projects = [f"projects/{one.removeprefix('projects/')}" for one in project or []]
    limits = gateway_pb2.KeyLimits(
        calls_per_second=calls_per_second, burst=burst, rows_per_day=rows_per_day, feedback_per_day=feedback_per_day
    )
    key = gateway_pb2.Key(
        display_name=name, role=number, projects=projects, models=_models(model or [], projects), limits=limits
    )
    if expires:
        key.ttl.FromTimedelta(span(expires, "--expires"))
    with connect() as client:
        made = client.keys.CreateKey(gateway_pb2.CreateKeyRequest(key=key, allow_missing_models=allow_missing))
    if json:
        return output.show_json(made)
    output.facts({"name": made.key.name, **_facts_of(made.key)})
    output.say(f"The secret, shown this once:\n  {made.secret}")


def _models(given: list[str], projects: list[str]) -> list[str]:
    if given and len(projects) > 1:
        raise Mistake("--model goes with one --project, the one that the models are in.")
    home = projects[0].removeprefix("projects/") if projects else "default"
    return [names.full("models", one, home) for one in given]


@keys.command("update")
def update(
    name: Annotated[str, typer.Argument(help="The key's name, as `regrow keys list` shows it.")],
    display_name: Annotated[str | None, typer.Option("--name", help="What it is for.")] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="When it ends, from now: 90d, 12h; or never.")] = None,
    calls_per_second: CallsPerSecond = None,
    burst: Burst = None,
    rows_per_day: RowsPerDay = None,
    feedback_per_day: FeedbackPerDay = None,
    json: Json = False,
) -> None:
    """Change what a key is for, when it ends, or how much it may do. Its secret and its rights stay."""
    limits = gateway_pb2.KeyLimits(
        calls_per_second=calls_per_second, burst=burst, rows_per_day=rows_per_day, feedback_per_day=feedback_per_day
    )
    key = gateway_pb2.Key(name=f"keys/{name.removeprefix('keys/')}", display_name=display_name or "", limits=limits)
    if expires not in (None, "never"):
        key.ttl.FromTimedelta(span(str(expires), "--expires"))
    request = gateway_pb2.UpdateKeyRequest(key=key)
    said = {"display_name": display_name is not None, "expire_time": expires is not None}
    request.update_mask.paths.extend(path for path, given in said.items() if given)
    request.update_mask.paths.extend(f"limits.{field.name}" for field, _ in limits.ListFields())
    if not request.update_mask.paths:
        raise Mistake("Say what changes: --name, --expires, --calls-per-second, --rows-per-day, ...")
    with connect() as client:
        changed = client.keys.UpdateKey(request)
    if json:
        return output.show_json(changed)
    output.facts({"name": changed.name, **_facts_of(changed)})


@keys.command("rotate")
def rotate(
    name: Annotated[str, typer.Argument(help="The key's name, as `regrow keys list` shows it.")],
    grace: Annotated[str, typer.Option("--grace", help="How long the secret before stays good: 2h, 7d, or 0s.")] = "1d",
    json: Json = False,
) -> None:
    """Give a key a new secret, printed once. The one before stays good for a while, so that an app can change over.

    Where it is the key that you are logged in with, the new secret is stored, too.
    """
    request = gateway_pb2.RotateKeyRequest(name=f"keys/{name.removeprefix('keys/')}")
    request.grace.FromTimedelta(span(grace, "--grace"))
    with connect() as client:
        caller, used = client.keys.GetCaller(gateway_pb2.GetCallerRequest()), stored_credentials().key
        made = client.keys.RotateKey(request)
    if made.key.name == caller.name:
        _keep_own(used, made.secret)
    if json:
        return output.show_json(made)
    until = output.when(made.key.former_expire_time) if made.key.HasField("former_expire_time") else "it ended now"
    output.facts({"name": made.key.name, **_facts_of(made.key), "the secret before is good until": until})
    output.say(f"The new secret, shown this once:\n  {made.secret}")


def _keep_own(old: str, new: str) -> None:
    """The key that these commands call with has another secret from now on."""
    if where := replace_key(old, new):
        output.done(f"This is the key that you are logged in with: its new secret is stored in {where}.")
    if os.environ.get("REGROW_KEY"):
        output.warn("REGROW_KEY still holds the secret before: put the new one there.")


@keys.command("show")
def show(
    name: Annotated[str, typer.Argument(help="The key's name, as `regrow keys list` shows it.")], json: Json = False
) -> None:
    """Show a key: what it may do, when it was last used, when it ends. Never its secret."""
    with connect() as client:
        key = client.keys.GetKey(gateway_pb2.GetKeyRequest(name=f"keys/{name.removeprefix('keys/')}"))
    if json:
        return output.show_json(key)
    times = {"made": key.create_time, "last used": key.last_use_time, "secret before ends": key.former_expire_time}
    facts = {"name": key.name, **_facts_of(key), "begins with": key.prefix}
    output.facts({**facts, **{word: output.when(stamp) for word, stamp in times.items() if stamp.seconds}})


@keys.command("list")
def list_keys(
    revoked: Annotated[bool, typer.Option("--revoked", help="Show revoked keys too.")] = False,
    filter: Filter = "",
    order_by: OrderBy = "",
    json: Json = False,
) -> None:
    """List keys, newest first. Secrets are never shown."""
    with connect() as client:
        request = gateway_pb2.ListKeysRequest(show_revoked=revoked, filter=filter, order_by=order_by)
        found = list(iterate(client.keys.ListKeys, request))
    if json:
        return output.show_json(found)
    output.table(
        "",
        ("key", "for", "role", "good for", "begins with", "made", "last used", "ends"),
        [
            (
                k.name,
                *list(_facts_of(k).values())[:2],
                ", ".join(names.short(name) for name in k.models or k.projects) or "all",
                k.prefix,
                output.when(k.create_time),
                output.when(k.last_use_time),
                _end_of(k),
            )
            for k in found
        ],
    )


def _end_of(key: gateway_pb2.Key) -> str:
    if key.HasField("revoke_time"):
        return f"revoked {output.when(key.revoke_time)}"
    return output.when(key.expire_time) if key.HasField("expire_time") else ""


@keys.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="The key's name, as `regrow keys list` shows it.")]) -> None:
    """Revoke a key at once."""
    with connect() as client:
        key = client.keys.RevokeKey(gateway_pb2.RevokeKeyRequest(name=f"keys/{name.removeprefix('keys/')}"))
    output.done(f"{key.name} ({key.display_name}) is revoked.")


@keys.command("reset")
def reset(data: Data = DATA) -> None:
    """Make a new admin key on this machine, where the old one is lost. The other keys stay good."""
    key = local.reset_key(data)
    where = store_key_of_folder(data, key)
    state, known = read_state(data), stored_credentials()
    if is_running(data) and state.get("grpc"):
        store_credentials(credentials_of(state, key))
    elif not known.key:
        store_credentials(replace(known, key=key_of_folder(data)))
    output.say(f"A new admin key, shown this once (your own commands find it in {where}):\n  {key}")
