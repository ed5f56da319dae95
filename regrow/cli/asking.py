"""`regrow label next`: a person labels rows in the terminal, one key a row.

Single-label: the class's key answers and goes on. Multi-label: keys switch classes on and off, Enter answers. `u` takes the
last answer back, `s` skips, `q` ends. Every answer is committed before the next row is shown.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.panel import Panel
from rich.text import Text

from regrow import choices, names
from regrow.cli import output
from regrow.cli.options import Mistake, Project, connect
from regrow.client import Client
from regrow.errors import CallError
from regrow.labeling.v1 import annotation_pb2 as pb
from regrow.labeling.v1 import labelers_pb2, problem_specs_pb2
from regrow.rows import values
from regrow.types.v1 import problem_spec_pb2

KEYS = "1234567890abcdefghijklmnoprtvwxyz"
BATCH = 5
LONGEST_VALUE = 2000


@dataclass(slots=True)
class Session:
    """One person's labeling of one spec with one labeler."""

    client: Client
    spec: problem_spec_pb2.ProblemSpec
    labeler: str
    strategy: Any
    annotator: str = ""
    holdout: bool | None = None
    skipped: set[int] = field(default_factory=set)
    history: list[pb.RowToLabel] = field(default_factory=list)
    answered: int = 0

    @property
    def classes(self) -> list[str]:
        """The class names, in the order of their keys."""
        return [c.name for c in self.spec.classes]

    @property
    def multi_label(self) -> bool:
        """Whether a row may have any number of classes."""
        return self.spec.task == problem_spec_pb2.TASK_MULTI_LABEL

    def next_rows(self) -> list[pb.RowToLabel]:
        """A few rows to label; none where only skipped ones are left."""
        request = pb.NextRowsRequest(
            parent=self.spec.dataset, problem_spec=self.spec.name, labeler=self.labeler, annotator=self.annotator,
            strategy=self.strategy, count=min(BATCH + len(self.skipped), 100), holdout=self.holdout,
        )  # fmt: skip
        response = self.client.annotation.NextRows(request)
        if response.note:
            output.tell(response.note)
        return [one for one in response.rows if one.row.number not in self.skipped]

    def submit(self, shown: pb.RowToLabel, classes: Sequence[str]) -> None:
        """Commits an answer."""
        request = pb.SubmitAnnotationRequest(
            parent=self.spec.dataset, labeler=self.labeler, row=shown.row.number, class_names=classes,
            annotator=self.annotator, drawn=shown.drawn,
        )  # fmt: skip
        self.client.annotation.SubmitAnnotation(request)
        self.history.append(shown)
        self.answered += 1

    def undo(self) -> list[pb.RowToLabel]:
        """Takes the newest answer back, and answers its row where it was given in this session."""
        request = pb.UndoAnnotationRequest(parent=self.spec.dataset, labeler=self.labeler, annotator=self.annotator)
        vote = self.client.annotation.UndoAnnotation(request)
        self.answered = max(self.answered - 1, 0)
        output.tell(f"Took back row {vote.row}: {', '.join(vote.class_names) or 'no class'}.")
        return [self.history.pop()] if self.history and self.history[-1].row.number == vote.row else []

    def progress(self) -> pb.AnnotationProgress:
        """How far labeling is."""
        request = pb.GetAnnotationProgressRequest(parent=self.spec.dataset, labeler=self.labeler)
        found: pb.AnnotationProgress = self.client.annotation.GetAnnotationProgress(request)
        return found


