"""Whether a column can be a target, said before anything is trained: a sentence that names the mistake and the cure. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from regrow.labeling.v1.datasets_pb2 import Profile
from regrow.types.v1.schema_pb2 import COLUMN_KIND_ID, ColumnProfile

MANY = 50
"""So many different values in more than half of the rows are no classes but free text, a measurement or an id."""


def problem_with(profile: Profile, target: str) -> str:
    """Why the column can't be learned to predict; empty where it can be tried."""
    columns = {column.column: column for column in profile.columns}
    if target not in columns:
        return no_such_column(target, list(columns))
    found = columns[target]
    if not found.present:
        return f"'{target}' has no value in any row: there is nothing to learn from. {_others(profile, target)}"
    if found.distinct < 2:
        only = f" ('{found.top_values[0].value}')" if found.top_values else ""
        return (
            f"'{target}' has the same value{only} in every row: a model needs at least two classes. {_others(profile, target)}"
        )
    if len(columns) == 1:
        return f"'{target}' is the only column: there is nothing to predict it from."
    if found.kind == COLUMN_KIND_ID or _is_unique(found) or (found.distinct > MANY and found.distinct > found.present / 2):
        return (
            f"'{target}' has {found.distinct:,} different values in {found.present:,} rows: it looks like an id, a measurement "
            f"or free text, which names no classes. {_others(profile, target)}"
        )
    return ""


def no_such_column(target: str, columns: Sequence[str]) -> str:
    """Names the nearest column, and all of them."""
    near = nearest(target, columns)
    hint = f" Did you mean '{near}'?" if near else ""
    listed = ", ".join(f"'{column}'" for column in columns[:30])
    return f"There is no column '{target}'.{hint} The columns are: {listed}{', ...' if len(columns) > 30 else ''}."


def nearest(target: str, columns: Sequence[str]) -> str:
    """The column whose name is most like it; empty where none is."""
    by_folded = {column.casefold(): column for column in columns}
    near = difflib.get_close_matches(target.casefold(), list(by_folded), n=1, cutoff=0.5)
    return by_folded[near[0]] if near else ""


def balance(profile: Profile, target: str) -> list[tuple[str, int, float]]:
    """The target's most frequent values with their rows and share of the rows that have one."""
    found = next(column for column in profile.columns if column.column == target)
    return [(one.value, one.count, one.count / max(found.present, 1)) for one in found.top_values]


def _is_unique(column: ColumnProfile) -> bool:
    return column.present > 20 and column.distinct >= column.present


def _others(profile: Profile, target: str) -> str:
    likely = [c.column for c in profile.columns if c.column != target and 2 <= c.distinct <= 20 and c.distinct < c.present / 2]
    return f"Columns that could be a target: {', '.join(likely[:8])}." if likely else "Name another column with --target."
