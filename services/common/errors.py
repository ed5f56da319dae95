"""The error tree of Regrow: what can go wrong, said in the words of the domain.

Every leaf has an UPPER_SNAKE `reason` that programs can switch on, typed `facts`, and a message of one or two full
sentences that names the mistake and the cure. Errors know no status code: `services.common.rpc.status` holds the one
table that maps them to gRPC codes, and a test checks that every leaf is in it.

    RegrowError
    ├── InvalidInput                 the caller sent something that can never work
    │   ├── InvalidField             one field has a wrong value
    │   ├── InvalidFields            several fields have wrong values
    │   ├── Unsupported              a call or option of a protocol that Regrow doesn't have
    │   ├── UnreadableFile           an upload can't be read as the format that it claims or looks like
    │   └── UnsafeExpression         an SQL expression or pattern that is refused
    ├── Missing                      something that was named isn't there
    │   └── NotFound
    ├── Conflicting                  the call collides with what is stored
    │   ├── AlreadyExists
    │   ├── EtagMismatch             somebody else changed it first
    │   └── RequestIdReused          the same request_id with another content
    ├── NotPossibleNow               right call, wrong moment
    │   ├── FailedPrecondition
    │   ├── DeadlineExceeded         the answer would come after the caller has given up
    │   └── Cancelled
    ├── Refused                      who you are decides
    │   ├── Unauthenticated
    │   └── PermissionDenied
    ├── Exhausted                    a bound was reached
    │   ├── TooLarge                 this call is over a size limit
    │   ├── QuotaExceeded            this caller did what it may for now; come back after `retry_after`
    │   └── Busy                     too much at once; come back after `retry_after`
    ├── Unavailable                  an engine or a service can't be reached; come back after `retry_after`
    │   ├── EngineUnavailable
    │   └── OutcomeUnknown           it may have taken what was sent; say how a repetition counts once
    └── Damaged                      stored bytes aren't what was stored
        └── DigestMismatch
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta


class RegrowError(Exception):
    """Root of the tree. Catch it to handle every error that Regrow raises on purpose."""

    reason: str = "REGROW_ERROR"

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts: dict[str, str] = {key: str(value) for key, value in facts.items()}


class InvalidInput(RegrowError):
    """The caller sent something that can never work; sending it again won't help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """One wrong field: its path in the request (`spec.classes[2].name`) and what is wrong with it."""

    field: str
    problem: str


class InvalidField(InvalidInput):
    """One field has a wrong value. `field` is its path in the request."""

    reason = "INVALID_FIELD"

    def __init__(self, field: str, problem: str, **facts: object) -> None:
        super().__init__(f"{field}: {problem}", field=field, **facts)
        self.problems: tuple[FieldProblem, ...] = (FieldProblem(field=field, problem=problem),)


class InvalidFields(InvalidInput):
    """Several fields have wrong values, all told at once. Where it is one after all, it is told as `InvalidField` tells it."""

    reason = "INVALID_FIELDS"

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(f"{p.field}: {p.problem}" for p in problems))
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            self.reason, self.facts = InvalidField.reason, {"field": self.problems[0].field}


class Unsupported(InvalidInput):
    """A call or option that others' protocols have and Regrow doesn't; the message says why, or what to do instead."""

    reason = "UNSUPPORTED"


class UnreadableFile(InvalidInput):
    """An upload can't be read. `line` is 1-based where it is known."""

    reason = "UNREADABLE_FILE"

    def __init__(self, problem: str, *, line: int | None = None, **facts: object) -> None:
        where = f"line {line}: " if line is not None else ""
        super().__init__(f"{where}{problem}", **({"line": line} if line is not None else {}), **facts)


class UnsafeExpression(InvalidInput):
    """An SQL expression or pattern that is refused, with the reason."""

    reason = "UNSAFE_EXPRESSION"


class Missing(RegrowError):
    """Something that was named isn't there."""


class NotFound(Missing):
    """`kind` is the noun (`dataset`), `name` the full resource name."""

    reason = "NOT_FOUND"

    def __init__(self, kind: str, name: str, cure: str = "") -> None:
        super().__init__(f"There is no {kind} '{name}'.{' ' + cure if cure else ''}", kind=kind, name=name)


class Conflicting(RegrowError):
    """The call collides with what is stored."""


class AlreadyExists(Conflicting):
    """`kind` is the noun, `name` the full resource name."""

    reason = "ALREADY_EXISTS"

    def __init__(self, kind: str, name: str, cure: str = "Choose another id, or use the one that exists.") -> None:
        super().__init__(f"The {kind} '{name}' already exists. {cure}", kind=kind, name=name)


class EtagMismatch(Conflicting):
    """Somebody else changed the resource first: read it again, then decide again."""

    reason = "ETAG_MISMATCH"

    def __init__(self, name: str, *, sent: str, current: str) -> None:
        changed = f"changed since you read it (you sent etag '{sent}', it is '{current}'). Read it again and decide again."
        unread = "exists already. Read it, and send its etag with the change, so that nobody's change is lost."
        super().__init__(
            f"'{name}' {changed if sent else unread}",
            name=name,
            sent=sent,
            current=current,
        )


