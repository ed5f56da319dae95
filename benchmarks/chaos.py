"""Does anything that was acknowledged get lost, or counted twice, when services and engines are killed?

    python benchmarks/chaos.py [--kills 20] [--seed 1]
    python benchmarks/chaos.py --engines real                 # the same on Kafka, MinIO and PostgreSQL, killed too: 105 in all

Runs the whole loop on YouTube comments with the supervisor of `regrow up`, and kills each service with SIGKILL at 20 seeded
random moments: a quarter of the kills from the import to the first champion, the others while feedback streams in and models
are regrown; with real engines each service and each engine at 15, and an engine is started again on its folder up to two
seconds later. A sender gives feedback all the while: by prediction id, with features inline, and for predictions that never
were; it repeats an event until it is acknowledged. When the killing is over nobody helps: the loop must end by itself, the set
of acknowledged event ids must be the set in the ledger plus the unmatched table, each once, the champion must be the one that
was promoted last, and the bytes of every object must have the digest that they were stored with.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1]))  # first: `tests` has a folder named regrow

import demo_steps as steps
import demo_youtube as youtube
from real_engines import Server, kafka_server, minio_server, postgres_server, postgres_url, running

from regrow import CallError, Client
from regrow.labeling.v1 import feedback_ledger_pb2, feedback_ledger_pb2_grpc
from regrow.local import Local
from regrow.local.launcher import not_ready
from regrow.local.supervisor import SERVICES
from regrow.paging import iterate
from regrow.registry.v1 import registry_pb2
from regrow.training.v1 import policies_pb2, runs_pb2
from services.common.objects import DATASETS, MODELS, objects_from
from services.common.rpc.client import internal_channel
from services.common.settings import CommonSettings, shared_token

T = TypeVar("T")
PASSING = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED")
PATIENCE_SECONDS = 180.0
STREAMING = "regrowing"
"""What the loop does while feedback streams in."""
MANY_KILLS = 40
"""With so many, some must have fallen into a regrowth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """What the services stand on: the settings that choose it, and the servers that are killed, by name."""

    settings: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, Server] = field(default_factory=dict)


@contextmanager
def real_engines(folder: Path) -> Iterator[Engines]:
    """Kafka, MinIO and PostgreSQL of our own, to be killed."""
    with contextlib.ExitStack() as servers:
        home = servers.enter_context(tempfile.TemporaryDirectory(prefix="regrow-chaos-postgres-", ignore_cleanup_errors=True))
        for name in ("kafka", "minio"):
            (folder / name).mkdir(parents=True)
        kafka = servers.enter_context(running(kafka_server(folder / "kafka")))
        minio = servers.enter_context(running(minio_server(folder / "minio")))
        postgres = servers.enter_context(running(postgres_server(Path(home))))
        settings = {
            "REGROW_KAFKA_BOOTSTRAP": kafka.address, "REGROW_MINIO_ENDPOINT": f"http://{minio.address}",
            "REGROW_MINIO_ACCESS_KEY": "regrow", "REGROW_MINIO_SECRET_KEY": "regrow-secret",
            "REGROW_DATABASE_URL": postgres_url(postgres),
        }  # fmt: skip
        yield Engines(settings=settings, servers={"kafka": kafka, "minio": minio, "postgresql": postgres})


