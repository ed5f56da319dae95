"""Rates and quotas by themselves: what a bucket lets through, what an account counts, what a restart remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.common.database import Database
from services.common.errors import EngineUnavailable, InvalidField, QuotaExceeded
from services.common.rpc.principal import Principal, acting_as
from services.gateway.keys.storage import open_keys
from services.gateway.limits import limiter as limiter_module
from services.gateway.limits import rules, storage
from services.gateway.limits.limiter import Limiter
from services.gateway.limits.rules import Limits, Used, checked, today

ANN = Principal(key_id="ann", role="viewer", name="Ann")
BOB = Principal(key_id="bob", role="viewer")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_keys(f"sqlite:///{tmp_path}/gateway.db")
    yield opened
    opened.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Time that passes when it is told to."""

    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

        def time(self) -> float:
            return self.now

    made = Clock()
    monkeypatch.setattr(rules, "time", made)
    return made


def limiter(database: Any, **limits: Any) -> Limiter:
    return Limiter(database, lambda _: Limits(**limits), Limits())


def test_a_bucket_lets_a_burst_through_then_its_rate(database: Database, clock: Any) -> None:
    one = limiter(database, calls_per_second=2.0, burst=5)
    for _ in range(5):
        one.enter(ANN)
    with pytest.raises(QuotaExceeded) as refused:
        one.enter(ANN)
    assert refused.value.retry_after.total_seconds() == pytest.approx(0.5)
    assert "'Ann' may make 2 calls a second" in refused.value.message
    clock.now += 0.5
    one.enter(ANN)
    with pytest.raises(QuotaExceeded):
        one.enter(ANN)
    clock.now += 3600
    assert one.account(ANN).standing() == (5, 5, 0)


@pytest.mark.parametrize(
    ("rate", "said"), [(1.0, "1 call a second"), (0.5, "0.5 calls a second"), (1500.0, "1,500 calls a second")]
)
def test_a_refusal_counts_in_the_right_number(database: Database, clock: Any, rate: float, said: str) -> None:
    one = limiter(database, calls_per_second=rate, burst=1, rows_per_day=1, feedback_per_day=1)
    one.enter(ANN)
    with pytest.raises(QuotaExceeded, match=f"may make {said}") as refused:
        one.enter(ANN)
    assert refused.value.standing is not None and refused.value.standing[:2] == (1, 0)
    with pytest.raises(QuotaExceeded, match="may make 1 row a day"):
        one.account(ANN).spend(rows=2)
    with pytest.raises(QuotaExceeded, match="may make 1 piece of feedback a day"):
        one.account(ANN).spend(feedback=2)


def test_over_an_hour_no_caller_gets_more_than_its_rate_and_one_burst(database: Database, clock: Any) -> None:
    one, passed = limiter(database, calls_per_second=10.0, burst=20), 0
    for _ in range(36_000):
        clock.now += 0.05
        try:
            one.enter(ANN)
        except QuotaExceeded:
            continue
        passed += 1
    assert 18_000 <= passed <= 18_020


def test_callers_have_a_bucket_each_and_0_is_no_limit(database: Database) -> None:
    one = limiter(database, calls_per_second=0.001)
    one.enter(ANN)
    one.enter(BOB)
    with pytest.raises(QuotaExceeded):
        one.enter(ANN)
    free = limiter(database, calls_per_second=0.0, rows_per_day=0)
    for _ in range(1000):
        free.enter(ANN)
    free.account(ANN).spend(rows=10**9)


def test_a_keys_own_limit_wins_over_the_settings_also_where_it_is_none() -> None:
    defaults = Limits(calls_per_second=5.0, rows_per_day=100)
    assert Limits(rows_per_day=0).over(defaults) == Limits(calls_per_second=5.0, rows_per_day=0)
    assert Limits().over(defaults) == defaults


