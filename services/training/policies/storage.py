"""What policies, regrowths and waiting feedback read and write. Each function belongs to the session that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from services.common.database import new_etag, now
from services.common.errors import AlreadyExists, EtagMismatch, NotFound
from services.common.listing import Asked, Collection, Sort, choice, number, text, time
from services.common.tracing import TraceContext, current_context
from services.training.policies.rules import History, Policy, Regrowth, Rules, State
from services.training.tables import FeedbackRow, PolicyRow, ReadOffsetRow, RegrowthRow

_KEEP_USED = timedelta(days=90)
"""How long used feedback is known by its id: longer than the topic keeps it."""


POLICIES = Collection(
    {"name": text(PolicyRow.name), "model": text(PolicyRow.model), "create_time": time(PolicyRow.created)},
    key=[Sort(name="name", column=PolicyRow.name)],
)
REGROWTHS = Collection(
    {
        "state": choice(RegrowthRow.state, {state.value: state.value for state in State}), "trigger": text(RegrowthRow.trigger),
        "label_set": text(RegrowthRow.label_set), "feedback_votes": number(RegrowthRow.feedback_votes),
        "run": text(RegrowthRow.run), "champion": text(RegrowthRow.champion), "challenger": text(RegrowthRow.challenger),
        "decision": text(RegrowthRow.decision), "create_time": time(RegrowthRow.created),
        "end_time": time(RegrowthRow.ended, nullable=True),
    },
    key=[Sort(name="number", column=RegrowthRow.number, descending=True)],
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """One piece of feedback as the counter sees it."""

    model: str
    event_id: str
    partition: int
    offset: int
    accepted: datetime


def add_policy(session: Session, name: str, project: str, model: str, rules: Rules) -> Policy:
    """Raises `AlreadyExists` for the name, or where the model has one."""
    if session.get(PolicyRow, name) is not None:
        raise AlreadyExists("policy", name)
    taken = session.scalar(sa.select(PolicyRow.name).where(PolicyRow.model == model))
    if taken is not None:
        raise AlreadyExists("policy of this model", taken, "Update that one.")
    row = PolicyRow(name=name, project=project, model=model, rules=rules.to_json(), etag=new_etag())
    session.add(row)
    session.flush()
    return _policy(session, row)


def update_policy(session: Session, name: str, rules: Rules, etag: str) -> Policy:
    """Raises `NotFound`, and `EtagMismatch` where an etag was sent that is old."""
    row = _row(session, name)
    if etag and etag != row.etag:
        raise EtagMismatch(name, sent=etag, current=row.etag)
    row.rules, row.etag = rules.to_json(), new_etag()
    return _policy(session, row)


def get_policy(session: Session, name: str) -> Policy:
    """Raises `NotFound`."""
    return _policy(session, _row(session, name))


def lock_policy(session: Session, name: str) -> Policy:
    """As `get_policy`; until the transaction ends nobody else changes it. Raises `NotFound`."""
    session.execute(sa.select(PolicyRow.name).where(PolicyRow.name == name).with_for_update())
    return get_policy(session, name)


def list_policies(session: Session, project: str, ask: Asked) -> tuple[list[Policy], str]:
    """A page by name, and the token of the next."""
    rows, token = POLICIES.page(session, sa.select(PolicyRow).where(PolicyRow.project == project), ask, scope=project)
    return [_policy(session, row) for row in rows], token


def waiting(session: Session) -> list[Policy]:
    """Of all projects, those with feedback that waits, and no regrowth of their model under way."""
    has_feedback = sa.exists().where(FeedbackRow.model == PolicyRow.model, ~FeedbackRow.used)
    under_way = sa.exists().where(RegrowthRow.active == PolicyRow.model)
    query = sa.select(PolicyRow).where(has_feedback, ~under_way).order_by(PolicyRow.name)
    return [_policy(session, row) for row in session.scalars(query)]


def start_regrowth(session: Session, policy: Policy, *, trigger: str, champion: str, cut: Mapping[str, int]) -> Regrowth | None:
    """Writes a regrowth; None where the model has one under way."""
    if session.scalar(sa.select(RegrowthRow.name).where(RegrowthRow.active == policy.model)) is not None:
        return None
    number = 1 + (session.scalar(sa.select(sa.func.max(RegrowthRow.number)).where(RegrowthRow.policy == policy.name)) or 0)
    cause = current_context()
    row = RegrowthRow(
        name=f"{policy.name}/regrowths/{number}", policy=policy.name, model=policy.model, number=number, active=policy.model,
        state=State.CUTTING, trigger=trigger, cut=dict(cut), champion=champion, comparison={},
        request_id=cause.request_id, traceparent=cause.traceparent,
    )  # fmt: skip
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process started one at the same moment
        return None
    return _regrowth(row)


def get_regrowth(session: Session, name: str) -> Regrowth:
    """Raises `NotFound`."""
    return _regrowth(_regrowth_row(session, name))


def cause_of(session: Session, name: str) -> TraceContext:
    """The call, or the feedback, that started the regrowth. Raises `NotFound`."""
    row = _regrowth_row(session, name)
    return TraceContext(request_id=row.request_id, traceparent=row.traceparent)


def list_regrowths(session: Session, policy: str, ask: Asked) -> tuple[list[Regrowth], str]:
    """A page, newest first, and the token of the next."""
    rows, token = REGROWTHS.page(session, sa.select(RegrowthRow).where(RegrowthRow.policy == policy), ask, scope=policy)
    return [_regrowth(row) for row in rows], token


def unfinished(session: Session) -> list[str]:
    """Names of the regrowths under way."""
    return list(
        session.scalars(sa.select(RegrowthRow.name).where(RegrowthRow.active.is_not(None)).order_by(RegrowthRow.created))
    )


def history(session: Session, policy: str) -> History:
    """What went before, as far as it matters for the next start."""
    of_policy = RegrowthRow.policy == policy
    newest = session.scalars(sa.select(RegrowthRow).where(of_policy).order_by(RegrowthRow.number.desc()).limit(1)).one_or_none()
    if newest is None:
        return History()
    query = sa.select(sa.func.max(RegrowthRow.number)).where(of_policy, RegrowthRow.state != State.FAILED)
    return History(started=newest.created, ended=newest.ended, failures=newest.number - (session.scalar(query) or 0))


def note(session: Session, name: str, **fields: Any) -> Regrowth:
    """Writes what a step found out. A regrowth that ended stays as it is. A state that ends it gives the model free."""
    row = _regrowth_row(session, name)
    if not State(row.state).ended:
        for field, value in fields.items():
            setattr(row, field, value)
        if State(row.state).ended:
            row.active, row.ended = None, now()
    return _regrowth(row)


def count(session: Session, feedback: Sequence[Counted]) -> None:
    """Adds feedback that waits, each event id of a model once, and moves the read offsets. Records read before are skipped."""
    read = {row.partition: row for row in session.scalars(sa.select(ReadOffsetRow))}
    fresh: dict[tuple[str, str], Counted] = {}
    for one in feedback:
        if one.partition not in read:
            read[one.partition] = ReadOffsetRow(partition=one.partition, offset=0)
            session.add(read[one.partition])
        if one.offset >= read[one.partition].offset:
            read[one.partition].offset = one.offset + 1
            fresh.setdefault((one.model, one.event_id), one)
    key = sa.tuple_(FeedbackRow.model, FeedbackRow.event_id)
    known = session.execute(sa.select(FeedbackRow.model, FeedbackRow.event_id).where(key.in_(list(fresh))))
    for model, event_id in known.all() if fresh else ():
        del fresh[model, event_id]
    session.add_all(
        FeedbackRow(model=o.model, event_id=o.event_id, partition=o.partition, offset=o.offset, accepted=o.accepted)
        for o in fresh.values()
    )
    session.flush()


def positions(session: Session) -> dict[int, int]:
    """By partition, the offset of the first record that wasn't counted."""
    return {row.partition: row.offset for row in session.scalars(sa.select(ReadOffsetRow))}