@dataclass(slots=True)
class World:
    """What the loop, the killer and the sender share."""

    local: Local
    engines: Engines
    stop: threading.Event = field(default_factory=threading.Event)
    doing: str = "starting"
    kills: list[tuple[float, str, str]] = field(default_factory=list)
    """Unix time, service or server, what the loop was doing."""
    acknowledged: set[str] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)
    """Codes of calls that failed and were repeated."""
    odd: list[str] = field(default_factory=list)
    """Failures that no killed process explains."""

    def client(self) -> Client:
        """A connection of its own, patient with services that are away."""
        return Client(self.local.grpc_address, self.local.admin_key, timeout=20.0, retry_for=PATIENCE_SECONDS)

    def persist(self, doing: str, call: Callable[[], T]) -> T:
        """Does a step of the loop, again where a killed process broke it off."""
        self.doing = doing
        return self.insist(doing, call)

    def insist(self, doing: str, call: Callable[[], T]) -> T:
        """The same of what goes on beside the loop."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call()
            except CallError as failure:
                self.refusals[failure.code] += 1
                if failure.code not in PASSING or time.monotonic() > give_up:
                    self.odd.append(f"{doing}: {failure.code} {failure.reason}: {failure.message}")
                    raise
                time.sleep(0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is left when all is over."""

    kills: list[tuple[float, str, str]]
    restarts: dict[str, int]
    acknowledged: set[str]
    ledger: list[str]
    unmatched: list[str]
    regrowths: list[policies_pb2.Regrowth]
    refusals: Counter[str]
    odd: list[str]
    settled: float
    """Seconds from the last kill until everything was applied and every regrowth had ended."""
    moves: list[registry_pb2.AliasMove]
    """Of the alias `champion`, the newest first."""
    champion: str
    """The version that it names in the end."""
    objects: int
    torn: list[str]
    """Objects whose bytes don't have their digest."""

    @property
    def kills_in_regrowths(self) -> int:
        """Those that fell between the beginning and the end of a regrowth."""
        spans = [(one.create_time.ToMilliseconds() / 1e3, one.end_time.ToMilliseconds() / 1e3) for one in self.regrowths]
        return sum(any(begun <= moment <= ended for begun, ended in spans) for moment, _, _ in self.kills)

    def problems(self) -> list[str]:
        """What is not as it must be."""
        kept = [*self.ledger, *self.unmatched]
        found = list(self.odd)
        if lost := self.acknowledged - set(kept):
            found.append(f"{len(lost)} acknowledged events are lost: {sorted(lost)[:5]}")
        if strange := set(kept) - self.acknowledged:
            found.append(f"{len(strange)} events are kept that nobody acknowledged: {sorted(strange)[:5]}")
        if len(kept) != len(set(kept)):
            twice = [event for event, count in Counter(kept).items() if count > 1]
            found.append(f"{len(twice)} events are kept twice: {twice[:5]}")
        if self.torn:
            found.append(f"{len(self.torn)} of {self.objects} objects are torn: {self.torn[:5]}")
        found += self._champion_problems()
        if not self.regrowths:
            found.append("no regrowth began")
        if 2 * sum(doing == STREAMING for _, _, doing in self.kills) < len(self.kills):
            found.append("fewer than half of the kills fell while feedback streamed in")
        if len(self.kills) >= MANY_KILLS and not self.kills_in_regrowths:
            found.append("no kill fell into a regrowth")
        ended = (policies_pb2.REGROWTH_STATE_PROMOTED, policies_pb2.REGROWTH_STATE_REFUSED)
        found += [f"{one.name}: {steps.state_name(one)}: {one.decision}" for one in self.regrowths if one.state not in ended]
        return found

    def _champion_problems(self) -> Iterator[str]:
        """There is one champion, the one promoted last, and each took the place of the one before."""
        promoted = {one.challenger for one in self.regrowths if one.state == policies_pb2.REGROWTH_STATE_PROMOTED}
        named = [move.to_version for move in self.moves]
        if named[:1] != [self.champion]:
            yield f"the champion is {self.champion}, but the last move went to {named[:1]}"
        if [move.from_version for move in self.moves[:-1]] != named[1:]:
            yield f"a champion did not take the place of the one before it: {self.moves}"
        if len(named) != len(set(named)) or set(named[:-1]) != promoted:
            yield f"the champions were {named}, but the regrowths that promoted made {sorted(promoted)}"


def run(
    folder: Path, *, kills: int, seed: int, pause: tuple[float, float], least_events: int, feedback_count: int,
    engines: Engines = Engines(),
) -> Outcome:  # fmt: skip
    """The loop under fire: `kills` of each service and server, `pause` seconds (from, to) before each."""
    with Local(data=folder, free_ports=True, settings=engines.settings, tell=lambda line: None) as local:
        world = World(local, engines)
        killer = threading.Thread(target=_kill, args=(world, kills, random.Random(seed), pause), name="killer", daemon=True)
        killer.start()
        with world.client() as client:
            rows = youtube.comments(draw=seed)
            policy = _begin(world, client, rows, feedback_count)
            sender = threading.Thread(target=_send, args=(world, rows, random.Random(seed)), name="sender", daemon=True)
            sender.start()
            world.doing = STREAMING
            while killer.is_alive() or len(world.acknowledged) < least_events:
                time.sleep(0.1)
            world.stop.set()
            sender.join(PATIENCE_SECONDS)
            begun = time.monotonic()
            regrowths = _settle(world, client, policy)
            model = client.name("models", "spam")
            ledger, unmatched = applied(local, model)
            champion = client.aliases.GetAlias(registry_pb2.GetAliasRequest(name=f"{model}/aliases/champion"))
            history = registry_pb2.ListAliasHistoryRequest(name=champion.name, page_size=1000)
            objects, torn = verified(local)
            assert local.supervisor is not None
            return Outcome(
                kills=world.kills, restarts={name: child.restarts for name, child in local.supervisor.children.items()},
                acknowledged=world.acknowledged, ledger=ledger, unmatched=unmatched, regrowths=regrowths,
                refusals=world.refusals, odd=world.odd, settled=time.monotonic() - begun,
                moves=list(client.aliases.ListAliasHistory(history).moves), champion=champion.version,
                objects=objects, torn=torn,
            )  # fmt: skip


