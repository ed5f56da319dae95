"""Who reads which partition: the sticky rule that spreads partitions over a group's members.

Nobody who stays loses a partition without need, and where all read the same topics their loads differ by one at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set


def assign(topics: Mapping[int, str], members: Mapping[str, Set[str]], holders: Mapping[int, str | None]) -> dict[int, str]:
    """Slot -> member, without the slots that no member reads.

    topics: slot -> its topic; members: member -> the topics it reads, in order of joining; holders: slot -> who has it now.
    """
    readers = {slot: [name for name, read in members.items() if topic in read] for slot, topic in sorted(topics.items())}
    owners = {slot: str(holders[slot]) for slot, names in readers.items() if holders.get(slot) in names}
    loads = Counter(dict.fromkeys(members, 0))
    loads.update(owners.values())
    for slot, names in readers.items():
        if names and slot not in owners:
            owners[slot] = min(names, key=loads.__getitem__)
            loads[owners[slot]] += 1
    while (move := _next_move(owners, readers, loads)) is not None:
        slot, name = move
        loads[owners[slot]] -= 1
        loads[name] += 1
        owners[slot] = name
    return owners


def _next_move(owners: Mapping[int, str], readers: Mapping[int, list[str]], loads: Mapping[str, int]) -> tuple[int, str] | None:
    """A slot and its better owner. Each move lowers the sum of the squared loads, so the moves end."""
    for slot, owner in owners.items():
        idlest = min(readers[slot], key=loads.__getitem__)
        if loads[owner] - loads[idlest] >= 2:
            return slot, idlest
    return None
