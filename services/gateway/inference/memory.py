"""What versions take of the memory: measured when each is opened, parts that several share counted once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.common.bundle import Manifest
from services.common.bundle.manifest import NOT_SERVED

_SHARED_KIND = "vectors"
"""Readers whose parts bundles share in memory: text encoders."""
_LEAST_BUDGET = 256 << 20
_MOST_TIMES, _MOST_BESIDE = 4, 4 << 20
"""A session holds its weights at most so often, for each thread's buffers and while they are rearranged, and so much beside."""
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """Bytes of one version: its `own`, and by digest those of the parts that others may use, too."""

    own: int
    shared: Mapping[str, int]

    @property
    def total(self) -> int:
        """Alone in memory."""
        return self.own + sum(self.shared.values())


def weight_of(manifest: Manifest, growth: int, *, encoder_is_new: bool) -> Weight:
    """From the sizes of the files, and from what the process grew by while they were opened, where that is more.

    A shared encoder that was there before didn't make the process grow. What else made it grow meanwhile, such as libraries
    that the first version loads, isn't the version's: it counts for no more than a session takes at most.
    """
    shared_names = {name for reader in manifest.readers if reader.kind == _SHARED_KIND for name in reader.parts}
    shared = {part.digest: part.size for part in manifest.parts if part.name in shared_names}
    own = sum(part.size for part in manifest.parts if part.name not in shared_names | NOT_SERVED)
    grown = growth - encoder_is_new * sum(shared.values())
    return Weight(own=max(own, min(grown, _MOST_TIMES * own + _MOST_BESIDE)), shared=shared)


def total_bytes(weights: Iterable[Weight]) -> int:
    """What all take together."""
    shared: dict[str, int] = {}
    own = 0
    for weight in weights:
        own += weight.own
        shared |= weight.shared
    return own + sum(shared.values())


def resident_bytes() -> int:
    """Of this process; 0 where the system doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def sensible_budget() -> int:
    """Half of the memory that this process may have: of the machine's, or of its container's."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _CGROUP_LIMITS:
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):
            continue
    return max(_LEAST_BUDGET, min(limits) // 2)


def spelled_size(size: int) -> str:
    """`1.5 GiB`."""
    value, units = float(size), ["bytes", "KiB", "MiB", "GiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:,.0f} {units[0]}" if units[0] == "bytes" or value >= 100 else f"{value:.2g} {units[0]}"