class RequestIdReused(Conflicting):
    """The same `request_id` came with another content."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"request_id '{request_id}' was already used for a call with other content. Send a new one.", request_id=request_id
        )


class NotPossibleNow(RegrowError):
    """The call is right, but not at this moment; the message says what must come first."""


class FailedPrecondition(NotPossibleNow):
    """`reason` may be narrowed by the caller so that programs can tell the cases apart."""

    reason = "FAILED_PRECONDITION"

    def __init__(self, message: str, *, reason: str | None = None, **facts: object) -> None:
        super().__init__(message, **facts)
        if reason is not None:
            self.reason = reason


class DeadlineExceeded(NotPossibleNow):
    """The answer would come after the caller has given up, so it isn't worked out."""

    reason = "DEADLINE_EXCEEDED"

    def __init__(self, what: str, *, needed: float, left: float) -> None:
        super().__init__(
            f"{what} would take about {needed:.3g} seconds, and the call's deadline is in {max(left, 0.0):.3g}."
            " Send it with a later deadline, or in smaller calls.",
            needed_seconds=f"{needed:.3g}",
        )

    @classmethod
    def passed(cls, service: str) -> DeadlineExceeded:
        """The caller's own deadline passed while it waited for a service."""
        made = cls.__new__(cls)
        message = f"The call's deadline passed before {service} had answered."
        NotPossibleNow.__init__(made, f"{message} Send it with a later deadline, or in smaller calls.", service=service)
        return made


class Cancelled(NotPossibleNow):
    """The work was cancelled, by a user or because the caller went away."""

    reason = "CANCELLED"


class Refused(RegrowError):
    """Who the caller is decides."""


class Unauthenticated(Refused):
    """No key, or one that is unknown, expired or revoked."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(Refused):
    """The key is good, but its role or project doesn't allow this."""

    reason = "PERMISSION_DENIED"


class Exhausted(RegrowError):
    """A bound was reached."""


class TooLarge(Exhausted):
    """This call is over a size limit; it will be tomorrow too."""

    reason = "TOO_LARGE"

    def __init__(self, what: str, *, limit: str, cure: str = "") -> None:
        super().__init__(f"{what} is larger than the limit of {limit}.{' ' + cure if cure else ''}", limit=limit)


class QuotaExceeded(Exhausted):
    """A caller is over its rate or its quota. `who` is the key, `quota` what it may do (`10 calls a second`).

    `standing`, of a rate: how many calls may come at once, how many are left, and the seconds until all are.
    """

    reason = "QUOTA_EXCEEDED"
    standing: tuple[int, int, int] | None = None

    def __init__(
        self, who: str, quota: str, *, retry_after: timedelta, cure: str = "", standing: tuple[int, int, int] | None = None
    ) -> None:
        super().__init__(f"'{who}' may make {quota}.{' ' + cure if cure else ''}", who=who, quota=quota)
        self.retry_after, self.standing = retry_after, standing


class Busy(Exhausted):
    """Too much at once; the same call works later."""

    reason = "BUSY"

    def __init__(self, message: str, *, retry_after: timedelta) -> None:
        super().__init__(message, retry_after_seconds=retry_after.total_seconds())
        self.retry_after = retry_after


class Unavailable(RegrowError):
    """Something that Regrow depends on can't be reached at the moment."""


class EngineUnavailable(Unavailable):
    """`engine` is `objects`, `events`, `database`, or the name of a service."""

    reason = "ENGINE_UNAVAILABLE"

    def __init__(self, engine: str, problem: str, *, retry_after: timedelta = timedelta(seconds=2)) -> None:
        super().__init__(f"{engine} can't be reached: {problem}. Try again in a moment.", engine=engine)
        self.problem, self.retry_after = problem, retry_after


class OutcomeUnknown(Unavailable):
    """An engine didn't say whether it took what was sent: that may be committed. `cure` says how a repetition counts once."""

    reason = "OUTCOME_UNKNOWN"

    def __init__(self, cause: EngineUnavailable, cure: str, **facts: object) -> None:
        engine = cause.facts["engine"]
        super().__init__(
            f"{engine} can't be reached: {cause.problem}. What was sent may have been committed. {cure}", engine=engine, **facts
        )
        self.retry_after = cause.retry_after


class Damaged(RegrowError):
    """Stored bytes aren't what was stored."""


class DigestMismatch(Damaged):
    """An object's bytes don't have the digest that names them."""

    reason = "DIGEST_MISMATCH"

    def __init__(self, what: str, *, expected: str, actual: str) -> None:
        super().__init__(
            f"{what} is damaged: its sha256 is {actual}, but {expected} was recorded. Restore the object store from a backup.",
            expected=expected,
            actual=actual,
        )
