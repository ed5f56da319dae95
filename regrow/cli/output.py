"""What the command line prints: tables and sentences for a person, JSON for scripts, progress only where somebody looks.

Results go to stdout, everything else to stderr. Text from data is never read as markup, and control characters in it never
reach the terminal. Without a terminal there is no animation and nothing is cut to a width.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from regrow.errors import CallError

LOG_WIDTH = 200
_CONTROL = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), 127, *range(128, 160)) if code not in (9, 10)}


def console(*, error: bool = False) -> Console:
    """A console on today's stdout or stderr."""
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else LOG_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=not stream.isatty())


def say(text: str = "", style: str = "") -> None:
    """A line of the result."""
    console().print(clean(text), style=style or None)


def tell(text: str, style: str = "dim") -> None:
    """A line beside the result: what is going on."""
    console(error=True).print(clean(text), style=style)


def warn(text: str) -> None:
    """Something that a person should look at, beside the result."""
    console(error=True).print(Text("! ", style="yellow") + Text(clean(text)))


def done(text: str) -> None:
    """A step that ended well."""
    console(error=True).print(Text("✓ " if _can_print("✓") else "+ ", style="green") + Text(clean(text)))


def fail(text: str) -> None:
    """Why the command ends with an error."""
    console(error=True).print(Text("Error: ", style="bold red") + Text(clean(text)))


def fail_call(error: CallError) -> None:
    """A refused call: its sentence, the wrong fields where there are several, and what to do next."""
    fields = {name: problem for name, problem in error.fields.items() if f"{name}: {problem}" != error.message}
    listed = "\n".join(f"  {name}: {problem}" for name, problem in fields.items())
    several = bool(listed) and all(problem in error.message for problem in fields.values())
    fail(f"{len(fields)} fields are wrong.\n{listed}" if several else "\n".join(filter(None, (error.message, listed))))
    hint = _hint(error)
    if hint:
        tell(hint)


def _hint(error: CallError) -> str:
    if error.code == "UNAUTHENTICATED":
        return "Store a key with `regrow login`; on the machine itself, `regrow keys reset` makes a new admin key."
    if error.code == "PERMISSION_DENIED":
        return "`regrow login --check` shows what your key may do."
    if error.retry_after:
        return f"Try again in {error.retry_after:.0f} s."
    if error.code in ("INTERNAL", "UNKNOWN") and error.request_id:
        return f"Request id: {error.request_id}"
    return ""


def show_json(value: Message | Mapping[str, Any] | Sequence[Any]) -> None:
    """JSON as REST answers it, on stdout. Lists of messages become arrays."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """A message, or a list of messages, as what `json` understands."""
    if isinstance(value, Message):
        return json_format.MessageToDict(value, always_print_fields_with_no_presence=True)
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [plain(one) for one in value]
    return value


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()) -> None:
    """A table on stdout. `numbers` names the columns that are aligned to the right; a column without any cell is left out."""
    cells = [[cell if isinstance(cell, Text) else clean(_cell(cell)) for cell in row] for row in rows]
    used = [index for index in range(len(columns)) if not cells or any(row[index] for row in cells)]
    shown = Table(title=title or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for index in used:
        shown.add_column(columns[index], justify="right" if columns[index] in numbers else "left", overflow="fold")
    for row in cells:
        shown.add_row(*(row[index] for index in used))
    console().print(shown)


def facts(pairs: Mapping[str, object]) -> None:
    """Name and value, a line each; what is empty is left out."""
    shown = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        if value not in (None, "", 0) or value is False:
            shown.add_row(Text(name, style="dim"), value if isinstance(value, Text) else clean(_cell(value)))
    console().print(shown)


def clean(text: str) -> str:
    """Text without control characters, so that data can't steer the terminal."""
    return text.translate(_CONTROL)


def when(stamp: Timestamp) -> str:
    """Local time to the second; empty where it is unset."""
    if not stamp.seconds:
        return ""
    return datetime.fromtimestamp(stamp.seconds, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def percent(share: float) -> str:
    """`12.3%`."""
    return f"{100 * share:.1f}%"


def shorten(text: str, most: int = 80) -> str:
    """One line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def is_watched() -> bool:
    """Whether a person sees stderr move."""
    return sys.stderr.isatty()


def upload_progress() -> Progress:
    """Bytes and rate; silent where nobody looks."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(),
        console=console(error=True), transient=True, disable=not is_watched(),
    )  # fmt: skip


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, str):
        return value
    return ", ".join(map(str, value)) if isinstance(value, Iterable) else str(value)


def _can_print(character: str) -> bool:
    try:
        character.encode(sys.stderr.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
