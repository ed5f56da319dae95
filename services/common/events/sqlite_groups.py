"""Consumer groups in the SQLite log: seats with leases, who owns which partition, and where the group stands.

A member is alive while its lease is renewed. When one comes or goes, each partition gets an heir; the owner hands it over
at its next poll, when it is done with what it polled before, so two living members never read one partition at once. A dead
member's partitions are free when its lease ends, and its late commits find that it owns nothing. `generation` counts every
change, so that a member sees by one read whether it has something to do.

All functions run inside the caller's transaction; times are seconds of the wall clock, which all processes of a machine
share. A lease from the future (the clock was set back) counts as over.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from services.common.errors import InvalidField
from services.common.events.assignment import assign


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One consumer's seat in its group. `lease` is in seconds."""

    group: str
    name: str
    topics: Sequence[str]
    lease: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a member owns, as of a generation of its group."""

    generation: int
    slots: Set[int]


def is_outdated(connection: sqlite3.Connection, me: Member, generation: int, now: float) -> bool:
    """Whether something happened that `take_seat` must deal with. Writes nothing."""
    seen = connection.execute("SELECT seen FROM members WHERE grp = ? AND name = ?", (me.group, me.name)).fetchone()
    if seen is None or abs(now - seen[0]) > me.lease / 2:
        return True
    return _generation(connection, me.group) != generation or bool(_expired(connection, me, now))


def take_seat(connection: sqlite3.Connection, me: Member, now: float) -> Standing:
    """Joins or renews, buries the dead, hands over what others shall have, and takes what is free for me."""
    dead = _expired(connection, me, now)
    for name in dead:
        _remove(connection, me.group, name)
    seated = _seat(connection, me, now)
    if dead or seated:
        _choose_heirs(connection, me.group)
    changed = _hand_over(connection, me)
    if dead or seated or changed:
        _count_up(connection, me.group)
    owned = connection.execute("SELECT slot FROM ownership WHERE grp = ? AND owner = ?", (me.group, me.name))
    return Standing(generation=_generation(connection, me.group), slots={slot for (slot,) in owned})


def leave(connection: sqlite3.Connection, me: Member) -> None:
    """Frees the seat and all that it owns at once."""
    _remove(connection, me.group, me.name)
    _choose_heirs(connection, me.group)
    _count_up(connection, me.group)


def renew(connection: sqlite3.Connection, members: Iterable[Member], now: float) -> None:
    """Renews the leases of those who still have a seat."""
    connection.executemany(
        "UPDATE members SET seen = ? WHERE grp = ? AND name = ?", [(now, member.group, member.name) for member in members]
    )


def store_positions(connection: sqlite3.Connection, me: Member, offsets: Mapping[int, int]) -> Set[int]:
    """Stores the group's positions; answers the slots that aren't mine (any more), whose positions stay as they are."""
    owned = {
        slot for (slot,) in connection.execute("SELECT slot FROM ownership WHERE grp = ? AND owner = ?", (me.group, me.name))
    }
    for slot, offset in offsets.items():
        topic, end = connection.execute("SELECT topic, next_offset FROM partitions WHERE slot = ?", (slot,)).fetchone()
        if not 0 <= offset <= end:
            raise InvalidField("offsets", f"{offset} is outside of the log of '{topic}', which ends at {end}.")
    connection.executemany(
        "INSERT OR REPLACE INTO positions (grp, slot, next_offset) VALUES (?, ?, ?)",
        [(me.group, slot, offset) for slot, offset in offsets.items() if slot in owned],
    )
    return offsets.keys() - owned


def positions(connection: sqlite3.Connection, group: str) -> dict[int, int]:
    """Slot -> the offset that the group committed; without the slots that it never did."""
    return dict(connection.execute("SELECT slot, next_offset FROM positions WHERE grp = ?", (group,)).fetchall())


def _expired(connection: sqlite3.Connection, me: Member, now: float) -> Sequence[str]:
    rows = connection.execute(
        "SELECT name FROM members WHERE grp = ? AND name <> ? AND abs(? - seen) > lease", (me.group, me.name, now)
    )
    return [name for (name,) in rows]


def _seat(connection: sqlite3.Connection, me: Member, now: float) -> bool:
    """True where the member is new, or was buried and comes back."""
    known = connection.execute("UPDATE members SET seen = ? WHERE grp = ? AND name = ?", (now, me.group, me.name)).rowcount
    if not known:
        connection.execute(
            "INSERT INTO members (grp, name, topics, seen, lease) VALUES (?, ?, ?, ?, ?)",
            (me.group, me.name, json.dumps(list(me.topics)), now, me.lease),
        )
    return not known


def _remove(connection: sqlite3.Connection, group: str, name: str) -> None:
    connection.execute("DELETE FROM members WHERE grp = ? AND name = ?", (group, name))
    connection.execute("UPDATE ownership SET owner = NULL WHERE grp = ? AND owner = ?", (group, name))
    connection.execute("UPDATE ownership SET heir = NULL WHERE grp = ? AND heir = ?", (group, name))


def _choose_heirs(connection: sqlite3.Connection, group: str) -> None:
    seats = connection.execute("SELECT name, topics FROM members WHERE grp = ? ORDER BY seat", (group,))
    members = {name: frozenset(json.loads(topics)) for name, topics in seats.fetchall()}
    topics = dict(connection.execute("SELECT slot, topic FROM partitions").fetchall())
    holders = dict(connection.execute("SELECT slot, coalesce(heir, owner) FROM ownership WHERE grp = ?", (group,)).fetchall())
    heirs = assign(topics, members, holders)
    connection.execute("UPDATE ownership SET heir = NULL WHERE grp = ?", (group,))
    connection.executemany(
        "INSERT INTO ownership (grp, slot, heir) VALUES (?, ?, ?) ON CONFLICT (grp, slot) DO UPDATE SET heir = excluded.heir",
        [(group, slot, heir) for slot, heir in heirs.items()],
    )


def _hand_over(connection: sqlite3.Connection, me: Member) -> bool:
    mine = (me.group, me.name)
    freed = connection.execute("UPDATE ownership SET owner = NULL WHERE grp = ? AND owner = ? AND heir IS NOT owner", mine)
    taken = connection.execute("UPDATE ownership SET owner = heir WHERE grp = ? AND heir = ? AND owner IS NULL", mine)
    return freed.rowcount + taken.rowcount > 0


def _generation(connection: sqlite3.Connection, group: str) -> int:
    row = connection.execute("SELECT generation FROM groups WHERE name = ?", (group,)).fetchone()
    return 0 if row is None else int(row[0])


def _count_up(connection: sqlite3.Connection, group: str) -> None:
    connection.execute(
        "INSERT INTO groups (name, generation) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET generation = generation + 1",
        (group,),
    )
