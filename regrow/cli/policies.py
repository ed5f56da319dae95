"""`regrow policy`: when a model is retrained from feedback, what must hold before promotion, and what became of it."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from regrow import choices, names
from regrow.cli import output
from regrow.cli.options import Filter, Json, Mistake, Most, OrderBy, Project, connect
from regrow.client import Client
from regrow.paging import iterate
from regrow.training.v1 import policies_pb2 as pb

app = typer.Typer(help="Retrain from feedback, and promote what is better.", no_args_is_help=True)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_ENDED = (pb.REGROWTH_STATE_PROMOTED, pb.REGROWTH_STATE_REFUSED, pb.REGROWTH_STATE_FAILED)


@app.command("create")
def create(
    model: Annotated[str, typer.Argument(help="The model.")],
    name: Annotated[str, typer.Option("--name", help="The policy's id. Default: the model's.")] = "",
    count: Annotated[
        int, typer.Option("--count", min=0, help="Retrain once this many new feedback labels came; 0: not by count.")
    ] = 0,
    max_age: Annotated[str, typer.Option("--max-age", help="Retrain once the oldest unused label is this old: 12h, 7d.")] = "",
    min_interval: Annotated[str, typer.Option("--min-interval", help="Never sooner than this after the one before: 1h.")] = "",
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="How much worse on the holdout is still no worse.")
    ] = 0.0,
    significance: Annotated[
        float, typer.Option("--significance", min=0.0, help="The level of the paired test; 0 means 0.05.")
    ] = 0.0,
    promote_on_tie: Annotated[
        bool, typer.Option("--promote-on-tie", help="Promote what is no worse, without proof of better.")
    ] = False,
    alias: Annotated[str, typer.Option("--alias", help="The alias that names the champion.")] = "champion",
    project: Project = "default",
    json: Json = False,
) -> None:
    """Create a model's policy."""
    with connect(project) as client:
        policy = pb.Policy(
            model=client.name("models", model), alias=alias, feedback_count=count, max_age=_duration(max_age, "--max-age"),
            min_interval=_duration(min_interval, "--min-interval"), tolerance=tolerance, significance=significance,
            promote_on_tie=promote_on_tie,
        )  # fmt: skip
        request = pb.CreatePolicyRequest(parent=f"projects/{project}", policy_id=name or names.short(model), policy=policy)
        made = client.policies.CreatePolicy(request)
    output.show_json(made) if json else _show(made)


def _duration(text: str, option: str) -> Duration | None:
    if not text:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if not found:
        raise Mistake(f"{option} '{text}' is no duration: write a number and s, m, h, d or w, as in 12h.")
    duration = Duration()
    duration.FromMilliseconds(round(float(found[1]) * _SECONDS[found[2]] * 1000))
    return duration


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="The policy.")], project: Project = "default", json: Json = False) -> None:
    """Show a policy."""
    with connect(project) as client:
        found = client.policies.GetPolicy(pb.GetPolicyRequest(name=client.name("policies", name)))
    output.show_json(found) if json else _show(found)


def _show(policy: pb.Policy) -> None:
    rules = [f"{policy.feedback_count:,} new labels"] * bool(policy.feedback_count)
    rules += [f"a label older than {_words(policy.max_age)}"] * policy.HasField("max_age")
    output.facts({
        "policy": names.short(policy.name),
        "model": names.short(policy.model),
        "alias": policy.alias,
        "retrains at": " or ".join(rules) or "your word alone (`regrow policy trigger`)",
        "not sooner than": f"{_words(policy.min_interval)} after the one before" if policy.HasField("min_interval") else "",
        "promotes": _gate(policy),
        "paused": policy.paused or "",
        "new labels": f"{policy.pending_feedback:,}",
    })  # fmt: skip


def _gate(policy: pb.Policy) -> str:
    wanted = "what is no worse" if policy.promote_on_tie else f"what is better at level {policy.significance or 0.05:g}"
    return f"{wanted}, within {policy.tolerance:g} on the holdout" if policy.tolerance else wanted


def _words(duration: Duration) -> str:
    seconds = duration.ToMilliseconds() / 1000
    unit = next((u for u in ("d", "h", "m") if seconds >= _SECONDS[u] and seconds % _SECONDS[u] == 0), "s")
    return f"{seconds / _SECONDS[unit]:g}{unit}"


@app.command("list")
def list_policies(filter: Filter = "", order_by: OrderBy = "", project: Project = "default", json: Json = False) -> None:
    """List policies."""
    with connect(project) as client:
        request = pb.ListPoliciesRequest(parent=f"projects/{project}", filter=filter, order_by=order_by)
        found = list(iterate(client.policies.ListPolicies, request))
    if json:
        return output.show_json(found)
    rows = [(names.short(p.name), names.short(p.model), p.alias, p.feedback_count, p.pending_feedback, p.paused) for p in found]
    columns = ("policy", "model", "alias", "at labels", "new labels", "paused")
    output.table("", columns, rows, numbers=columns[3:5])


@app.command("pause")
def pause(
    name: Annotated[str, typer.Argument(help="The policy.")],
    resume: Annotated[bool, typer.Option("--resume", help="Start again.")] = False,
    project: Project = "default",
) -> None:
    """Keep counting feedback, but start nothing; --resume starts again."""
    with connect(project) as client:
        policy = client.policies.GetPolicy(pb.GetPolicyRequest(name=client.name("policies", name)))
        policy.paused = not resume
        client.policies.UpdatePolicy(pb.UpdatePolicyRequest(policy=policy, update_mask=FieldMask(paths=["paused"])))
    output.done(f"{name} {'runs again' if resume else 'is paused'}.")


