"""Which version answers, and its exchange without a gap.

`wanted` is what the registry said last, `live` what answers. A version that is newly wanted is loaded and tried beside the
live one and takes its place in one step, if it is still wanted then. A call that computed with the old one while that
happened computes again (`is_current`), so after a swap nobody hears from an older version. One that can't be loaded leaves
the old one in place, is told in the status, and is tried again.

Versions share a memory budget. Beyond it the one that was called longest ago is put to sleep, whatever aliases point to it:
the next call for it loads it again, off the event loop, and waits for it as long as for any other load.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TypeVar

import structlog

from services.common import tracing
from services.common.errors import EngineUnavailable, FailedPrecondition, NotFound, RegrowError
from services.common.names import number, parse
from services.gateway.inference import meters
from services.gateway.inference.aliases import CHAMPION, Aliases, RegistryView, Target
from services.gateway.inference.loading import Loaded, Loader
from services.gateway.inference.residents import Residents

_RETRY_AFTER = timedelta(seconds=1)
_TRY_AGAIN_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0

Answer = TypeVar("Answer")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a caller names: a model (its champion), an alias of it, or a version."""

    model: str
    alias: str = ""
    version: str = ""


@lru_cache(maxsize=4096)
def read_name(name: str) -> Asked:
    """Raises `InvalidField`."""
    model = "/".join(name.split("/")[:4])
    parse("projects/{project}/models/{model}", model)
    rest = name[len(model) + 1 :]
    if not rest:
        return Asked(model=model, alias=CHAMPION)
    if rest.startswith("versions/"):
        number(parse("projects/{project}/models/{model}/versions/{version}", name)["version"], "name")
        return Asked(model=model, version=name)
    return Asked(model=model, alias=parse("projects/{project}/models/{model}/aliases/{alias}", name)["alias"])


