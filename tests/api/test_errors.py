"""Rich errors (AIP-193): every leaf of the tree says the same in the same standard details, over gRPC and over REST."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.rpc import error_details_pb2 as details

from services.common import errors
from services.common.errors import RegrowError
from services.common.rpc.status import DOMAIN, InternalFailure, detail, error_body, from_status, to_status
from tests.common.rpc.test_status import EXAMPLES

KINDS = [
    details.ErrorInfo, details.BadRequest, details.RetryInfo, details.RequestInfo, details.ResourceInfo,
    details.PreconditionFailure, details.QuotaFailure, details.Help,
]  # fmt: skip
ALL = [*EXAMPLES, InternalFailure("abc")]


def read(error: RegrowError) -> dict[str, Any]:
    status = to_status(error, "r-9")
    found = {kind.DESCRIPTOR.name: detail(status, kind()) for kind in KINDS}
    return {name: one for name, one in found.items() if one is not None}


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_every_error_has_one_error_info_and_no_detail_twice(error: RegrowError) -> None:
    status = to_status(error, "r-9", "/docs")
    types = [one.type_url for one in status.details]
    assert len(set(types)) == len(types)
    info = detail(status, details.ErrorInfo())
    assert (info.domain, info.reason) == (DOMAIN, error.reason)
    assert detail(status, details.RequestInfo()).request_id == "r-9"
    assert detail(status, details.Help()).links[0].url == "/docs"
    assert status.message == error.message


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_the_standard_details_that_fit_an_error_are_there_and_no_others(error: RegrowError) -> None:
    wanted = {"ErrorInfo", "RequestInfo"}
    if isinstance(error, errors.InvalidField | errors.InvalidFields):
        wanted.add("BadRequest")
    if isinstance(error, errors.Busy | errors.QuotaExceeded | errors.EngineUnavailable | errors.OutcomeUnknown):
        wanted.add("RetryInfo")
    if isinstance(error, errors.NotFound | errors.AlreadyExists | errors.EtagMismatch):
        wanted.add("ResourceInfo")
    if isinstance(error, errors.FailedPrecondition):
        wanted.add("PreconditionFailure")
    if isinstance(error, errors.QuotaExceeded):
        wanted.add("QuotaFailure")
    assert set(read(error)) == wanted


def test_details_name_the_resource_the_condition_and_the_quota() -> None:
    missing = read(errors.NotFound("dataset", "projects/p/datasets/d"))["ResourceInfo"]
    assert (missing.resource_type, missing.resource_name) == ("dataset", "projects/p/datasets/d")
    (broken,) = read(errors.FailedPrecondition("Label first.", reason="TOO_FEW", name="projects/p"))[
        "PreconditionFailure"
    ].violations
    assert (broken.type, broken.subject, broken.description) == ("TOO_FEW", "projects/p", "Label first.")
    exceeded = errors.QuotaExceeded("shop", "10 calls a second", retry_after=timedelta(seconds=1))
    (over,) = read(exceeded)["QuotaFailure"].violations
    assert (over.subject, over.description) == ("shop", "10 calls a second")


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_rest_says_what_grpc_says_detail_for_detail(error: RegrowError) -> None:
    status = to_status(error, "r-9")
    body = error_body(status)["error"]
    assert body["message"] == status.message
    assert [one["@type"] for one in body["details"]] == [one.type_url for one in status.details]
    assert from_status(status).message == error.message


def test_an_error_with_everything_fits_in_the_trailers_of_any_client() -> None:
    long = "x" * 5000
    worst = errors.FailedPrecondition(long, reason="R", name=long, **{f"fact_{i}": long for i in range(20)})
    assert len(to_status(worst, "r" * 64, "/docs").SerializeToString()) * 1.4 + 3 * 1000 < 8192
