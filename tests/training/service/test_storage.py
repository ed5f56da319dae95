"""What runs and policies keep, on a real database."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from services.common.database import Database, now
from services.common.errors import AlreadyExists, EtagMismatch, FailedPrecondition, NotFound
from services.training.designs import Schedule
from services.training.policies import storage as policies
from services.training.policies.rules import Policy, Regrowth, Rules
from services.training.policies.rules import State as RegrowthState
from services.training.policies.storage import Counted
from services.training.runs import storage as runs
from services.training.runs.rules import NewRun, Run, State

MODEL = "projects/p/models/m"
POLICY = "projects/p/policies/x"
SENT = now() - timedelta(hours=1)


def add_run(database: Database, run_id: str, *, express: bool = False, label_set: str = "l") -> str:
    new = NewRun(
        name=f"projects/p/runs/{run_id}", project="p", label_set=label_set, model=MODEL, problem_spec="s", dataset_version="v",
        template="brew", schedule=Schedule(), seed=1, express=express, origin={},
    )  # fmt: skip
    with database.session() as session:
        return runs.add_run(session, new).name


def read(database: Database, name: str) -> Run:
    with database.reading() as session:
        return runs.get_run(session, name)


def states(database: Database, name: str) -> list[Any]:
    with database.reading() as session:
        return [e.event["state"] for e in runs.events_after(session, name, 0) if e.event["type"] == "state"]


def feedback(*ids: str, model: str = MODEL, first: int = 0, partition: int = 0) -> list[Counted]:
    return [
        Counted(model=model, event_id=one, partition=partition, offset=first + i, accepted=SENT + timedelta(seconds=i))
        for i, one in enumerate(ids)
    ]


def count(database: Database, counted: Sequence[Counted]) -> None:
    with database.session() as session:
        policies.count(session, counted)


def add_policy(database: Database, *, model: str = MODEL, name: str = POLICY) -> Policy:
    with database.session() as session:
        return policies.add_policy(session, name, "p", model, Rules(feedback_count=2))


def pending(database: Database, name: str = POLICY) -> int:
    with database.reading() as session:
        return policies.get_policy(session, name).pending


def start(database: Database, policy: Policy, **cut: int) -> Regrowth | None:
    with database.session() as session:
        return policies.start_regrowth(session, policy, trigger="why", champion=f"{MODEL}/versions/1", cut=cut)


def end(database: Database, name: str, state: RegrowthState) -> None:
    with database.session() as session:
        policies.note(session, name, state=state, decision="so")


def test_a_run_id_is_taken_once(database: Database) -> None:
    add_run(database, "a")
    with pytest.raises(AlreadyExists):
        add_run(database, "a")


def test_a_second_attempt_is_counted_and_said(database: Database) -> None:
    name = add_run(database, "a")
    for _ in range(2):
        with database.session() as session:
            runs.start_attempt(session, name)
    with database.reading() as session:
        said = [e.event for e in runs.events_after(session, name, 0)]
    assert read(database, name).attempts == 2
    assert states(database, name) == [State.QUEUED, State.RUNNING]
    assert "interrupted" in said[-1]["message"]


def test_what_a_run_waits_for_is_kept_and_said_once_until_it_goes_on_or_ends(database: Database) -> None:
    name = add_run(database, "a")
    for what in ("the object store", "the object store", "", "", "labeling"):
        with database.session() as session:
            runs.set_waiting(session, name, what)
    with database.reading() as session:
        said = [e.event["message"] for e in runs.events_after(session, name, 0) if e.event["type"] == "log"]
    assert said == ["It waits for the object store.", "It goes on.", "It waits for labeling."]
    assert read(database, name).waiting_for == "labeling"
    with database.session() as session:
        runs.fail(session, name, "no")
        runs.set_waiting(session, name, "the object store")
    assert read(database, name).waiting_for == ""


def test_a_run_that_is_interrupted_again_and_again_is_given_up(database: Database) -> None:
    name = add_run(database, "a")
    with pytest.raises(FailedPrecondition, match="25 times"):
        for _ in range(26):
            with database.session() as session:
                runs.start_attempt(session, name)
    assert read(database, name).attempts == 25


def test_cancelling_a_queued_run_ends_it_and_it_does_not_start(database: Database) -> None:
    name = add_run(database, "a")
    with database.session() as session:
        runs.ask_to_cancel(session, name)
    with database.session() as session:
        assert runs.start_attempt(session, name).state is State.CANCELLED
    assert read(database, name).attempts == 0


def test_what_ended_stays_as_it_is(database: Database) -> None:
    name = add_run(database, "a")
    with database.session() as session:
        runs.start_attempt(session, name)
        runs.succeed(session, name, version="v/1", report={"x": 1}, rank=0.5)
    with database.session() as session:
        runs.ask_to_cancel(session, name)
        runs.fail(session, name, "no")
        runs.cancelled(session, name)
        runs.succeed(session, name, version="v/2", report={}, rank=0.1)
    ended = read(database, name)
    assert (ended.state, ended.version, ended.problem, ended.report) == (State.SUCCEEDED, "v/1", "", {"x": 1})
    assert states(database, name) == [State.QUEUED, State.RUNNING, State.SUCCEEDED]


def test_a_leaderboard_has_the_best_first_and_those_without_a_score_last(database: Database) -> None:
    for run_id, rank in (("worse", 0.1), ("none", None), ("better", 0.9)):
        name = add_run(database, run_id)
        with database.session() as session:
            runs.succeed(session, name, version="v", report={}, rank=rank)
    add_run(database, "elsewhere", label_set="other")
    with database.reading() as session:
        found, _ = runs.leaderboard(session, "p", label_set="l")
    assert [run.name.rpartition("/")[2] for run in found] == ["better", "worse", "none"]


def test_unfinished_runs_are_found_oldest_first(database: Database) -> None:
    first, ended, last = add_run(database, "z"), add_run(database, "m"), add_run(database, "a")
    with database.session() as session:
        runs.ask_to_cancel(session, ended)
        runs.start_attempt(session, first)
    with database.reading() as session:
        assert [run.name for run in runs.unfinished(session)] == [first, last]


def test_feedback_that_is_read_again_is_counted_once(database: Database) -> None:
    add_policy(database)
    count(database, feedback("a", "b"))
    count(database, feedback("a", "b", "c"))
    assert pending(database) == 3


def test_an_event_id_that_is_sent_again_is_counted_once_in_a_batch_and_across(database: Database) -> None:
    add_policy(database)
    count(database, feedback("a", "b", "a"))
    count(database, feedback("a", "c", first=3))
    count(database, feedback("a", first=0, partition=1))
    assert pending(database) == 3


def test_an_event_id_counts_for_each_model_apart(database: Database) -> None:
    add_policy(database)
    count(database, feedback("a"))
    count(database, feedback("a", model="projects/p/models/other", first=1))
    assert pending(database) == 1


def test_used_feedback_no_longer_waits_and_does_not_come_back(database: Database) -> None:
    add_policy(database)
    count(database, feedback("a", "b", "c"))
    with database.session() as session:
        policies.use_before(session, MODEL, {0: 2})
    assert pending(database) == 1
    count(database, feedback("a", "b", first=3))
    assert pending(database) == 1


def test_the_cut_is_where_the_counting_is(database: Database) -> None:
    count(database, feedback("a", "b"))
    count(database, feedback("c", first=7, partition=2))
    with database.reading() as session:
        assert policies.positions(session) == {0: 2, 2: 8}


def test_a_model_has_one_policy(database: Database) -> None:
    add_policy(database)
    with pytest.raises(AlreadyExists, match="policy of this model"):
        add_policy(database, name="projects/p/policies/second")


def test_an_old_etag_changes_nothing(database: Database) -> None:
    made = add_policy(database)
    with database.session() as session:
        policies.update_policy(session, POLICY, Rules(feedback_count=9), made.etag)
    with pytest.raises(EtagMismatch), database.session() as session:
        policies.update_policy(session, POLICY, Rules(feedback_count=1), made.etag)
    with database.reading() as session:
        assert policies.get_policy(session, POLICY).rules.feedback_count == 9


def test_a_model_has_one_regrowth_at_a_time(database: Database) -> None:
    policy = add_policy(database)
    first = start(database, policy)
    assert first is not None
    assert start(database, policy) is None
    end(database, first.name, RegrowthState.REFUSED)
    second = start(database, policy)
    assert second is not None
    assert [first.name, second.name] == [f"{POLICY}/regrowths/1", f"{POLICY}/regrowths/2"]


def test_a_regrowth_that_ended_stays_as_it_is(database: Database) -> None:
    started = start(database, add_policy(database))
    assert started is not None
    end(database, started.name, RegrowthState.PROMOTED)
    end(database, started.name, RegrowthState.FAILED)
    with database.reading() as session:
        assert policies.get_regrowth(session, started.name).state is RegrowthState.PROMOTED


def test_failures_in_a_row_are_counted_from_the_newest(database: Database) -> None:
    policy = add_policy(database)
    for state in (RegrowthState.FAILED, RegrowthState.REFUSED, RegrowthState.FAILED, RegrowthState.FAILED):
        started = start(database, policy)
        assert started is not None
        end(database, started.name, state)
    with database.reading() as session:
        history = policies.history(session, POLICY)
    assert history.failures == 2
    assert history.ended is not None


def test_only_policies_with_new_feedback_and_no_regrowth_under_way_wait(database: Database) -> None:
    idle = add_policy(database, model="projects/p/models/idle", name="projects/p/policies/idle")
    policy = add_policy(database)
    count(database, feedback("a"))
    with database.reading() as session:
        assert [p.name for p in policies.waiting(session)] == [policy.name]
    start(database, policy)
    with database.reading() as session:
        assert policies.waiting(session) == []
        assert policies.get_policy(session, idle.name).pending == 0


def test_names_that_do_not_exist_are_told(database: Database) -> None:
    with database.reading() as session:
        for ask in (runs.get_run, policies.get_policy, policies.get_regrowth):
            with pytest.raises(NotFound):
                ask(session, "projects/p/none")
