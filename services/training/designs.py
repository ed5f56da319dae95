"""Designs and schedules: which representation reads each modality, and how long it is trained.

Pure data with checks. A template is a named design; `none` leaves a modality out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from services.common.errors import FieldProblem, InvalidField, InvalidFields


class Text(StrEnum):
    """How text is represented."""

    NONE = "none"
    BREW = "brew"
    GRU = "gru"
    MINILM = "minilm"
    CHECKPOINT = "checkpoint"


class Tabular(StrEnum):
    """How the table's columns are represented."""

    NONE = "none"
    LINEAR = "linear"
    FFN_SMALL = "ffn-small"
    FFN_MEDIUM = "ffn-medium"
    FFN_LARGE = "ffn-large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """One representation per modality; they meet in a joint head beside one head each (late fusion).

    `checkpoint` is the folder of a Hugging Face encoder below the directory that the operator allows, for `text=checkpoint`.
    """

    text: Text = Text.BREW
    tabular: Tabular = Tabular.LINEAR
    checkpoint: str = ""
    longest: int = 0
    """Words or tokens read of each text; 0: as many as suit the encoder (128 words, 256 tokens). Terms read it whole."""

    @property
    def linear(self) -> bool:
        """Whether the whole model is one logistic regression, fitted without torch."""
        return self.text in (Text.NONE, Text.BREW) and self.tabular in (Tabular.NONE, Tabular.LINEAR)

    @property
    def encoder(self) -> bool:
        """Whether text goes through a frozen encoder whose vectors are cached."""
        return self.text in (Text.MINILM, Text.CHECKPOINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A design and how it is trained. A `learning_rate` of 0 takes the design's own."""

    design: Design = Design()
    epochs: int = 60
    """At most this many passes over the training rows."""
    patience: int = 8
    """Stop when the selection slice hasn't improved for this many epochs."""
    batch_size: int = 0
    """Rows a step; 0: a tenth of the rows, at least 8 and at most 128."""
    learning_rate: float = 0.0
    weight_decay: float = 0.02
    dropout: float = 0.2
    gold_weight: float = 1.0
    """How much a gold row counts beside a row that labelers voted on."""
    most_rows: int = 200_000
    """More training rows than this are thinned by hash, gold rows last."""


TEMPLATES: dict[str, tuple[Design, str]] = {
    "brew": (Design(), "TF-IDF terms and the table in one logistic regression: seconds from upload to score."),
    "text-brew": (Design(tabular=Tabular.NONE), "TF-IDF terms of the text alone, in a logistic regression."),
    "table": (Design(text=Text.NONE, tabular=Tabular.FFN_MEDIUM), "The table alone, in a feed-forward network."),
    "text-table": (Design(tabular=Tabular.FFN_MEDIUM), "TF-IDF terms and a feed-forward network, fused late."),
    "gru": (Design(text=Text.GRU, tabular=Tabular.NONE), "The text alone, word by word, in a recurrent network."),
    "gru-table": (Design(text=Text.GRU, tabular=Tabular.FFN_MEDIUM), "A recurrent network and a table network, fused late."),
    "minilm": (Design(text=Text.MINILM, tabular=Tabular.NONE), "Sentence vectors of a frozen MiniLM, with a head on top."),
    "minilm-table": (Design(text=Text.MINILM, tabular=Tabular.FFN_MEDIUM), "MiniLM vectors and a table network, fused late."),
}


def template(name: str) -> Design:
    """The design of a template. Raises `InvalidField` with the list of templates."""
    if name not in TEMPLATES:
        raise InvalidField("design.template", f"there is no template '{name}'. The templates are: {', '.join(TEMPLATES)}.")
    return TEMPLATES[name][0]


def check(schedule: Schedule) -> Schedule:
    """Answers the schedule if every rule holds; raises `InvalidFields` naming each field that is wrong."""
    design = schedule.design
    rules = {
        "design": (design.text is not Text.NONE or design.tabular is not Tabular.NONE, "reads neither text nor table."),
        "design.checkpoint": (
            bool(design.checkpoint) == (design.text is Text.CHECKPOINT),
            "goes with text=checkpoint, and only with it.",
        ),
        "design.longest": (0 <= design.longest <= 4096, "must be 0 (as many as suit) to 4096."),
        "epochs": (1 <= schedule.epochs <= 1000, "must be 1 to 1000."),
        "patience": (1 <= schedule.patience <= 1000, "must be 1 to 1000."),
        "batch_size": (0 <= schedule.batch_size <= 4096, "must be 0 (as suits the rows) to 4096."),
        "learning_rate": (0 <= schedule.learning_rate <= 1, "must be 0 (the design's own) to 1."),
        "weight_decay": (0 <= schedule.weight_decay <= 1, "must be 0 to 1."),
        "dropout": (0 <= schedule.dropout < 1, "must be at least 0 and below 1."),
        "gold_weight": (0 < schedule.gold_weight <= 1000, "must be above 0, at most 1000."),
        "most_rows": (schedule.most_rows >= 20, "must be at least 20."),
    }
    problems = [FieldProblem(field=f"schedule.{field}", problem=text) for field, (good, text) in rules.items() if not good]
    if problems:
        raise InvalidFields(problems)
    return schedule


def to_json(schedule: Schedule) -> dict[str, Any]:
    """Plain data, as receipts and task files carry it."""
    return asdict(schedule)


def from_json(raw: Mapping[str, Any]) -> Schedule:
    """Inverse of `to_json`; fields that are left out take their defaults. Raises `InvalidFields` or `InvalidField`."""
    fields = dict(raw)
    design = dict(fields.pop("design", {}))
    try:
        made = Design(
            text=Text(design.pop("text", Text.BREW)),
            tabular=Tabular(design.pop("tabular", Tabular.LINEAR)),
            checkpoint=str(design.pop("checkpoint", "")),
            longest=int(design.pop("longest", 0)),
        )
        if design:
            raise InvalidField("schedule.design", f"has no field '{next(iter(design))}'.")
        return check(Schedule(design=made, **fields))
    except (ValueError, TypeError) as error:
        raise InvalidField("schedule", f"{error}. See the templates for what there is.") from error
