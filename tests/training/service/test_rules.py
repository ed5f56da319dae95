"""When a policy fires, what the gate lets through, and what a schedule may say: no engine, no network."""

from datetime import UTC, datetime, timedelta

import pytest

from regrow.training.v1 import designs_pb2
from services.common.errors import InvalidField, InvalidFields
from services.common.spec import ClassDefinition, InputColumn, ProblemSpec
from services.training.designs import TEMPLATES, Tabular, Text
from services.training.peers import MOST_REQUEST_ID, request_id_of
from services.training.policies.rules import History, Policy, Rules, check, decide, pause_after, why_now
from services.training.schedules import problems_of, schedule_from_proto, schedule_to_proto, templates

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def policy(rules: Rules, pending: int, waited: float = 0.0) -> Policy:
    return Policy(
        name="projects/p/policies/x", model="projects/p/models/m", rules=rules, etag="e", created=NOON, pending=pending,
        oldest=NOON - timedelta(seconds=waited) if pending else None,
    )  # fmt: skip


def compared(difference: float, p_value: float) -> dict[str, object]:
    return {"difference": difference, "p_value": p_value, "sentence": "Measured."}


def test_a_policy_fires_by_count_at_the_count_and_not_before() -> None:
    rules = Rules(feedback_count=3)
    assert why_now(policy(rules, 2), NOON, History()) is None
    assert "asks for 3" in str(why_now(policy(rules, 3), NOON, History()))


def test_a_policy_fires_by_the_age_of_the_oldest_label_that_waits() -> None:
    rules = Rules(max_age_seconds=60)
    assert why_now(policy(rules, 1, waited=59), NOON, History()) is None
    assert "waits for 61 s" in str(why_now(policy(rules, 1, waited=61), NOON, History()))
    assert why_now(policy(rules, 0), NOON, History()) is None


def test_a_paused_policy_does_not_fire() -> None:
    assert why_now(policy(Rules(feedback_count=1, paused=True), 9), NOON, History()) is None


def test_a_policy_keeps_its_interval_between_two_starts() -> None:
    rules = Rules(feedback_count=1, min_interval_seconds=600)
    started = NOON - timedelta(seconds=599)
    assert why_now(policy(rules, 9), NOON, History(started=started, ended=started)) is None
    assert why_now(policy(rules, 9), NOON + timedelta(seconds=1), History(started=started, ended=started)) is not None


def test_a_policy_rests_longer_after_each_failure_in_a_row() -> None:
    rules = Rules(feedback_count=1)
    failed = History(started=NOON, ended=NOON, failures=1)
    assert why_now(policy(rules, 9), NOON + timedelta(seconds=59), failed) is None
    assert why_now(policy(rules, 9), NOON + timedelta(seconds=60), failed) is not None
    assert pause_after(0) == timedelta(0)
    assert pause_after(2) == 2 * pause_after(1)
    assert pause_after(1_000) == timedelta(hours=6)


def test_rules_that_never_fire_are_refused_unless_paused() -> None:
    with pytest.raises(InvalidFields, match="never fires"):
        check(Rules())
    assert check(Rules(paused=True)).paused


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        (Rules(feedback_count=1, max_age_seconds=-1), "policy.max_age"),
        (Rules(feedback_count=1, min_interval_seconds=-1), "policy.min_interval"),
        (Rules(feedback_count=1, significance=0.5), "policy.significance"),
    ],
)
def test_rules_that_cannot_work_name_the_field(rules: Rules, field: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        check(rules)
    assert [problem.field for problem in refused.value.problems] == [field]


def test_rules_survive_the_database() -> None:
    rules = Rules(alias="shadow", feedback_count=5, tolerance=0.02, promote_on_tie=True)
    assert Rules.from_json(rules.to_json()) == rules


@pytest.mark.parametrize(
    ("difference", "p_value", "rules", "promoted"),
    [
        (0.05, 0.01, Rules(), True),
        (0.05, 0.06, Rules(), False),
        (0.05, 0.06, Rules(significance=0.1), True),
        (-0.05, 0.99, Rules(), False),
        (0.0, 0.5, Rules(), False),
        (0.0, 0.5, Rules(promote_on_tie=True), True),
        (-0.01, 0.7, Rules(promote_on_tie=True), False),
        (-0.01, 0.7, Rules(promote_on_tie=True, tolerance=0.02), True),
        (float("nan"), 0.0005, Rules(promote_on_tie=True, tolerance=1.0), False),
    ],
)
def test_the_gate_promotes_what_is_shown_to_be_better(difference: float, p_value: float, rules: Rules, promoted: bool) -> None:
    decision = decide(rules, compared(difference, p_value))
    assert decision.promote is promoted
    assert decision.why.startswith("Measured.")


def test_a_request_id_is_unique_per_name_and_never_too_long() -> None:
    long = f"projects/{'p' * 63}/policies/{'q' * 63}/regrowths/"
    made = {request_id_of("regrowth", f"{long}{number}") for number in range(100)}
    assert len(made) == 100
    assert max(map(len, made)) <= MOST_REQUEST_ID
    assert request_id_of("run", "projects/p/runs/r") == "run projects/p/runs/r"


def test_every_template_can_be_listed_and_submitted_as_it_is_listed() -> None:
    listed = {template.id: template for template in templates()}
    assert list(listed) == list(TEMPLATES)
    for name, template in listed.items():
        assert template.cost and template.description
        schedule, chosen = schedule_from_proto(template.schedule)
        assert (schedule.design, chosen) == (TEMPLATES[name][0], name)
        assert schedule_to_proto(schedule, chosen) == template.schedule


def test_an_empty_schedule_is_brewed() -> None:
    schedule, chosen = schedule_from_proto(designs_pb2.Schedule())
    assert chosen == "brew"
    assert schedule.design.linear


def test_what_a_caller_sets_overrides_the_template() -> None:
    asked = designs_pb2.Schedule(
        design=designs_pb2.Design(template="text-table", tabular=designs_pb2.TABULAR_ENCODER_FFN_SMALL), max_epochs=3
    )
    schedule, _ = schedule_from_proto(asked)
    assert (schedule.design.text, schedule.design.tabular, schedule.epochs) == (Text.BREW, Tabular.FFN_SMALL, 3)


def test_a_template_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InvalidField, match="The templates are: brew"):
        schedule_from_proto(designs_pb2.Schedule(design=designs_pb2.Design(template="magic")))


def test_values_out_of_range_are_named_as_the_caller_named_them() -> None:
    with pytest.raises(InvalidFields) as refused:
        schedule_from_proto(designs_pb2.Schedule(max_epochs=5_000))
    assert [problem.field for problem in refused.value.problems] == ["schedule.max_epochs"]


def test_a_design_that_reads_nothing_of_the_spec_is_a_problem() -> None:
    spec = ProblemSpec(
        name="s", dataset="d", classes=(ClassDefinition(name="a"), ClassDefinition(name="b")),
        inputs=(InputColumn(name="review", kind="text"),),
    )  # fmt: skip
    table, _ = schedule_from_proto(designs_pb2.Schedule(design=designs_pb2.Design(template="table")))
    text, _ = schedule_from_proto(designs_pb2.Schedule(design=designs_pb2.Design(template="gru-table")))
    assert problems_of(text, spec) == []
    assert "reads table columns and the spec has none" in problems_of(table, spec)[0]
