"""schemathesis on the OpenAPI document: requests made from it, right and wrong ones, find no answer by accident."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hostile_system import System
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

ON_PURPOSE = {501, 503}
EXAMPLES = {GenerationMode.POSITIVE: 3, GenerationMode.NEGATIVE: 2}
"""Requests for each operation: those that the document allows, and those that it doesn't."""


@pytest.mark.parametrize("mode", EXAMPLES)
def test_requests_made_from_the_document_find_no_answer_by_accident(system: System, mode: GenerationMode, fuzz: int) -> None:
    schema = schemathesis.openapi.from_url(f"{system.local.url}/openapi.json")
    operations = [one.ok() for one in schema.get_all_operations()]
    assert len(operations) > 60
    problems: list[str] = []
    bounds = settings(
        max_examples=EXAMPLES[mode] * fuzz, deadline=None, derandomize=fuzz == 1, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for operation in operations:

        @bounds
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            answer = case.call(headers={"authorization": f"Bearer {system.local.admin_key}"}, timeout=20)
            sent = repr((case.path_parameters, case.query, case.body))
            if answer.status_code >= 500 and answer.status_code not in ON_PURPOSE:
                problems.append(f"{case.method} {case.path}: {answer.status_code} {answer.text[:200]} to {sent[:300]}")
            elif answer.status_code >= 400 and (leak := system.problem(answer.text, sent=sent)):
                problems.append(f"{case.method} {case.path}: {leak}")

        ask()
    assert problems == []
