"""What the demo prints: stories, numbered steps with their times, tables, progress. A step that didn't happen ends it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

WIDTH_IN_A_FILE = 118


class StepFailed(Exception):
    """A step of the loop did not happen; the message says which and why."""


class Report:
    """Prints to the terminal, or as plain text into a file. Keeps how long each step took."""

    def __init__(self) -> None:
        self.console = Console(width=None if sys.stdout.isatty() else WIDTH_IN_A_FILE, highlight=False)
        self.times: list[tuple[str, float]] = []
        self._number = 0
        self._begun = time.monotonic()

    def title(self, title: str, words: str) -> None:
        """The head of a story."""
        self._number = 0
        self.console.print()
        self.console.print(Panel(Text(words), title=f"[bold]{title}[/bold]", title_align="left", border_style="green"))

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step: its heading, what the body prints, the seconds that it took."""
        self._number += 1
        heading = f"{self._number}. {title}"
        self.console.print()
        self.console.rule(f"[bold green]{heading}[/bold green]", align="left", style="green")
        begun = time.monotonic()
        yield
        seconds = time.monotonic() - begun
        self.times.append((heading, seconds))
        self.console.print(f"{seconds:.1f} s", style="dim", justify="right")

    def say(self, words: str, style: str = "") -> None:
        """A sentence, as it is: nothing in it is markup."""
        self.console.print(Text(words, style=style))

    def warn(self, words: str) -> None:
        """A sentence that the system said to warn."""
        self.console.print(Text("! " + words, style="yellow"))

    def good(self, words: str) -> None:
        """A sentence that something succeeded."""
        self.console.print(Text("✓ " + words, style="bold green"))

    def command(self, line: str, answer: str = "") -> None:
        """A command that was run, and what it printed. Long lines are not broken, so that they can be copied."""
        self.console.print(Text("$ " + line, style="cyan"), soft_wrap=True)
        if answer:
            self.console.print(Text(answer), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
        """A table. A column whose name begins with `#` holds numbers and is set to the right."""
        table = Table(title=Text(title) if title else None, title_justify="left", header_style="bold", pad_edge=False, box=None)
        for name in columns:
            table.add_column(name.removeprefix("#"), justify="right" if name.startswith("#") else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        self.console.print(table)

    @contextmanager
    def progress(self, words: str, total: float | None = None) -> Iterator[Progress]:
        """A progress bar of one task, gone when it is done; nothing in a file."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            progress.add_task(words, total=total)
            yield progress

    def must(self, condition: object, otherwise: str) -> None:
        """Raises `StepFailed` where the condition doesn't hold."""
        if not condition:
            raise StepFailed(otherwise)

    def summary(self) -> None:
        """How long everything took."""
        slowest = sorted(self.times, key=lambda one: -one[1])[:5]
        self.console.print()
        self.table(["slowest steps", "#seconds"], [(title, f"{seconds:.1f}") for title, seconds in slowest])
        self.good(f"The whole loop ran in {time.monotonic() - self._begun:.0f} s, {len(self.times)} steps.")


def percent(value: float) -> str:
    """`91.2%`."""
    return f"{value:.1%}"