def test_a_quota_is_kept_over_a_restart_and_ends_with_the_day(database: Database, clock: Any) -> None:
    async def story() -> None:
        clock.now = 10 * 86_400.0 + 5
        first = limiter(database, rows_per_day=10, feedback_per_day=3)
        first.account(ANN).spend(rows=6, feedback=3)
        await first.write()
        second = limiter(database, rows_per_day=10, feedback_per_day=3)
        await second.write()
        second.account(ANN).spend(rows=4)
        for more in ({"rows": 1}, {"feedback": 1}):
            with pytest.raises(QuotaExceeded) as refused:
                second.account(ANN).spend(**more)
            assert refused.value.retry_after.total_seconds() == 86_400 - 5
        clock.now += 86_400
        second.account(ANN).spend(rows=10)
        await second.write()
        with database.reading() as session:
            assert storage.of_day(session, 10) == {"ann": Used(rows=10, feedback=3)}
            assert storage.of_day(session, 11) == {"ann": Used(rows=10, feedback=0)}

    asyncio.run(story())


def test_gateways_with_one_database_share_a_quota(database: Database) -> None:
    async def story() -> None:
        both = [limiter(database, rows_per_day=100) for _ in range(2)]
        for one in both:
            one.account(ANN).spend(rows=50)
            await one.write()
        await both[0].write()
        assert both[0].used("ann") == Used(rows=100)
        with pytest.raises(QuotaExceeded):
            both[0].account(ANN).spend(rows=1)

    asyncio.run(story())


def test_what_a_database_that_is_away_didnt_take_is_written_later_once(database: Database) -> None:
    class Away:
        away = True

        @contextmanager
        def session(self) -> Iterator[Any]:
            if self.away:
                raise EngineUnavailable("database", "it is away")
            with database.session() as session:
                yield session

        reading = staticmethod(database.reading)

    async def story() -> None:
        engine = Away()
        one = limiter(engine, rows_per_day=100)
        one.account(ANN).spend(rows=7)
        for _ in range(2):
            with pytest.raises(EngineUnavailable):
                await one.write()
        one.account(ANN).spend(rows=1)
        assert one.used("ann") == Used(rows=8)
        engine.away = False
        await one.write()
        await one.write()
        assert one.used("ann") == Used(rows=8)
        with database.reading() as session:
            assert storage.of_day(session, today())["ann"] == Used(rows=8)

    asyncio.run(story())


def test_what_came_to_nothing_is_given_back(database: Database) -> None:
    account = limiter(database, rows_per_day=10).account(ANN)
    account.spend(rows=10)
    account.give_back(rows=10)
    account.spend(rows=10)


def test_a_key_with_other_limits_has_them_from_its_next_call_on_and_keeps_what_it_used(database: Database) -> None:
    limits = {"rows_per_day": 10}
    one = Limiter(database, lambda _: Limits(**limits), Limits())
    one.account(ANN).spend(rows=8)
    limits["rows_per_day"] = 9
    changed = Principal(key_id="ann", role="viewer", name="Ann")
    one.account(changed).spend(rows=1)
    with pytest.raises(QuotaExceeded):
        one.account(changed).spend(rows=1)


def test_accounts_in_memory_are_bounded_and_none_forgets_what_was_used(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter_module, "_MOST_ACCOUNTS", 3)
    one = limiter(database, rows_per_day=100)
    for number in range(10):
        one.account(Principal(key_id=f"k{number}", role="viewer")).spend(rows=number)
    assert len(one._accounts) <= 3
    asyncio.run(one.write())
    with database.reading() as session:
        assert {key: used.rows for key, used in storage.of_day(session, today()).items()} == {f"k{n}": n for n in range(1, 10)}


def test_work_in_the_background_is_on_nobodys_account(database: Database) -> None:
    one = limiter(database)
    assert one.current() is None
    with acting_as(ANN):
        account = one.current()
    assert account is not None and account.principal is ANN


@pytest.mark.parametrize("field", ["calls_per_second", "burst", "rows_per_day", "feedback_per_day"])
def test_a_limit_below_0_is_refused(field: str) -> None:
    with pytest.raises(InvalidField):
        checked(Limits(**{field: -1}), "key.limits")
