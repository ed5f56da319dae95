"""Errors become statuses and errors again, for programs and for REST."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from services.common import errors
from services.common.errors import FieldProblem, InvalidField, InvalidFields, RegrowError
from services.common.rpc.status import (
    CODES,
    HTTP_STATUS,
    code_of,
    detail,
    error_body,
    from_status,
    http_status,
    known,
    to_status,
)

EXAMPLES: list[RegrowError] = [
    errors.InvalidField("spec.classes[2].name", "is empty.", position=2),
    InvalidFields([FieldProblem(field="a", problem="is empty."), FieldProblem(field="b", problem="is negative.")]),
    errors.UnreadableFile("has 3 columns, the header has 4.", line=17),
    errors.UnsafeExpression("Subqueries are refused."),
    errors.NotFound("dataset", "projects/p/datasets/d"),
    errors.AlreadyExists("dataset", "projects/p/datasets/d"),
    errors.EtagMismatch("projects/p/models/m", sent="a", current="b"),
    errors.RequestIdReused("r-1"),
    errors.FailedPrecondition("Label ten rows first.", reason="TOO_FEW_LABELS", needed=10),
    errors.Cancelled("The run was cancelled."),
    errors.Unauthenticated("The key was revoked."),
    errors.PermissionDenied("A viewer can't do this."),
    errors.TooLarge("The file", limit="5 MB"),
    errors.Busy("Too many runs.", retry_after=timedelta(seconds=7.5)),
    errors.EngineUnavailable("objects", "the connection failed", retry_after=timedelta(seconds=3)),
    errors.OutcomeUnknown(errors.EngineUnavailable("events", "it is slow"), "Send it again with event_id 'e'.", event_id="e"),
    errors.DigestMismatch("The part 'graph'", expected="aa", actual="bb"),
    errors.QuotaExceeded("shop app", "10 calls a second", retry_after=timedelta(seconds=0.1), cure="Call less often."),
    errors.DeadlineExceeded("The prediction", needed=3.0, left=0.5),
    errors.Unsupported("A gateway shares no memory. Send the elements in the request."),
]


def _leaves(kind: type[RegrowError]) -> list[type[RegrowError]]:
    below = [one for one in kind.__subclasses__() if one.__module__ == errors.__name__]
    return [leaf for one in below for leaf in _leaves(one)] or [kind]


def test_one_wrong_field_of_several_that_were_looked_at_is_told_like_one() -> None:
    several, one = InvalidFields([FieldProblem(field="a", problem="is empty.")]), InvalidField("a", "is empty.")
    assert to_status(several) == to_status(one)
    assert isinstance(from_status(to_status(several)), InvalidField)


def test_every_leaf_of_the_tree_is_in_the_table_and_has_a_reason_of_its_own() -> None:
    leaves = _leaves(RegrowError)
    assert {leaf for leaf in leaves if leaf not in CODES} == set()
    reasons = [leaf.reason for leaf in leaves]
    assert RegrowError.reason not in reasons
    assert len(set(reasons)) == len(reasons)


def test_the_examples_below_leave_out_no_leaf() -> None:
    assert {type(error) for error in EXAMPLES} == set(_leaves(RegrowError))


def test_the_table_names_no_class_that_is_gone() -> None:
    living = {kind for _, kind in inspect.getmembers(errors, inspect.isclass)}
    assert {kind for kind in CODES if kind.__module__ == errors.__name__} <= living


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_comes_back_as_it_went(error: RegrowError) -> None:
    back = from_status(status_pb2.Status.FromString(to_status(error, "r-9").SerializeToString()))
    assert type(back) is type(error)
    assert (back.reason, back.message, back.facts, str(back)) == (error.reason, error.message, error.facts, str(error))
    assert getattr(back, "problems", None) == getattr(error, "problems", None)
    assert getattr(back, "retry_after", None) == getattr(error, "retry_after", None)


def test_a_subclass_that_a_service_makes_keeps_its_reason_and_its_parents_code() -> None:
    class QuotaReached(errors.Busy):
        reason = "QUOTA_REACHED"

    status = to_status(QuotaReached("Ten a minute.", retry_after=timedelta(seconds=1)))
    back = from_status(status)
    assert code_of(QuotaReached("x", retry_after=timedelta(0))) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (type(back), back.reason) == (errors.Busy, "QUOTA_REACHED")


def test_each_detail_appears_once_and_the_request_id_is_among_them() -> None:
    status = to_status(EXAMPLES[0], "r-9")
    kinds = [one.type_url for one in status.details]
    assert len(set(kinds)) == len(kinds) == 3
    assert detail(status, error_details_pb2.RequestInfo()).request_id == "r-9"


@pytest.mark.parametrize(
    "error",
    [
        InvalidFields([FieldProblem(field=f"rows[{n}].name", problem="🌱" * 500) for n in range(1000)]),
        errors.UnreadableFile("\ud800 half an emoji and \x00" + "é" * 9000),
        errors.NotFound("x" * 5000, "y" * 5000),
        errors.FailedPrecondition("m" * 9000, **{f"fact{n}": "🌱" * 9000 for n in range(50)}),
    ],
    ids=["problems", "message", "name", "facts"],
)
def test_the_longest_error_fits_in_eight_kilobytes_of_trailers(error: RegrowError) -> None:
    status = to_status(error, "r")
    percent_encoded = sum(1 if 0x20 <= byte < 0x7F else 3 for byte in status.message.encode())
    assert percent_encoded + len(status.SerializeToString()) * 4 / 3 < 8000


def test_problems_that_do_not_fit_are_counted() -> None:
    status = to_status(InvalidFields([FieldProblem(field="f", problem="p" * 100) for _ in range(100)]))
    violations = detail(status, error_details_pb2.BadRequest()).field_violations
    assert violations[-1].description == f"and {100 - (len(violations) - 1)} more"


def test_an_unknown_exception_says_only_an_id() -> None:
    failure = known(ValueError("password=hunter2"), place="test")
    assert "hunter2" not in str(to_status(failure))
    assert failure.facts["error_id"] in failure.message
    assert code_of(failure) is grpc.StatusCode.INTERNAL


def test_a_json_body_is_as_aip_193_writes_it() -> None:
    body = error_body(to_status(errors.NotFound("dataset", "projects/p/datasets/d"), "r-9"))["error"]
    assert (body["code"], body["status"]) == (404, "NOT_FOUND")
    assert body["message"] == "There is no dataset 'projects/p/datasets/d'."
    assert body["details"][0] == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "NOT_FOUND", "domain": "regrow.dev",
        "metadata": {"kind": "dataset", "name": "projects/p/datasets/d"},
    }  # fmt: skip


def test_a_detail_of_unknown_type_is_left_out_of_the_json() -> None:
    status = status_pb2.Status(code=5, message="gone")
    status.details.add(type_url="type.googleapis.com/nobody.knows.This", value=b"\x01")
    assert error_body(status) == {"error": {"code": 404, "status": "NOT_FOUND", "message": "gone", "details": []}}


def test_every_grpc_code_has_an_http_status() -> None:
    assert set(HTTP_STATUS) == set(grpc.StatusCode)


@pytest.mark.parametrize(("error", "expected"), [(EXAMPLES[12], 413), (EXAMPLES[13], 429), (EXAMPLES[14], 503)])
def test_a_size_limit_is_413_and_a_rate_is_429(error: Any, expected: int) -> None:
    assert http_status(to_status(error)) == expected


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.EngineUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.EngineUnavailable),
        (grpc.StatusCode.NOT_FOUND, errors.Missing),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.Busy),
        (grpc.StatusCode.CANCELLED, errors.Cancelled),
    ],
)
def test_a_status_without_details_becomes_the_nearest_error(code: grpc.StatusCode, kind: type[RegrowError]) -> None:
    assert type(from_status(status_pb2.Status(code=code.value[0], message="m"), "labeling")) is kind


def test_a_call_that_a_closing_server_cut_is_unavailable_and_one_that_was_cancelled_isnt() -> None:
    said = ("CANCELLED", "Locally cancelled by application!")
    cut, left = (from_status(status_pb2.Status(code=1, message=message), "labeling") for message in said)
    assert (type(cut), type(left)) == (errors.EngineUnavailable, errors.Cancelled)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED])
def test_the_text_of_a_foreign_failure_goes_no_further(code: grpc.StatusCode) -> None:
    error = from_status(status_pb2.Status(code=code.value[0], message="Traceback: password=hunter2"), "labeling")
    assert code_of(error) is grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(to_status(error))


def test_a_message_over_grpcs_limit_is_too_large_not_busy() -> None:
    status = status_pb2.Status(code=8, message="CLIENT: Received message larger than max (17 vs. 16)")
    assert type(from_status(status)) is errors.TooLarge
