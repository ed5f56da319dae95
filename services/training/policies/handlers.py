"""The use cases of policies: keep them, look whether one fires, start a regrowth."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import structlog

from services.common import tracing
from services.common.database import Database, now
from services.common.errors import FailedPrecondition, InvalidField, NotFound, RegrowError
from services.common.events.port import FEEDBACK, EventLog
from services.common.idempotency import recall, remember
from services.common.listing import Asked
from services.common.names import check_id, parse
from services.training.peers import Registry
from services.training.policies import storage
from services.training.policies.rules import POLICY, REGROWTH, Policy, Regrowth, Rules, check, why_now
from services.training.runs.rules import MODEL
from services.training.tables import IdempotencyKey

log = structlog.get_logger()

_PUT_OFF_SECONDS = 5.0
_CATCH_UP_SECONDS = 5.0
_CATCH_UP_EVERY = 0.05
_ASKED = "Somebody asked for it."


class Policies:
    """Policies of this service. Safe for many threads. `submit` starts the durable workflow of a regrowth, once per name."""

    def __init__(self, database: Database, registry: Registry, events: EventLog, submit: Callable[[str], object]) -> None:
        self._database, self._registry, self._events, self._submit = database, registry, events, submit
        self._problems: dict[str, str] = {}
        self._not_before: dict[str, float] = {}

    def create(
        self, parent: str, policy_id: str, model: str, rules: Rules, *, request_id: str = "", fingerprint: str = ""
    ) -> Policy:
        """Raises `AlreadyExists`, `NotFound` for the model, `InvalidFields`."""
        project = parse("projects/{project}", parent, "parent")["project"]
        name = f"{parent}/policies/{check_id(policy_id, 'policy_id')}"
        if parse(MODEL, model, "policy.model")["project"] != project:
            raise InvalidField("policy.model", f"is of another project than '{parent}'.")
        check_id(rules.alias, "policy.alias")
        check(rules)
        self._registry.model(model)
        once = {"scope": f"{parent}/policies", "request_id": request_id, "fingerprint": fingerprint}
        with self._database.session() as session:
            if found := recall(session, IdempotencyKey, **once):
                return storage.get_policy(session, found)
            made = storage.add_policy(session, name, project, model, rules)
            remember(session, IdempotencyKey, **once, result=name)
            return made

    def update(self, name: str, model: str, changed: Callable[[Policy], Rules], etag: str) -> Policy:
        """`changed` makes the new rules of the policy as it is. Raises `NotFound`, `EtagMismatch`, `InvalidField` where the
        model differs.
        """
        parse(POLICY, name, "policy.name")
        with self._database.session() as session:
            current = storage.lock_policy(session, name)
            if model and model != current.model:
                raise InvalidField("policy.model", "can't change. Make another policy for another model.")
            rules = changed(current)
            check_id(rules.alias, "policy.alias")
            check(rules)
            return storage.update_policy(session, name, rules, etag)

    def get(self, name: str) -> Policy:
        """Raises `NotFound`."""
        parse(POLICY, name)
        with self._database.reading() as session:
            return storage.get_policy(session, name)

    def list_policies(self, parent: str, ask: Asked) -> tuple[list[Policy], str]:
        """A page by name, and the token of the next."""
        project = parse("projects/{project}", parent, "parent")["project"]
        with self._database.reading() as session:
            return storage.list_policies(session, project, ask)

    def trigger(self, name: str, *, request_id: str = "", fingerprint: str = "") -> Regrowth:
        """Starts one whatever the rules say. Raises `FailedPrecondition` while one runs, or without feedback or champion."""
        self.get(name)
        once = {"scope": name, "request_id": request_id, "fingerprint": fingerprint}
        with self._database.session() as session:
            earlier = recall(session, IdempotencyKey, **once)
        if earlier:
            return self._queued(self.get_regrowth(earlier))
        self._catch_up()
        policy = self.get(name)
        if policy.pending == 0:
            raise FailedPrecondition(
                f"No new feedback about '{policy.model}' came since the last regrowth. Send some first.", reason="NO_FEEDBACK"
            )
        started = self._start(policy, _ASKED, once)
        if started is None:
            raise FailedPrecondition(
                "A regrowth of this model is under way. ListRegrowths shows where it is.", reason="REGROWTH_UNDER_WAY"
            )
        return started

    def get_regrowth(self, name: str) -> Regrowth:
        """Raises `NotFound`."""
        parse(REGROWTH, name)
        with self._database.reading() as session:
            return storage.get_regrowth(session, name)

    def list_regrowths(self, parent: str, ask: Asked) -> tuple[list[Regrowth], str]:
        """A page, newest first, and the token of the next. Raises `NotFound` for the policy."""
        self.get(parent)
        with self._database.reading() as session:
            return storage.list_regrowths(session, parent, ask)

    def look(self, causes: Mapping[str, tracing.TraceContext] | None = None) -> list[Regrowth]:
        """Starts a regrowth for every policy that fires now. One that can't start keeps no other from it.

        `causes` tells, by model, which call sent the feedback: what it starts goes on in that call's trace.
        """
        started, moment = [], now()
        with self._database.reading() as session:
            reasons = [(p, why_now(p, moment, storage.history(session, p.name))) for p in storage.waiting(session)]
        for policy, why in reasons:
            if why is None or time.monotonic() < self._not_before.get(policy.name, 0):
                continue
            try:
                cause = (causes or {}).get(policy.model, tracing.TraceContext())
                with tracing.caused_by(cause, "start a regrowth", policy=policy.name):
                    regrowth = self._start(policy, why)
            except RegrowError as error:
                self._put_off(policy.name, error)
                continue
            self._problems.pop(policy.name, None)
            if regrowth is not None:
                started.append(regrowth)
        return started

    def _put_off(self, policy: str, error: RegrowError) -> None:
        """Looks again in a while, and tells the problem once: a policy without a champion may wait for days."""
        self._not_before[policy] = time.monotonic() + _PUT_OFF_SECONDS
        if self._problems.get(policy) != error.message:
            self._problems[policy] = error.message
            log.warning("a policy can't start a regrowth", policy=policy, problem=error.message, reason=error.reason)

    def _catch_up(self) -> None:
        """Waits until what is in the log now was counted, for a few seconds at most."""
        ends = {partition: end for (_, partition), end in self._events.ends(FEEDBACK).items()}
        deadline = time.monotonic() + _CATCH_UP_SECONDS
        while self._is_behind(ends) and time.monotonic() < deadline:
            time.sleep(_CATCH_UP_EVERY)

    def _is_behind(self, ends: Mapping[int, int]) -> bool:
        with self._database.reading() as session:
            read = storage.positions(session)
        return any(read.get(partition, 0) < end for partition, end in ends.items())

    def _start(self, policy: Policy, why: str, once: Mapping[str, str] | None = None) -> Regrowth | None:
        """Cuts where the feedback was counted to: what is before the cut and what still waits never overlap."""
        try:
            champion = self._registry.alias(f"{policy.model}/aliases/{policy.rules.alias}").version
        except NotFound:
            raise FailedPrecondition(
                f"'{policy.model}' has no alias '{policy.rules.alias}' to challenge. Promote a version first.",
                reason="NO_CHAMPION",
            ) from None
        with self._database.session() as session:
            cut = {f"{FEEDBACK}/{partition}": offset for partition, offset in storage.positions(session).items()}
            regrowth = storage.start_regrowth(session, policy, trigger=why, champion=champion, cut=cut)
            if regrowth is not None and once is not None:
                remember(session, IdempotencyKey, **once, result=regrowth.name)
        if regrowth is None:
            return None
        log.info("regrowth", name=regrowth.name, why=why)
        return self._queued(regrowth)

    def _queued(self, regrowth: Regrowth) -> Regrowth:
        if not regrowth.state.ended:
            self._submit(regrowth.name)
        return regrowth
