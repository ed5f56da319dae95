"""Schedules as messages, and templates completed by what a caller sets."""

from __future__ import annotations

from dataclasses import replace

from regrow.training.v1 import designs_pb2 as pb
from services.common.errors import InvalidField, InvalidFields
from services.common.spec import ProblemSpec
from services.training.designs import TEMPLATES, Design, Schedule, Tabular, Text, check, template

TEXTS = {
    Text.NONE: pb.TEXT_ENCODER_NONE,
    Text.BREW: pb.TEXT_ENCODER_BREW,
    Text.GRU: pb.TEXT_ENCODER_GRU,
    Text.MINILM: pb.TEXT_ENCODER_MINILM,
    Text.CHECKPOINT: pb.TEXT_ENCODER_CHECKPOINT,
}
TABULARS = {
    Tabular.NONE: pb.TABULAR_ENCODER_NONE,
    Tabular.LINEAR: pb.TABULAR_ENCODER_LINEAR,
    Tabular.FFN_SMALL: pb.TABULAR_ENCODER_FFN_SMALL,
    Tabular.FFN_MEDIUM: pb.TABULAR_ENCODER_FFN_MEDIUM,
    Tabular.FFN_LARGE: pb.TABULAR_ENCODER_FFN_LARGE,
}
DEFAULT_TEMPLATE = "brew"
_AS_SENT = {"schedule.epochs": "schedule.max_epochs", "schedule.design.longest": "schedule.design.max_tokens"}
_ENCODED = "About a minute per thousand texts the first time, then seconds: vectors are kept. The bundle is 90 MB larger."
COSTS = {
    "brew": "Seconds; no network is trained.",
    "text-brew": "Seconds; no network is trained.",
    "table": "Seconds to a minute for thousands of rows.",
    "text-table": "Seconds to minutes for thousands of rows.",
    "gru": "Minutes for thousands of texts.",
    "gru-table": "Minutes for thousands of texts.",
    "minilm": _ENCODED,
    "minilm-table": _ENCODED,
}


def schedule_from_proto(message: pb.Schedule) -> tuple[Schedule, str]:
    """The complete schedule, and the template's id. Raises `InvalidField` or `InvalidFields`."""
    name = message.design.template or ("" if _says_design(message.design) else DEFAULT_TEMPLATE)
    design = _override(template(name) if name else Design(text=Text.NONE, tabular=Tabular.NONE), message.design)
    plain = Schedule()
    asked = replace(
        plain,
        design=design,
        epochs=message.max_epochs or plain.epochs,
        patience=message.patience or plain.patience,
        batch_size=message.batch_size or plain.batch_size,
        learning_rate=message.learning_rate or plain.learning_rate,
        gold_weight=message.gold_weight or plain.gold_weight,
    )
    try:
        return check(asked), name
    except InvalidFields as error:
        raise InvalidFields([replace(p, field=_AS_SENT.get(p.field, p.field)) for p in error.problems]) from None


def schedule_to_proto(schedule: Schedule, template_id: str, seed: int = 0) -> pb.Schedule:
    """Every field filled in, but for what the rows decide once they are read: 0 rows a step stays 0."""
    design = schedule.design
    return pb.Schedule(
        design=pb.Design(
            template=template_id, text=TEXTS[design.text], tabular=TABULARS[design.tabular], checkpoint=design.checkpoint,
            max_tokens=design.longest,
        ),
        max_epochs=schedule.epochs, patience=schedule.patience, batch_size=schedule.batch_size,
        learning_rate=schedule.learning_rate, gold_weight=schedule.gold_weight, seed=seed,
    )  # fmt: skip


def templates() -> list[pb.Template]:
    """All of them, simplest first."""
    return [
        pb.Template(
            id=name, description=words, cost=COSTS[name], design=schedule_to_proto(Schedule(design=design), name).design,
            schedule=schedule_to_proto(Schedule(design=design), name),
        )
        for name, (design, words) in TEMPLATES.items()
    ]  # fmt: skip


def columns_of(design: Design, spec: ProblemSpec) -> tuple[list[str], list[str]]:
    """Which inputs the text encoder and the tabular encoder read."""
    text = [c.name for c in spec.inputs if c.kind == "text"] if design.text is not Text.NONE else []
    table = [c.name for c in spec.inputs if c.kind not in ("text", "id")] if design.tabular is not Tabular.NONE else []
    return text, table


def problems_of(schedule: Schedule, spec: ProblemSpec) -> list[str]:
    """Why this schedule can't be trained for this spec; empty where it can."""
    text, table = columns_of(schedule.design, spec)
    if text or table:
        return []
    wanted = (
        "text" if schedule.design.tabular is Tabular.NONE else "table" if schedule.design.text is Text.NONE else "text or table"
    )
    return [f"The design reads {wanted} columns and the spec has none. Choose another template, or other input columns."]


def _says_design(message: pb.Design) -> bool:
    return bool(message.text or message.tabular or message.checkpoint)


def _override(design: Design, message: pb.Design) -> Design:
    texts, tabulars = {v: k for k, v in TEXTS.items()}, {v: k for k, v in TABULARS.items()}
    if message.text and message.text not in texts:
        raise InvalidField("schedule.design.text", f"there is no text encoder {message.text}.")
    if message.tabular and message.tabular not in tabulars:
        raise InvalidField("schedule.design.tabular", f"there is no tabular encoder {message.tabular}.")
    return replace(
        design,
        text=texts[message.text] if message.text else design.text,
        tabular=tabulars[message.tabular] if message.tabular else design.tabular,
        checkpoint=message.checkpoint or design.checkpoint,
        longest=message.max_tokens or design.longest,
    )