def _kill(world: World, kills: int, draw: random.Random, pause: tuple[float, float]) -> None:
    victims = [victim for victim in (*SERVICES, *world.engines.servers) for _ in range(kills)]
    draw.shuffle(victims)
    starting: dict[str, threading.Thread] = {}
    for number, victim in enumerate(victims):
        while number >= len(victims) // 4 and world.doing != STREAMING:
            time.sleep(0.05)
        time.sleep(draw.uniform(*pause))
        if (server := world.engines.servers.get(victim)) is None:
            os.kill(_process_of(world.local, victim), signal.SIGKILL)
        else:
            if victim in starting:
                starting[victim].join()
            server.kill()
            starting[victim] = threading.Timer(draw.uniform(0, 2), _start, args=(world, server))
            starting[victim].start()
        world.kills.append((time.time(), victim, world.doing))
    for last in starting.values():
        last.join()


def _start(world: World, server: Server) -> None:
    try:
        server.start()
    except RuntimeError as error:
        world.odd.append(str(error))


def _process_of(local: Local, service: str) -> int:
    """The service's process; waits while the supervisor is about to start it again."""
    assert local.supervisor is not None
    while (process := local.supervisor.children[service].process) is None or process.poll() is not None:
        time.sleep(0.02)
    return process.pid


def _begin(world: World, client: Client, rows: youtube.Comments, feedback_count: int) -> str:
    """From the import to a champion with a policy. Answers the policy's name."""
    gold = [number for number, row in enumerate(rows.imported) if row["split"] == "train"][:40]
    world.persist("importing", lambda: youtube.import_comments(client, rows, "comments", gold=gold))
    world.persist("making a spec", lambda: client.create_spec("spam", dataset="comments", target="label", metric="accuracy"))
    world.persist("making labelers", lambda: youtube.make_labelers(client, "spam"))
    world.persist("applying labelers", lambda: client.apply_labelers("comments", problem_spec="spam"))
    votes = youtube.imported_votes(client, rows)
    world.persist("writing votes", lambda: client.write_votes("comments", votes))
    labels = world.persist("making a label set", lambda: client.create_label_set("comments", problem_spec="spam"))
    run = world.persist("submitting a run", lambda: client.create_run(labels.name, model="spam"))
    ended = world.persist("training", lambda: client.wait_for_run(run.name))
    if ended.state != runs_pb2.RUN_STATE_SUCCEEDED:
        world.odd.append(f"the run ended {runs_pb2.RunState.Name(ended.state)}: {ended.problem}")
        raise RuntimeError(world.odd[-1])
    world.persist("promoting", lambda: client.promote(ended.version, why="the first version"))
    world.persist("loading", lambda: _served(client))
    policy = world.persist(
        "making a policy",
        lambda: steps.create_policy(client, "spam", "spam", feedback_count=feedback_count, promote_on_tie=True),
    )
    return policy.name


def _served(client: Client) -> None:
    if not steps.wait_until_served(client, "spam", f"{client.name('models', 'spam')}/versions/1", PATIENCE_SECONDS):
        raise RuntimeError("The gateway did not load the first version.")


def _send(world: World, rows: youtube.Comments, draw: random.Random) -> None:
    """Feedback, a few events at a time, each repeated until it is acknowledged."""
    with world.client() as client:
        for number, row in _forever(rows.production):
            if world.stop.is_set():
                return
            one = {"event_id": f"event-{number}", "class_names": row["label"], "source": "moderators"}
            kind = draw.random()
            if kind < 0.1:
                one["prediction_id"] = f"never-was-{number}"
            elif kind < 0.2:
                one["features"] = {"text": row["text"]}
            else:
                answer = world.insist("sending", lambda text=row["text"]: client.predict("spam", [{"text": text}]))
                one["prediction_id"] = answer.predictions[0].prediction_id
            world.acknowledged.update(world.insist("sending", lambda event=one: client.send_feedback("spam", [event])))
            time.sleep(0.05)


def _forever(rows: list[dict[str, str]]) -> Iterator[tuple[int, dict[str, str]]]:
    number = 0
    while True:
        yield number, rows[number % len(rows)]
        number += 1