def use_before(session: Session, model: str, cut: Mapping[int, int]) -> None:
    """Feedback before the cut no longer waits. Its ids are kept for as long as it may come again."""
    of_model = FeedbackRow.model == model
    for partition, offset in cut.items():
        before = sa.and_(FeedbackRow.partition == partition, FeedbackRow.offset < offset)
        session.execute(sa.update(FeedbackRow).where(of_model, before, ~FeedbackRow.used).values(used=True))
    old = FeedbackRow.accepted < now() - _KEEP_USED
    session.execute(sa.delete(FeedbackRow).where(of_model, FeedbackRow.used, old))


def _policy(session: Session, row: PolicyRow) -> Policy:
    pending, oldest = session.execute(
        sa.select(sa.func.count(), sa.func.min(FeedbackRow.accepted)).where(FeedbackRow.model == row.model, ~FeedbackRow.used)
    ).one()
    return Policy(
        name=row.name, model=row.model, rules=Rules.from_json(row.rules), etag=row.etag, created=row.created, pending=pending,
        oldest=oldest,
    )  # fmt: skip


def _row(session: Session, name: str) -> PolicyRow:
    row = session.get(PolicyRow, name)
    if row is None:
        raise NotFound("policy", name, "ListPolicies shows those that exist.")
    return row


def _regrowth_row(session: Session, name: str) -> RegrowthRow:
    row = session.get(RegrowthRow, name)
    if row is None:
        raise NotFound("regrowth", name, "ListRegrowths shows those that exist.")
    return row


def _regrowth(row: RegrowthRow) -> Regrowth:
    return Regrowth(
        name=row.name, policy=row.policy, model=row.model, state=State(row.state), trigger=row.trigger, cut=row.cut,
        label_set=row.label_set, feedback_votes=row.feedback_votes, run=row.run, champion=row.champion,
        challenger=row.challenger, comparison=row.comparison or {}, decision=row.decision, created=row.created, ended=row.ended,
    )  # fmt: skip
