"""Policies and regrowths through the whole service, on a real event log and the real registry."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from training_world import (
    AGAIN,
    FULL,
    PROJECT,
    Client,
    World,
    no_feedback,
    not_applied_until,
    send_feedback,
)

from regrow.registry.v1 import registry_pb2
from regrow.training.v1 import policies_pb2 as pb
from services.common.database import Database
from services.common.errors import AlreadyExists, EtagMismatch, FailedPrecondition, InvalidField, NotFound
from services.common.events import SqliteLog
from services.common.events.port import FEEDBACK, Event
from services.training.policies import storage
from services.training.policies.counting import FeedbackCounter

PROMOTED, REFUSED, FAILED = pb.REGROWTH_STATE_PROMOTED, pb.REGROWTH_STATE_REFUSED, pb.REGROWTH_STATE_FAILED
ENDED = (PROMOTED, REFUSED, FAILED)


@pytest.fixture
def log(world: World) -> Iterator[SqliteLog]:
    log = SqliteLog(world.data_dir / "events.db")
    yield log
    log.close()


@pytest.fixture
def weak(trained: Any, world: World) -> registry_pb2.Version:
    """A version that a run on mostly wrong labels made."""
    version: registry_pb2.Version = world.versions.GetVersion(registry_pb2.GetVersionRequest(name=trained.version))
    return version


@pytest.fixture
def champion(world: World, weak: registry_pb2.Version, model: str) -> str:
    """The weak version as the champion of a model of its own."""
    world.models.CreateModel(registry_pb2.CreateModelRequest(parent=PROJECT, model_id=model.rpartition("/")[2]))
    version = registry_pb2.Version(bundle_digest=weak.bundle_digest, run=weak.run, receipt=weak.receipt)
    made = world.versions.CreateVersion(registry_pb2.CreateVersionRequest(parent=model, version=version))
    world.promote(made.name)
    world.labeling.cut = lambda _: FULL
    world.labeling.cuts.clear()
    return str(made.name)


def create(client: Client, model: str, *, request_id: str = "", **rules: Any) -> Any:
    policy = pb.Policy(model=model, **({"feedback_count": 1_000} | rules))
    policy_id = f"p-{model.rpartition('/')[2]}"
    return client.policies.CreatePolicy(
        pb.CreatePolicyRequest(parent=PROJECT, policy_id=policy_id, policy=policy, request_id=request_id)
    )


def regrowths(client: Client, policy: str) -> list[Any]:
    """Newest first."""
    return list(client.policies.ListRegrowths(pb.ListRegrowthsRequest(parent=policy)).regrowths)


def eventually(ask: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)
    return answer


def ended(client: Client, policy: str, number: int = 1) -> Any:
    """The regrowth of that number, once it ended."""

    def ask() -> Any:
        found = [r for r in regrowths(client, policy) if r.name.endswith(f"/{number}") and r.state in ENDED]
        return found[0] if found else None

    return eventually(ask)


def get(client: Client, policy: str) -> Any:
    return client.policies.GetPolicy(pb.GetPolicyRequest(name=policy))


def trigger(client: Client, policy: str, request_id: str = "") -> Any:
    return client.policies.TriggerRegrowth(pb.TriggerRegrowthRequest(name=policy, request_id=request_id))


@pytest.mark.slow
def test_enough_feedback_trains_a_challenger_that_is_better_and_promotes_it(
    client: Client, world: World, champion: str, model: str, log: SqliteLog
) -> None:
    world.labeling.cut = not_applied_until(2)
    policy = create(client, model, feedback_count=3)
    send_feedback(log, model, ["a", "b"])
    eventually(lambda: get(client, policy.name).pending_feedback == 2)
    assert regrowths(client, policy.name) == []
    send_feedback(log, model, ["c"])
    regrowth = ended(client, policy.name)
    assert (regrowth.state, regrowth.champion, regrowth.label_set) == (PROMOTED, champion, FULL), regrowth.decision
    assert "asks for 3" in regrowth.trigger
    assert regrowth.comparison.rows == 100
    assert regrowth.comparison.challenger > 0.9 and regrowth.comparison.difference > 0.2 and regrowth.comparison.p_value < 0.05
    assert world.champion(model).version == regrowth.challenger != champion
    assert get(client, policy.name).pending_feedback == 0
    assert len({cut.request_id for cut in world.labeling.cuts}) == 1 and len(world.labeling.cuts) == 3
    receipt = world.versions_of(model)[0].receipt
    assert receipt.champion == champion
    ends = {f"{topic}/{partition}": end for (topic, partition), end in log.ends(FEEDBACK).items() if end}
    assert dict(receipt.feedback_offsets) == {f"{c.topic}/{c.partition}": c.offset for c in regrowth.cut} == ends


def test_feedback_that_means_nothing_ends_refused_and_waits_no_more(
    client: Client, world: World, champion: str, model: str, log: SqliteLog
) -> None:
    world.labeling.cut = no_feedback
    policy = create(client, model, feedback_count=1)
    send_feedback(log, model, ["a"])
    regrowth = ended(client, policy.name)
    assert (regrowth.state, regrowth.run, regrowth.challenger) == (REFUSED, "", "")
    assert "nothing to learn from" in regrowth.decision
    assert get(client, policy.name).pending_feedback == 0
    assert world.champion(model).version == champion


@pytest.mark.slow
def test_a_champion_without_a_label_set_fails_with_the_reason_and_the_policy_rests(
    client: Client, world: World, weak: registry_pb2.Version, model: str, log: SqliteLog
) -> None:
    world.models.CreateModel(registry_pb2.CreateModelRequest(parent=PROJECT, model_id=model.rpartition("/")[2]))
    imported = registry_pb2.Version(bundle_digest=weak.bundle_digest)
    world.promote(world.versions.CreateVersion(registry_pb2.CreateVersionRequest(parent=model, version=imported)).name)
    policy = create(client, model, feedback_count=1)
    send_feedback(log, model, ["a"])
    regrowth = ended(client, policy.name)
    assert regrowth.state == FAILED
    assert "without a label set" in regrowth.decision
    time.sleep(1.2)
    assert len(regrowths(client, policy.name)) == 1
    assert get(client, policy.name).pending_feedback == 1


def test_a_policy_without_a_champion_keeps_no_other_from_firing(
    client: Client, world: World, champion: str, model: str, log: SqliteLog
) -> None:
    world.labeling.cut = no_feedback
    orphan = f"{PROJECT}/models/a-{model.rpartition('/')[2]}"
    world.models.CreateModel(registry_pb2.CreateModelRequest(parent=PROJECT, model_id=orphan.rpartition("/")[2]))
    waits = create(client, orphan, feedback_count=1)
    fires = create(client, model, feedback_count=1)
    send_feedback(log, orphan, ["a"])
    eventually(lambda: get(client, waits.name).pending_feedback == 1)
    send_feedback(log, model, ["a"])
    assert ended(client, fires.name).state == REFUSED
    assert regrowths(client, waits.name) == []
    with pytest.raises(FailedPrecondition, match="Promote a version first") as refused:
        trigger(client, waits.name)
    assert refused.value.reason == "NO_CHAMPION"


def test_old_feedback_fires_a_policy_by_age(client: Client, world: World, champion: str, model: str, log: SqliteLog) -> None:
    world.labeling.cut = no_feedback
    policy = create(client, model, feedback_count=0, max_age=Duration(seconds=1))
    send_feedback(log, model, ["a"])
    assert "The oldest of 1 new feedback labels waits" in ended(client, policy.name).trigger


def test_a_regrowth_can_be_triggered_once_and_only_with_new_feedback(
    client: Client, world: World, champion: str, model: str, log: SqliteLog
) -> None:
    behind = not_applied_until(20)
    world.labeling.cut = behind
    policy = create(client, model, paused=True)
    with pytest.raises(FailedPrecondition) as nothing:
        trigger(client, policy.name)
    assert nothing.value.reason == "NO_FEEDBACK"
    send_feedback(log, model, ["a", "b"])
    started = trigger(client, policy.name, "once")
    assert started.state == pb.REGROWTH_STATE_CUTTING
    assert sum(cut.offset for cut in started.cut) == sum(log.ends(FEEDBACK).values())
    assert trigger(client, policy.name, "once").name == started.name
    with pytest.raises(FailedPrecondition) as running:
        trigger(client, policy.name)
    assert running.value.reason == "REGROWTH_UNDER_WAY"
    world.labeling.cut = no_feedback
    assert ended(client, policy.name).state == REFUSED


@pytest.mark.slow
def test_a_challenger_that_is_no_better_is_refused_with_the_figures(
    client: Client, world: World, champion: str, model: str, log: SqliteLog
) -> None:
    world.labeling.cut = lambda _: AGAIN
    policy = create(client, model, feedback_count=1)
    send_feedback(log, model, ["a"])
    regrowth = ended(client, policy.name)
    assert regrowth.state == REFUSED
    assert "not shown to be better" in regrowth.decision and "100 holdout rows" in regrowth.decision
    assert regrowth.challenger and regrowth.comparison.p_value > 0.05
    assert world.champion(model).version == champion


@pytest.mark.slow
def test_a_champion_that_was_moved_meanwhile_is_left_where_it_is(
    client: Client, world: World, champion: str, model: str, log: SqliteLog
) -> None:
    policy = create(client, model, feedback_count=1)
    send_feedback(log, model, ["a"])
    eventually(lambda: [r for r in regrowths(client, policy.name) if r.run])
    first = world.versions_of(model)[-1]
    other = registry_pb2.Version(bundle_digest=first.bundle_digest, receipt=first.receipt)
    moved = world.versions.CreateVersion(registry_pb2.CreateVersionRequest(parent=model, version=other)).name
    world.promote(moved, world.champion(model).etag)
    regrowth = ended(client, policy.name)
    assert regrowth.state == REFUSED
    assert f"was moved to '{moved}'" in regrowth.decision
    assert world.champion(model).version == moved


@pytest.mark.slow
def test_a_challenger_whose_run_is_cancelled_is_refused(
    client: Client, world: World, champion: str, model: str, log: SqliteLog
) -> None:
    from regrow.training.v1 import runs_pb2

    policy = create(client, model, feedback_count=1)
    send_feedback(log, model, ["a"])
    run = eventually(lambda: [r.run for r in regrowths(client, policy.name) if r.run])[0]
    client.runs.CancelRun(runs_pb2.CancelRunRequest(name=run))
    regrowth = ended(client, policy.name)
    assert (regrowth.state, regrowth.decision) == (REFUSED, f"The challenger's run '{run}' was cancelled.")


def test_a_policy_is_kept_as_it_was_asked_for(client: Client, champion: str, model: str) -> None:
    made = create(
        client, model, request_id="r", feedback_count=7, max_age=Duration(seconds=90), tolerance=0.02, promote_on_tie=True
    )
    assert (made.alias, made.significance, made.feedback_count) == ("champion", 0.05, 7)
    assert made.max_age.ToTimedelta() == timedelta(seconds=90) and not made.HasField("min_interval")
    assert get(client, made.name) == made
    again = create(
        client, model, request_id="r", feedback_count=7, max_age=Duration(seconds=90), tolerance=0.02, promote_on_tie=True
    )
    assert again == made
    with pytest.raises(AlreadyExists):
        create(client, model)


def test_a_policy_is_replaced_whole_by_a_star_and_only_by_who_read_it_last(client: Client, champion: str, model: str) -> None:
    made = create(client, model, feedback_count=7, promote_on_tie=True)
    changed = pb.Policy(name=made.name, feedback_count=9, etag=made.etag)
    whole = pb.UpdatePolicyRequest(policy=changed, update_mask=FieldMask(paths=["*"]))
    updated = client.policies.UpdatePolicy(whole)
    assert (updated.feedback_count, updated.promote_on_tie, updated.model) == (9, False, model)
    with pytest.raises(EtagMismatch):
        client.policies.UpdatePolicy(whole)
    moved = pb.Policy(name=made.name, model=f"{PROJECT}/models/trained", feedback_count=1)
    with pytest.raises(InvalidField, match="can't change"):
        client.policies.UpdatePolicy(pb.UpdatePolicyRequest(policy=moved))


def test_an_update_changes_the_fields_of_its_mask_or_those_that_are_set(client: Client, champion: str, model: str) -> None:
    made = create(client, model, feedback_count=7, promote_on_tie=True, tolerance=0.02)

    def update(*mask: str, **fields: Any) -> pb.Policy:
        policy = pb.Policy(name=made.name, **fields)
        return client.policies.UpdatePolicy(pb.UpdatePolicyRequest(policy=policy, update_mask=FieldMask(paths=mask)))

    set_ones = update(feedback_count=9)
    assert (set_ones.feedback_count, set_ones.promote_on_tie, set_ones.tolerance) == (9, True, 0.02)
    named = update("promote_on_tie", "maxAge", max_age=Duration(seconds=60), feedback_count=1)
    assert (named.feedback_count, named.promote_on_tie, named.max_age.seconds) == (9, False, 60)
    cleared = update("max_age", feedback_count=1)
    assert (cleared.feedback_count, cleared.HasField("max_age")) == (9, False)
    with pytest.raises(InvalidField, match=r"update_mask: 'etag' is no field that can be changed. These can: alias, "):
        update("etag")


def test_a_policy_that_cannot_work_is_refused(client: Client, champion: str, model: str) -> None:
    with pytest.raises(InvalidField, match="never fires"):
        create(client, model, feedback_count=0)
    with pytest.raises(NotFound, match="model"):
        create(client, f"{PROJECT}/models/none")
    with pytest.raises(InvalidField, match="another project"):
        create(client, "projects/other/models/m")
    with pytest.raises(InvalidField, match=r"policy\.alias"):
        create(client, model, alias="No Alias")


def test_policies_are_listed_by_name_page_by_page(client: Client, champion: str, model: str) -> None:
    made = create(client, model)
    found, token = list[str](), ""
    while True:
        answer = client.policies.ListPolicies(pb.ListPoliciesRequest(parent=PROJECT, page_size=1, page_token=token))
        found += [policy.name for policy in answer.policies]
        if not (token := answer.next_page_token):
            break
    assert found == sorted(set(found))
    assert made.name in found


def test_regrowths_and_policies_that_do_not_exist_are_not_found(client: Client) -> None:
    name = f"{PROJECT}/policies/none"
    for call, request in (
        (client.policies.GetPolicy, pb.GetPolicyRequest(name=name)),
        (client.policies.TriggerRegrowth, pb.TriggerRegrowthRequest(name=name)),
        (client.policies.ListRegrowths, pb.ListRegrowthsRequest(parent=name)),
        (client.policies.GetRegrowth, pb.GetRegrowthRequest(name=f"{name}/regrowths/1")),
    ):
        with pytest.raises(NotFound):
            call(request)


def test_what_is_no_feedback_goes_to_the_dead_letters_and_counts_nothing(database: Database, tmp_path: Any) -> None:
    log = SqliteLog(tmp_path / "events.db")
    log.ensure_topics()
    model = f"{PROJECT}/models/m"
    log.append(FEEDBACK, [Event(key=model, value=b"\xff\xff"), Event(key=model, value=b"")])
    send_feedback(log, model, ["a"])
    counter = FeedbackCounter(log, database, lambda causes: None)
    counter.start()

    def counted() -> Any:
        with database.reading() as session:
            return sum(storage.positions(session).values()) == 3

    eventually(counted, 10)
    counter.stop()
    assert sum(log.ends("regrow.dead-letter").values()) == 2
    log.close()
