"""Every caller's account, in memory: a call is counted without the database.

What was used is written every `WRITE_SECONDS`, as additions, and what other gateways wrote is read then. So a killed gateway
forgets that much at most, and several gateways together may overshoot a quota by what they do in that time. A rate holds in
each gateway by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from services.common.database import Database
from services.common.errors import EngineUnavailable
from services.common.rpc.principal import Principal, current_call
from services.gateway.limits import storage
from services.gateway.limits.rules import Account, Limits, Used, today

WRITE_SECONDS = 5.0
_KEPT_DAYS = 400
_MOST_ACCOUNTS = 50_000

log = structlog.get_logger()


class Limiter:
    """Belongs to the event loop; the database is used in threads. `limits_of` answers what is set for a key by its id."""

    def __init__(self, database: Database, limits_of: Callable[[str], Limits], defaults: Limits) -> None:
        self._database = database
        self._limits_of = limits_of
        self._defaults = defaults
        self._accounts: dict[str, Account] = {}
        self._left: dict[tuple[str, int], Used] = {}
        self._known: dict[str, Used] = {}
        self._day = today()

    def enter(self, principal: Principal) -> None:
        """A call of this caller begins. Raises `QuotaExceeded` where it calls too often."""
        self.account(principal).take_call()

    def account(self, principal: Principal) -> Account:
        """The caller's account today."""
        account = self._accounts.get(principal.key_id)
        if account is None or account.day != today():
            account = self._open(principal)
        elif account.principal is not principal:  # the key was changed, or has two secrets at the moment
            account.set_limits(principal, self._limits(principal))
        return account

    def current(self) -> Account | None:
        """The account of whoever makes the call that runs now; None for work in the background."""
        call = current_call()
        return None if call is None or call.principal is None else self.account(call.principal)

    def used(self, key_id: str) -> Used:
        """By a key today, as far as this gateway knows."""
        account = self._accounts.get(key_id)
        if account is None or account.day != today():
            return self._known.get(key_id, Used()) if self._day == today() else Used()
        known, own = account.known, account.unwritten
        return Used(rows=known.rows + own.rows, feedback=known.feedback + own.feedback)

    async def write(self) -> None:
        """Writes what was used since the last time, and reads what all gateways used. Raises `EngineUnavailable`."""
        for account in self._accounts.values():
            self._put_aside(account)
        news, self._left = self._left, {}
        try:
            self._day, self._known = await asyncio.to_thread(self._exchange, news)
        except BaseException:
            for key, one in self._left.items():
                _add(news.setdefault(key, Used()), one)
            self._left = news
            raise
        for key_id, account in list(self._accounts.items()):
            if account.day == self._day:
                account.known = self._known.get(key_id, Used())
            elif not account.unwritten.rows and not account.unwritten.feedback:
                del self._accounts[key_id]

    async def keep_written(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self.write()
            except EngineUnavailable as error:
                log.warning("what keys used can't be written; it is counted on", problem=error.message)

    def _open(self, principal: Principal) -> Account:
        old = self._accounts.get(principal.key_id)
        if old is not None:
            self._put_aside(old)
        elif len(self._accounts) >= _MOST_ACCOUNTS:
            for one in self._accounts.values():
                self._put_aside(one)
            self._accounts.clear()
        day = today()
        known = self._known.get(principal.key_id, Used()) if self._day == day else Used()
        waits = self._left.get((principal.key_id, day), Used())
        total = Used(rows=known.rows + waits.rows, feedback=known.feedback + waits.feedback)
        account = self._accounts[principal.key_id] = Account(principal, self._limits(principal), total, day)
        return account

    def _put_aside(self, account: Account) -> None:
        """Moves what wasn't written to where `write` takes it; it stays known."""
        own = account.unwritten
        if own.rows or own.feedback:
            _add(self._left.setdefault((account.principal.key_id, account.day), Used()), own)
            account.known = Used(rows=account.known.rows + own.rows, feedback=account.known.feedback + own.feedback)
            account.unwritten = Used()

    def _limits(self, principal: Principal) -> Limits:
        return self._limits_of(principal.key_id).over(self._defaults)

    def _exchange(self, news: dict[tuple[str, int], Used]) -> tuple[int, dict[str, Used]]:
        day = today()
        if news or day != self._day:
            with self._database.session() as session:
                storage.add(session, news)
                storage.forget_before(session, day - _KEPT_DAYS)
        with self._database.reading() as session:
            return day, storage.of_day(session, day)


def _add(total: Used, more: Used) -> None:
    total.rows += more.rows
    total.feedback += more.feedback