@app.command("update")
def update(
    name: Annotated[str, typer.Argument(help="The policy.")],
    count: Annotated[int | None, typer.Option("--count", min=0, help="Retrain at this many labels; 0: not by count.")] = None,
    max_age: Annotated[str | None, typer.Option("--max-age", help="Retrain at this age of a label; '': not by age.")] = None,
    min_interval: Annotated[str | None, typer.Option("--min-interval", help="Never sooner than this; '': at once.")] = None,
    tolerance: Annotated[float | None, typer.Option("--tolerance", min=0.0, help="How much worse is still no worse.")] = None,
    significance: Annotated[float | None, typer.Option("--significance", min=0.0, help="The level of the test.")] = None,
    promote_on_tie: Annotated[
        bool | None, typer.Option("--promote-on-tie/--only-better", help="Promote what is no worse, or only what is better.")
    ] = None,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Change a policy's rules; those that aren't named stay."""
    durations = {"max_age": max_age, "min_interval": min_interval}
    rules = {"feedback_count": count, "tolerance": tolerance, "significance": significance, "promote_on_tie": promote_on_tie}
    with connect(project) as client:
        policy = client.policies.GetPolicy(pb.GetPolicyRequest(name=client.name("policies", name)))
        for field, value in rules.items():
            if value is not None:
                setattr(policy, field, value)
        for field, text in durations.items():
            if text is not None:
                policy.ClearField(field)
                duration = _duration(text, f"--{field.replace('_', '-')}")
                if duration is not None:
                    getattr(policy, field).CopyFrom(duration)
        named = [field for field, value in (rules | durations).items() if value is not None]
        if not named:
            raise Mistake("Name at least one rule to change; `regrow policy update --help` lists them.")
        request = pb.UpdatePolicyRequest(policy=policy, update_mask=FieldMask(paths=named))
        changed = client.policies.UpdatePolicy(request)
    output.show_json(changed) if json else _show(changed)


@app.command("trigger")
def trigger(
    name: Annotated[str, typer.Argument(help="The policy.")],
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start it, and end at once.")] = False,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Start a regrowth now, and show what becomes of it."""
    with connect(project) as client:
        regrowth = client.policies.TriggerRegrowth(pb.TriggerRegrowthRequest(name=client.name("policies", name)))
        if not no_wait:
            regrowth = _follow(client, regrowth)
    output.show_json(regrowth) if json else _show_regrowth(regrowth)
    if regrowth.state == pb.REGROWTH_STATE_FAILED:
        raise typer.Exit(1)


def _follow(client: Client, regrowth: pb.Regrowth) -> pb.Regrowth:
    state = 0
    while True:
        if regrowth.state != state:
            state = regrowth.state
            output.tell(_state(regrowth))
        if state in _ENDED:
            return regrowth
        time.sleep(0.5)
        regrowth = client.policies.GetRegrowth(pb.GetRegrowthRequest(name=regrowth.name))


def _state(regrowth: pb.Regrowth) -> str:
    return choices.word(pb.RegrowthState, regrowth.state)


def _show_regrowth(regrowth: pb.Regrowth) -> None:
    compared = regrowth.comparison
    output.facts({
        "regrowth": names.short(regrowth.name),
        "state": _state(regrowth),
        "why it started": regrowth.trigger,
        "feedback counted": regrowth.feedback_votes,
        "label set": names.short(regrowth.label_set) if regrowth.label_set else "",
        "champion": names.short(regrowth.champion) if regrowth.champion else "",
        "challenger": names.short(regrowth.challenger) if regrowth.challenger else "",
        "compared": _comparison(compared) if regrowth.HasField("comparison") else "",
        "decision": regrowth.decision,
    })  # fmt: skip


def _comparison(one: pb.Comparison) -> str:
    return (
        f"{one.metric.replace('_', ' ')} {one.champion:.3f} -> {one.challenger:.3f}, difference {one.difference:+.3f} "
        f"({one.low:+.3f} to {one.high:+.3f}), p = {one.p_value:.3g}, on {one.rows:,} rows"
    )


@app.command("regrowths")
def regrowths(
    name: Annotated[str, typer.Argument(help="The policy.")],
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Most = 20,
    project: Project = "default",
    json: Json = False,
) -> None:
    """List a policy's regrowths, newest first: why each started, what it made, and why it was promoted or not."""
    with connect(project) as client:
        request = pb.ListRegrowthsRequest(parent=client.name("policies", name), filter=filter, order_by=order_by)
        listed = iterate(client.policies.ListRegrowths, request)
        found: list[Any] = [one for one, _ in zip(listed, range(limit), strict=False)]
    if json:
        return output.show_json(found)
    rows = [
        (names.short(r.name), _state(r), r.trigger, r.feedback_votes, names.short(r.challenger) if r.challenger else "",
         r.decision, output.when(r.create_time))
        for r in found
    ]  # fmt: skip
    columns = ("regrowth", "state", "why it started", "feedback", "challenger", "decision", "started")
    output.table("", columns, rows, numbers=("feedback",))