class Serving:
    """Belongs to the event loop. `refresh` reads the registry anew and returns when the answer was applied."""

    def __init__(
        self,
        loader: Loader,
        registry: RegistryView,
        refresh: Callable[[], asyncio.Future[None]],
        *,
        residents: Residents,
        most_versions: int,
        load_wait: float,
    ) -> None:
        self._loader = loader
        self._registry = registry
        self._refresh = refresh
        self._residents = residents
        self._most_versions = most_versions
        self._load_wait = load_wait
        self._wanted: Aliases = {}
        self._live: dict[tuple[str, str], Loaded] = {}
        self._by_number: OrderedDict[str, Loaded] = OrderedDict()
        self._swaps: dict[tuple[str, str], asyncio.Task[Loaded | None]] = {}
        self._failures: dict[tuple[str, str], int] = {}
        self._asleep: set[tuple[str, str]] = set()
        self._refusals: dict[str, RegrowError] = {}
        self._clock = itertools.count(1)
        self._first_loads = asyncio.Semaphore(1)
        self.problems: dict[str, str] = {}
        """By version: why it can't be loaded."""
        meters.LOADED.set_function(lambda: len({id(one) for one in (*self._live.values(), *self._by_number.values())}))

    def apply(self, wanted: Aliases) -> None:
        """Takes over a table that was read after the one before."""
        self._wanted = wanted
        names = {target.name for targets in wanted.values() for target in targets.values()}
        self.problems = {version: problem for version, problem in self.problems.items() if version in names}
        self._refusals = {version: refusal for version, refusal in self._refusals.items() if version in names}
        self._asleep = {key for key in self._asleep if self._target(key) is not None}
        for key in [key for key in self._live if self._target(key) is None]:
            del self._live[key]
        self._residents.note(self._all())
        for model, targets in wanted.items():
            for alias in targets:
                if (model, alias) not in self._asleep:
                    self._bring((model, alias))

    async def find(self, name: str) -> Loaded:
        """The version that answers for a name, loaded. Raises `NotFound`, `FailedPrecondition`, `EngineUnavailable`."""
        asked = read_name(name)
        if asked.version:
            return await self._numbered(asked.version)
        loaded = self._live.get((asked.model, asked.alias)) or await self._not_live(asked)
        loaded.used = next(self._clock)
        return loaded

    def is_current(self, name: str, loaded: Loaded) -> bool:
        """Whether the same version would answer now."""
        asked = read_name(name)
        live = self._live.get((asked.model, asked.alias), loaded)  # the same one may have slept and been loaded again
        return bool(asked.version) or live is loaded or live.target == loaded.target

    def loaded(self) -> Iterator[tuple[Loaded, list[str]]]:
        """Every version in memory with the aliases that it answers for."""
        aliases: dict[int, tuple[Loaded, list[str]]] = {}
        for (_, alias), loaded in self._live.items():
            aliases.setdefault(id(loaded), (loaded, []))[1].append(alias)
        for loaded in self._by_number.values():
            aliases.setdefault(id(loaded), (loaded, []))
        yield from aliases.values()

    def sleeping(self) -> list[str]:
        """Versions that aliases point to and that were put to sleep for want of memory."""
        awake = {loaded.target.name for loaded in self._live.values()}
        return sorted({target.name for key in self._asleep if (target := self._target(key)) is not None} - awake)

    def in_memory(self, name: str) -> Loaded | None:
        """What `find` would answer at once; None where it would have to load it, or fail. Raises `InvalidField`."""
        asked = read_name(name)
        if asked.version:
            live = (one for one in self._live.values() if one.target.name == asked.version)
            return self._by_number.get(asked.version) or next(live, None)
        return self._live.get((asked.model, asked.alias))

    def awaited(self) -> Iterator[tuple[Target, str]]:
        """Every version that an alias points to and that isn't live for it, with why; empty while it is loading."""
        for model, targets in self._wanted.items():
            for alias, target in targets.items():
                live = self._live.get((model, alias))
                if live is None or live.target != target:
                    yield target, self.problems.get(target.name, "")

    def evict(self, model: str) -> int:
        """Frees the versions of a model that were loaded by number and have no alias; answers how many these were."""
        gone = [name for name, loaded in self._by_number.items() if loaded.target.model == model]
        for name in gone:
            del self._by_number[name]
        return len(gone)

    async def settled(self) -> None:
        """Waits until every load that is under way has ended."""
        while self._swaps:
            await asyncio.wait(list(self._swaps.values()))

    def _target(self, key: tuple[str, str]) -> Target | None:
        return self._wanted.get(key[0], {}).get(key[1])

    def _bring(self, key: tuple[str, str], *, asked: bool = False) -> None:
        """Loads what is wanted, unless that is under way. `asked`: a call waits for it."""
        if asked:
            self._asleep.discard(key)
        target, live, running = self._target(key), self._live.get(key), self._swaps.get(key)
        if target is not None and (live is None or live.target != target) and (running is None or running.done()):
            task = asyncio.ensure_future(self._swap(key) if asked or live is not None else self._first(key))
            self._swaps[key] = task
            task.add_done_callback(lambda done: self._swaps.pop(key) if self._swaps.get(key) is done else None)

    async def _first(self, key: tuple[str, str]) -> Loaded | None:
        """Loads ahead of the first call, one after the other, as long as there is room."""
        async with self._first_loads:
            if self._residents.have_room(self._all()):
                return await self._swap(key)
            self._asleep.add(key)
            return None

    async def _swap(self, key: tuple[str, str]) -> Loaded | None:
        """Loads what is wanted until what is live is what is wanted, and answers it; None where it can't be loaded.

        Who waits for it has it even where others have put it to sleep again before that call's turn comes.
        """
        while (target := self._target(key)) is not None:
            live = self._live.get(key)
            if live is not None and live.target == target:
                return live
            try:
                fresh = self._in_memory(target)
                if fresh is None:
                    with tracing.step("swap", version=target.name, alias=key[1]):
                        fresh = await asyncio.shield(self._loader.load(target))
            except Exception as error:
                self._failed(key, target, error)
                return None
            self.problems.pop(target.name, None)
            self._refusals.pop(target.name, None)
            self._failures.pop(key, None)
            if self._target(key) == target:
                self._live[key] = fresh
                self._by_number.pop(target.name, None)
                self._make_room(fresh)
                meters.SWAPS.labels("swapped").inc()
                log.info("serving", model=key[0], alias=key[1], version=target.name)
                return fresh
        return None

    def _failed(self, key: tuple[str, str], target: Target, error: Exception) -> None:
        """Tells why, and tries again after a pause that grows."""
        meters.SWAPS.labels("failed").inc()
        self.problems[target.name] = error.message if isinstance(error, RegrowError) else "It can't be loaded; see the log."
        if isinstance(error, FailedPrecondition):
            self._refusals[target.name] = error
        self._failures[key] = self._failures.get(key, 0) + 1
        pause = min(_TRY_AGAIN_SECONDS * 2 ** min(self._failures[key] - 1, 10), _LONGEST_PAUSE_SECONDS)
        asyncio.get_running_loop().call_later(pause, self._bring, key)

    def _all(self) -> list[Loaded]:
        return list({id(one): one for one in (*self._live.values(), *self._by_number.values())}.values())

    def _make_room(self, fresh: Loaded) -> None:
        """Puts to sleep what was called longest ago, until the rest fits."""
        fresh.used = next(self._clock)
        for least in self._residents.too_many(self._all(), fresh):
            for key in [key for key, live in self._live.items() if live is least]:
                del self._live[key]
                self._asleep.add(key)
            self._by_number.pop(least.target.name, None)

    def _in_memory(self, target: Target) -> Loaded | None:
        numbered = self._by_number.get(target.name)
        return numbered or next((one for one in self._live.values() if one.target == target), None)

    async def _numbered(self, version: str) -> Loaded:
        numbered = self._by_number.get(version)
        if numbered is not None:
            self._by_number.move_to_end(version)
        else:
            numbered = next((one for one in self._live.values() if one.target.name == version), None)
        loaded = numbered or await self._load_number(version)
        loaded.used = next(self._clock)
        return loaded

    async def _load_number(self, version: str) -> Loaded:
        task = self._loader.load(await self._registry.version(version))
        loaded = await self._wait(task, version)
        self._by_number[version] = loaded
        self._make_room(loaded)
        while len(self._by_number) > self._most_versions:
            self._by_number.popitem(last=False)
        return loaded

    async def _not_live(self, asked: Asked) -> Loaded:
        key = (asked.model, asked.alias)
        if self._target(key) is None:
            await asyncio.shield(self._refresh())
        if self._target(key) is None:
            raise await self._missing(asked)
        fresh = await self._woken(key)
        if fresh is None and key in self._asleep:  # what was under way was a start, which left it asleep
            fresh = await self._woken(key)
        if (loaded := self._live.get(key) or fresh) is not None:
            return loaded
        version = target.name if (target := self._target(key)) else ""
        if version in self._refusals:
            raise self._refusals[version]
        raise EngineUnavailable("model", self.problems.get(version, "it isn't loaded yet"))

    async def _woken(self, key: tuple[str, str]) -> Loaded | None:
        self._bring(key, asked=True)
        swap = self._swaps.get(key)
        return None if swap is None else await self._wait(swap, f"{key[0]}/aliases/{key[1]}")

    async def _wait(self, task: asyncio.Task[Answer], what: str) -> Answer:
        try:
            async with asyncio.timeout(self._load_wait):
                return await asyncio.shield(task)
        except TimeoutError:
            raise EngineUnavailable("model", f"'{what}' is still loading", retry_after=_RETRY_AFTER) from None

    async def _missing(self, asked: Asked) -> RegrowError:
        if not await self._registry.has_model(asked.model):
            return NotFound("model", asked.model)
        if asked.alias != CHAMPION:
            return NotFound("alias", f"{asked.model}/aliases/{asked.alias}")
        return FailedPrecondition(
            f"'{asked.model}' has no champion yet. Train a version, then set the alias 'champion' to it.", reason="NO_CHAMPION"
        )
