"""Many threads want the same thing at the same moment. They start at a barrier, on real databases."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from services.common.database import Database, open_database
from services.common.errors import AlreadyExists, EtagMismatch, FailedPrecondition, NotFound, RegrowError
from services.common.objects import ObjectStore
from services.registry.app import MIGRATIONS
from services.registry.handlers import Registry
from services.registry.models import Alias, NewVersion, Once, Version
from services.registry.tables import ChangeRow, OutboxRow

NewVersions = Callable[..., NewVersion]
TONE = "projects/shop/models/tone"
RACERS = 12


def race(calls: Sequence[Callable[[], object]]) -> list[object]:
    """What each call answered or raised on purpose."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return call()
        except RegrowError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_racing_creators_get_the_numbers_one_to_n_without_a_gap(registry: Registry, new_version: NewVersions) -> None:
    new = new_version()
    answers = race([lambda: registry.create_version(TONE, new)] * RACERS)
    assert sorted(answer.number for answer in answers if isinstance(answer, Version)) == list(range(1, RACERS + 1))
    assert registry.get_model(TONE).latest == RACERS


def test_one_call_sent_many_times_at_once_registers_one_version(registry: Registry, new_version: NewVersions) -> None:
    new, once = new_version(), Once(request_id="run-7", fingerprint="f")
    answers = race([lambda: registry.create_version(TONE, new, once)] * RACERS)
    assert [answer.number for answer in answers if isinstance(answer, Version)] == [1] * RACERS
    assert registry.get_model(TONE).latest == 1


def test_of_many_who_move_an_alias_from_one_place_exactly_one_wins(registry: Registry, new_version: NewVersions) -> None:
    new = new_version()
    for _ in range(RACERS + 1):
        registry.create_version(TONE, new)
    name = f"{TONE}/aliases/champion"
    etag = ""
    for _ in range(2):  # the first makes the alias, the second moves it
        goals = [n for n in range(1, RACERS + 2) if etag == "" or n != registry.get_alias(name).version][:RACERS]
        answers = race([
            lambda goal=goal: registry.set_alias(name, f"{TONE}/versions/{goal}", etag, moved_by=str(goal), why="")  # noqa: B023
            for goal in goals
        ])  # fmt: skip
        (winner,) = [answer for answer in answers if isinstance(answer, Alias)]
        assert [type(answer) for answer in answers if answer is not winner] == [EtagMismatch] * (RACERS - 1)
        current = registry.get_alias(name)
        assert (current.version, current.etag) == (winner.version, winner.etag)
        assert registry.list_moves(name, 0, "").items[0].moved_by == str(winner.version)
        etag = current.etag
    assert len(registry.list_moves(name, 0, "").items) == 2


def test_an_id_goes_to_one_of_many(registry: Registry) -> None:
    answers = race([lambda: registry.create_project("toys", "")] * RACERS)
    assert sum(isinstance(answer, AlreadyExists) for answer in answers) == RACERS - 1
    answers = race([lambda: registry.create_model("projects/toys", "mood", "")] * RACERS)
    assert sum(isinstance(answer, AlreadyExists) for answer in answers) == RACERS - 1


def test_a_project_is_not_deleted_under_a_model_that_is_being_made(registry: Registry) -> None:
    for round_ in range(5):
        project = f"toys-{round_}"
        registry.create_project(project, "")
        made, deleted = race([
            lambda: registry.create_model(f"projects/{project}", "mood", ""),  # noqa: B023
            lambda: registry.delete_project(f"projects/{project}"),  # noqa: B023
        ])  # fmt: skip
        assert isinstance(made, NotFound) != isinstance(deleted, FailedPrecondition)


def test_services_that_start_at_once_make_one_default_project(url: str, objects: ObjectStore) -> None:
    def start() -> int:
        database = open_database(url, migrations=MIGRATIONS)
        try:
            registry = Registry(database, objects)
            registry.ensure_default_project()
            return len(registry.list_projects(None, 0, "").items)
        finally:
            database.close()

    assert race([start] * 4) == [1] * 4


def test_the_sequence_of_changes_has_no_gap_whoever_races(
    registry: Registry, database: Database, new_version: NewVersions
) -> None:
    new = new_version()
    race([lambda n=n: registry.create_model("projects/shop", f"m-{n % 8}", "") for n in range(RACERS)])  # some are refused
    race([lambda n=n: registry.create_version(f"projects/shop/models/m-{n % 8}", new) for n in range(RACERS)])
    with database.reading() as session:
        sequences = session.scalars(sa.select(ChangeRow.sequence).order_by(ChangeRow.sequence)).all()
        last = session.scalar(sa.select(OutboxRow.last))
    assert sequences == list(range(1, 2 + 8 + RACERS + 1))
    assert last == len(sequences)
