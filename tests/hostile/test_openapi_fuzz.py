"""schemathesis on the OpenAPI document: requests made from it, right and wrong ones, find no answer by accident."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hostile_system import System
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, checks
from schemathesis.core.failures import FailureGroup

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CHECKS = [
    checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_headers_conformance, checks.response_schema_conformance,
]  # fmt: skip
"""What must hold of every answer: it is as the document says."""
EXAMPLES = {GenerationMode.POSITIVE: 2, GenerationMode.NEGATIVE: 1}
"""Requests for each operation: those that the document allows, and those that it doesn't."""


def real_names(case: Any, system: System) -> dict[str, str]:
    """Path parameters of what exists, for every other request that removes nothing; else none."""
    if case.method == "DELETE" or case.path.endswith((":revoke", ":retire", "/unload")) or len(repr(case.query)) % 2:
        return {}
    found = {name: segments_of(system, name) for name in case.path_parameters or ()}
    return found if all(found.values()) else {}


def segments_of(system: System, parameter: str) -> str:
    """The last part of the name of such a resource that exists, empty where there is none."""
    plural = {"policy": "policies", "alias": "aliases"}.get(parameter, f"{parameter}s")
    pattern = next((one for one in system.names if one.endswith(f"{plural}/*")), "")
    return system.names[pattern].rpartition("/")[2] if pattern else ""


def checks_of(case: Any, status: int) -> list[Any]:
    """All, but where the Open Inference Protocol has a status of 500 and more for what isn't supported, or isn't ready."""
    on_purpose = case.path.startswith("/v2/") and (status == 501 or (status == 503 and case.path.endswith("/ready")))
    return [check for check in CHECKS if check is not checks.not_a_server_error or not on_purpose]


@pytest.mark.parametrize("mode", EXAMPLES)
def test_requests_made_from_the_document_find_no_answer_by_accident(system: System, mode: GenerationMode, fuzz: int) -> None:
    schema = schemathesis.openapi.from_url(f"{system.local.url}/openapi.json")
    operations = [one.ok() for one in schema.get_all_operations()]
    assert len(operations) > 90
    assert {"/v1/caller", "/v2/models/{model}/infer"} <= {one.path for one in operations}
    if fuzz == 1 and mode is GenerationMode.NEGATIVE:
        operations = operations[::3]  # wrong requests to all calls are what the suite over REST sends
    problems: list[str] = []
    bounds = settings(
        max_examples=EXAMPLES[mode] * fuzz, deadline=None, derandomize=fuzz == 1, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for operation in operations:

        @bounds
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            if named := real_names(case, system):
                case.path_parameters = named
            answer = case.call(headers={"authorization": f"Bearer {system.local.admin_key}"}, timeout=20)
            sent = repr((case.path_parameters, case.query, case.body))
            where = f"{case.method} {case.path}: {answer.status_code}"
            try:
                case.validate_response(answer, checks=checks_of(case, answer.status_code))
            except FailureGroup as failed:
                told = [f"{one.title}: {one.message[:300]}" for one in failed.exceptions]
                problems.append(f"{where} {told} {answer.text[:200]} to {sent[:300]}")
            if answer.status_code >= 400 and (leak := system.problem(answer.text, sent=sent)):
                problems.append(f"{where} {leak}")

        ask()
    assert not problems, f"{len(problems)}:\n" + "\n".join(problems[:15])
