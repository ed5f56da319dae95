"""Answers as pandas DataFrames. pandas is looked for when a frame is asked for, and by nothing else of the client."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from regrow import choices
from regrow.gateway.v1 import gateway_pb2
from regrow.rows import values

ROWS_A_CALL = 1000
_STAMP, _STRUCT = "google.protobuf.Timestamp", "google.protobuf.Struct"


def pieces(frame: Any) -> Iterator[Any]:
    """The frame in parts of at most `ROWS_A_CALL` rows."""
    for start in range(0, len(frame), ROWS_A_CALL):
        yield frame.iloc[start : start + ROWS_A_CALL]


def of_predictions(answers: Sequence[gateway_pb2.PredictResponse], index: Any) -> Any:
    """One row per prediction, under the index of the rows that were asked about."""
    predictions = [one for answer in answers for one in answer.predictions]
    columns: dict[str, list[Any]] = {
        "prediction_id": [one.prediction_id for one in predictions],
        "class_name": [one.class_names[0] if one.class_names else None for one in predictions],
        "class_names": [list(one.class_names) for one in predictions],
        "probability": [one.probabilities[0].probability if one.probabilities else None for one in predictions],
        "warnings": [[f"{w.field}: {w.problem}" for w in one.warnings] for one in predictions],
    }
    by_class = [{p.class_name: p.probability for p in one.probabilities} for one in predictions]
    for name in sorted({name for one in by_class for name in one}):
        columns[f"p({name})"] = [one.get(name) for one in by_class]
    return _pandas().DataFrame(columns, index=index)


def best_format() -> str:
    """What keeps kinds best: `parquet` where pandas has an engine for it, else `csv`."""
    return "parquet" if importlib.util.find_spec("pyarrow") else "csv"


def of_file(content: bytes, format: str) -> Any:
    """An exported file as a frame."""
    pandas = _pandas()
    return pandas.read_parquet(io.BytesIO(content)) if format == "parquet" else pandas.read_csv(io.BytesIO(content))


def of_messages(entries: Sequence[Message], response: type[Message]) -> Any:
    """One row per message, one column per field; of no messages, the columns of the list's entries."""
    pandas = _pandas()
    if not entries:
        message = next(f for f in response.DESCRIPTOR.fields if f.is_repeated and f.type == FieldDescriptor.TYPE_MESSAGE)
        return pandas.DataFrame(columns=[name for name, _ in _columns(message.message_type)])
    frame = pandas.DataFrame([_flat(entry) for entry in entries])
    for name, kind in _columns(entries[0].DESCRIPTOR):
        if kind == _STAMP:
            frame[name] = pandas.to_datetime(frame[name], utc=True)
    return frame


def _columns(descriptor: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names of columns, with the full name of the message that fills one."""
    for field in descriptor.fields:
        kind = field.message_type.full_name if field.message_type else ""
        if _is_nested(field):
            yield from _columns(field.message_type, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", "" if field.is_repeated else kind


def _flat(message: Message, prefix: str = "") -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if _is_nested(field):
            row |= _flat(value, f"{prefix}{field.name}.")
        elif field.has_presence and not message.HasField(field.name):
            row[f"{prefix}{field.name}"] = None
        else:
            row[f"{prefix}{field.name}"] = _plain(value, field)
    return row


def _is_nested(field: Any) -> bool:
    """Whether a field's own fields become columns: a single message of Regrow that can't hold itself."""
    kind = field.message_type
    return kind is not None and not field.is_repeated and kind.full_name.startswith("regrow.")


def _plain(value: Any, field: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_one(item, field) for item in value]
    return _one(value, field)


def _one(value: Any, field: Any) -> Any:
    if field.enum_type is not None:
        return choices.word_of(field.enum_type, value)
    if not isinstance(value, Message):
        return value
    if value.DESCRIPTOR.full_name == _STAMP:
        return value.ToDatetime()  # type: ignore[attr-defined]
    if value.DESCRIPTOR.full_name == _STRUCT:
        return values(value)  # type: ignore[arg-type]
    return _flat(value) if value.DESCRIPTOR.full_name.startswith("regrow.") else str(value).strip()


def _pandas() -> Any:
    try:
        return importlib.import_module("pandas")
    except ImportError:
        raise ImportError("This answers a pandas DataFrame, and pandas isn't installed: pip install pandas") from None