def label_next(
    spec: Annotated[str, typer.Argument(help="The spec to label for.")],
    labeler: Annotated[
        str, typer.Option("--labeler", "-l", help="The human labeler. Default: <spec>-human, made where it isn't there.")
    ] = "",
    strategy: Annotated[
        str, typer.Option("--strategy", help="random, or margin: where a quick model is least sure.")
    ] = "random",
    annotator: Annotated[str, typer.Option("--as", help="Who answers. Default: your key's name.")] = "",
    holdout: Annotated[
        bool | None, typer.Option("--holdout/--training", help="Only held-out rows, or only training rows.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="End after this many answers; 0 never.")] = 0,
    project: Project = "default",
) -> None:
    """Label rows by hand, one key a row: why this row is asked, undo, progress."""
    with connect(project) as client:
        found = client.specs.GetProblemSpec(problem_specs_pb2.GetProblemSpecRequest(name=client.name("problemSpecs", spec)))
        if len(found.classes) > len(KEYS):
            raise Mistake(f"{len(found.classes)} classes are more than there are keys ({len(KEYS)}). Use `regrow label votes`.")
        try:
            chosen = choices.number(pb.RowStrategy, strategy)
        except ValueError as error:
            raise Mistake(f"--strategy: {error}") from None
        session = Session(
            client=client, spec=found, labeler=human_labeler(client, found, labeler), strategy=chosen,
            annotator=annotator, holdout=holdout,
        )  # fmt: skip
        ask(session, read_key, count)


def human_labeler(client: Client, spec: problem_spec_pb2.ProblemSpec, labeler: str) -> str:
    """The labeler's full name; the default one is made where it isn't there."""
    name = client.name("labelers", labeler or f"{names.short(spec.name)}-human")
    try:
        client.labelers.GetLabeler(labelers_pb2.GetLabelerRequest(name=name))
    except CallError as error:
        if error.code != "NOT_FOUND" or labeler:
            raise
        _make_labeler(client, spec, names.short(name))
    return name


def _make_labeler(client: Client, spec: problem_spec_pb2.ProblemSpec, name: str) -> None:
    human = labelers_pb2.HumanLabeler(gold=True)
    try:
        client.create_labeler(name, problem_spec=spec.name, human=human, description="Answers given in the terminal.")
    except CallError as error:
        if error.code != "PERMISSION_DENIED":
            raise
        raise Mistake(
            f"Nobody has made the human labeler '{name}' yet, and your key may not. Ask an editor for: "
            f"regrow label add human {name} -s {names.short(spec.name)}"
        ) from None


def ask(session: Session, key: Callable[[], str], count: int = 0) -> None:
    """Shows rows and takes keys until there is nothing left, `count` answers are given, or `q`."""
    keys = dict(zip(KEYS, session.classes, strict=False))
    waiting = deque(session.next_rows())
    while waiting:
        shown = waiting.popleft()
        _show(shown, session, keys)
        back = _answer(shown, session, keys, key)
        if back is None or (count and session.answered >= count):
            return _farewell(session)
        waiting.extendleft(reversed(back))
        if not waiting:
            waiting.extend(session.next_rows())
    output.say("Every row is answered." if not session.skipped else "Only skipped rows are left.")
    _farewell(session)


def _answer(shown: pb.RowToLabel, session: Session, keys: dict[str, str], key: Callable[[], str]) -> list[pb.RowToLabel] | None:
    """Takes keys until this row is dealt with. Answers the rows to show again, or None to end."""
    picked: list[str] = []
    while True:
        pressed = key()
        if pressed in ("q", "\x03", "\x04", ""):
            return None
        if pressed == "s":
            session.skipped.add(shown.row.number)
            return []
        try:
            if pressed == "u":
                return [*session.undo(), shown]
            if pressed in keys and not session.multi_label:
                session.submit(shown, [keys[pressed]])
                return []
            if pressed in ("\r", "\n") and session.multi_label:
                session.submit(shown, picked)
                return []
        except CallError as error:
            output.fail_call(error)
            continue
        if pressed in keys:
            picked = [c for c in picked if c != keys[pressed]] if keys[pressed] in picked else [*picked, keys[pressed]]
            output.tell(f"picked: {', '.join(picked) or 'none'}")
        else:
            output.tell("No such key. " + _legend(keys, session.multi_label))


def _show(shown: pb.RowToLabel, session: Session, keys: dict[str, str]) -> None:
    body = Text()
    row = values(shown.row.values)
    read = [column.name for column in session.spec.resolved_inputs if column.name in row]
    for column in dict.fromkeys([*read, *row]):
        value = row[column]
        if value is not None:
            text = str(value)
            body.append(f"{output.clean(column)}  ", style="dim")
            body.append(output.clean(text[:LONGEST_VALUE]) + ("…" if len(text) > LONGEST_VALUE else "") + "\n")
    held_out = ", held out" if shown.row.holdout else ""
    title = output.clean(f"row {shown.row.number}{held_out}, {session.answered} answered now")
    output.console().print(
        Panel(body, title=title, title_align="left", subtitle=output.clean(shown.why) or None, subtitle_align="left")
    )
    output.say(_legend(keys, session.multi_label))


def _legend(keys: dict[str, str], multi_label: bool) -> str:
    listed = "  ".join(f"[{key}] {name}" for key, name in keys.items())
    return f"{listed}   {'[Enter] done  ' if multi_label else ''}[u] undo  [s] skip  [q] quit"


def _farewell(session: Session) -> None:
    progress = session.progress()
    output.say(f"{session.answered} answered now; {progress.answered_rows:,} of {progress.rows:,} rows in all.")
    output.table(
        "",
        ("class", "training rows", "holdout rows"),
        [(c.class_name, c.training_rows, c.holdout_rows) for c in progress.classes],
        numbers=("training rows", "holdout rows"),
    )


def read_key() -> str:
    """One key of the terminal, without Enter; where stdin is no terminal, one line's first character (empty at its end)."""
    if sys.stdin.isatty():
        return typer.getchar()
    line = sys.stdin.readline()
    return line[:1] if line.strip() else line[-1:]