def _settle(world: World, client: Client, policy: str) -> list[policies_pb2.Regrowth]:
    """Waits until every event is applied and every regrowth has ended; answers the regrowths."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    state = "nothing answered"
    while time.monotonic() < deadline:
        stats = world.persist("settling", lambda: steps.feedback_stats(client, "spam"))
        regrowths = world.persist("settling", lambda: _regrowths(client, policy))
        waiting = [one for one in regrowths if one.state not in steps.ENDED]
        pending = client.policies.GetPolicy(policies_pb2.GetPolicyRequest(name=policy))
        problem = not_ready(world.local.url)
        state = (
            f"lag {stats.lag}, {len(waiting)} regrowths under way, {pending.pending_feedback} pending, {problem or 'all ready'}"
        )
        if not stats.lag and regrowths and not waiting and not problem and pending.pending_feedback < pending.feedback_count:
            return regrowths
        time.sleep(0.3)
    world.odd.append(f"The loop did not end by itself within {PATIENCE_SECONDS:.0f} s: {state}")
    return _regrowths(client, policy)


def _regrowths(client: Client, policy: str) -> list[policies_pb2.Regrowth]:
    return list(iterate(client.policies.ListRegrowths, policies_pb2.ListRegrowthsRequest(parent=policy)))


def applied(local: Local, model: str) -> tuple[list[str], list[str]]:
    """The event ids in the ledger and in the unmatched table, asked as a service asks."""
    address, token = local.environment["REGROW_LABELING_ADDRESS"], shared_token(local.data)
    with internal_channel(address, token=token, service="labeling") as channel:
        stub: Any = feedback_ledger_pb2_grpc.RegrowthServiceStub(channel)  # type: ignore[no-untyped-call]
        answer = stub.ListAppliedEvents(feedback_ledger_pb2.ListAppliedEventsRequest(model=model))
    return list(answer.ledger_event_ids), list(answer.unmatched_event_ids)


def verified(local: Local) -> tuple[int, list[str]]:
    """How many objects there are, and those whose bytes don't have the digest that the store tells."""
    settings = {name.removeprefix("REGROW_").lower(): value for name, value in local.environment.items()}
    store = objects_from(CommonSettings(**{name: settings[name] for name in settings if name in CommonSettings.model_fields}))
    found = [one for bucket in (DATASETS, MODELS) for one in store.list(bucket)]
    torn = []
    for one in found:
        sha256 = hashlib.sha256()
        for piece in store.read(one.bucket, one.key, length=one.size):
            sha256.update(piece)
        if f"sha256:{sha256.hexdigest()}" != one.digest:
            torn.append(f"{one.bucket}/{one.key}")
    return len(found), torn


def show(outcome: Outcome) -> None:
    """The report."""
    say = sys.stdout.write
    killed, moments = Counter(victim for _, victim, _ in outcome.kills), Counter(doing for _, _, doing in outcome.kills)
    say(f"\n{'':<10} {'killed':>7} {'started again':>14}\n")
    for victim in dict.fromkeys((*SERVICES, *killed)):
        say(f"{victim:<10} {killed[victim]:>7} {outcome.restarts.get(victim, killed[victim]):>14}\n")
    say(f"while: {', '.join(f'{doing} {count}' for doing, count in moments.most_common())}")
    say(f"; within a regrowth {outcome.kills_in_regrowths}\n")
    say(
        f"acknowledged {len(outcome.acknowledged)} = {len(outcome.ledger)} in the ledger + {len(outcome.unmatched)} unmatched\n"
    )
    say(f"objects: {outcome.objects}, torn: {len(outcome.torn)}\n")
    say(f"champions in turn: {len(outcome.moves)}, now {outcome.champion}\n")
    states = Counter(steps.state_name(one) for one in outcome.regrowths)
    say(f"regrowths: {dict(states)}; all was quiet {outcome.settled:.1f} s after the last kill\n")
    say(f"calls that were broken off and repeated by the caller: {dict(outcome.refusals)}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, help="of each service and engine; 20, and 15 on real engines, unless said")
    parser.add_argument("--engines", choices=("embedded", "real"), default="embedded")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, nargs=2, default=(1.0, 6.0), help="seconds before a kill, from and to")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="regrow-chaos-", ignore_cleanup_errors=True) as folder,
        real_engines(Path(folder) / "engines") if asked.engines == "real" else contextlib.nullcontext(Engines()) as engines,
    ):
        kills = asked.kills or (15 if engines.servers else 20)
        outcome = run(
            Path(folder) / "data", kills=kills, seed=asked.seed, pause=tuple(asked.pause), least_events=400,
            feedback_count=300, engines=engines,
        )  # fmt: skip
    show(outcome)
    sys.exit("\n".join(outcome.problems()) or None)


if __name__ == "__main__":
    main()
