"""Tensors as they are sent, and their elements as plain values: little-endian, row by row (Open Inference Protocol v2).

Elements of BYTES are texts in UTF-8; where they come raw, each has its length before it in 4 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidField
from services.common.quoting import quoted

MOST_ROWS = 10_000
"""As many as Predict takes."""

_LENGTH = struct.Struct("<I")

_DTYPES: dict[str, str] = {
    "BOOL": "?", "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "<i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
DATATYPES = (*_DTYPES, "BF16", "BYTES")

CONTENTS: dict[str, str] = {
    "BOOL": "bool_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
"""The field of `InferTensorContents` by datatype; FP16 and BF16 come raw only."""

_NO_TYPES: frozenset[type] = frozenset()
_JSON_TYPES: dict[str, frozenset[type]] = {
    "BYTES": frozenset({str, type(None)}), "BOOL": frozenset({bool, type(None)}),
    **{datatype: frozenset({int, type(None)} if dtype[1] in "iu" else {int, float, type(None)})
       for datatype, dtype in _DTYPES.items() if datatype != "BOOL"},
}  # fmt: skip
"""By datatype, what elements in JSON are, as a rule; the few others that fit are looked at one by one."""

_BOUNDS = {
    datatype: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    for datatype, dtype in _DTYPES.items()
    if dtype[1:2] in ("i", "u")
}

# One element of a number is what most requests have: reading it so takes a third of what numpy does.
_ONE: dict[str, struct.Struct] = {
    "BOOL": struct.Struct("<?"), "INT32": struct.Struct("<i"), "INT64": struct.Struct("<q"), "FP32": struct.Struct("<f"),
    "FP64": struct.Struct("<d"),
}  # fmt: skip


class Output(NamedTuple):
    """A tensor to answer. `values` are texts, or an array of booleans or numbers."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[str] | npt.NDArray[Any]


def rows_of(shape: Sequence[int], path: str) -> int:
    """How many rows a column of this shape has. Raises `InvalidField`."""
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)) or not 1 <= (rows := shape[0]) <= MOST_ROWS:
        raise InvalidField(
            path, f"is {quoted(list(shape))}: a column is [rows] or [rows, 1], with 1 to {MOST_ROWS:,} rows in a request."
        )
    return rows


def from_raw(content: bytes, datatype: str, count: int, path: str) -> list[Any]:
    """The elements. Raises `InvalidField` where these aren't `count` of that datatype."""
    one = _ONE.get(datatype)
    if count == 1 and one is not None and len(content) == one.size:
        return list(one.unpack(content))
    if datatype == "BYTES":
        return _texts(content, count, path)
    dtype = np.dtype("<u2" if datatype == "BF16" else _dtype(datatype, path))
    if len(content) != count * dtype.itemsize:
        raise InvalidField(path, f"has {len(content)} bytes: {count} elements of {datatype} are {count * dtype.itemsize}.")
    numbers = np.frombuffer(content, dtype)
    if datatype == "BF16":
        numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
    values: list[Any] = numbers.tolist()
    return values


def from_contents(contents: Any, datatype: str, count: int, path: str) -> list[Any]:
    """The same of typed contents."""
    field = CONTENTS.get(datatype)
    if field is None:
        if datatype not in DATATYPES:
            _dtype(datatype, path)
        raise InvalidField(path, f"of datatype {datatype} come as raw contents only.")
    values = list(getattr(contents, field))
    if len(values) != count:
        raise InvalidField(f"{path}.{field}", f"has {len(values)} elements: the shape says {count}.")
    if datatype == "BYTES":
        return [decoded(value, f"{path}.{field}", index) for index, value in enumerate(values)]
    _check_range(values, datatype, f"{path}.{field}")
    return values


def from_json(sent: object, datatype: str, count: int, path: str) -> list[Any]:
    """The same of a JSON array, flat or nested as the shape is."""
    if not isinstance(sent, list):
        raise InvalidField(path, f"must be a JSON array of {count} elements, not {quoted(sent)}.")
    values = sent if len(sent) == count and not isinstance(sent[0], list) else _flat(sent, path)
    if len(values) != count:
        raise InvalidField(path, f"has {len(values)} elements: the shape says {count}.")
    if set(map(type, values)) <= _JSON_TYPES.get(datatype, _NO_TYPES):
        _check_range(values, datatype, path)
        return values
    fits = _fits(datatype, path)
    for index, value in enumerate(values):
        if value is not None and not fits(value):
            raise InvalidField(f"{path}[{index}]", f"{quoted(value)} is no {datatype}.")
    return values


def to_raw(output: Output) -> bytes:
    """The elements of an output."""
    if isinstance(output.values, np.ndarray):
        return output.values.tobytes()
    pack = _LENGTH.pack
    return b"".join([pack(len(text)) + text for text in (value.encode() for value in output.values)])


def to_list(output: Output) -> list[Any]:
    """The elements of an output as plain values, row by row."""
    if isinstance(output.values, np.ndarray):
        values: list[Any] = output.values.ravel().tolist()
        return values
    return output.values


def decoded(value: bytes, path: str, index: int) -> str:
    """The text of an element of BYTES. Raises `InvalidField`."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidField(f"{path}[{index}]", "isn't a text in UTF-8.") from None


def _check_range(values: Sequence[Any], datatype: str, path: str) -> None:
    bounds = _BOUNDS.get(datatype)
    if bounds is None:
        return
    low, high = bounds
    for index, value in enumerate(values):
        if value is not None and not low <= value <= high:
            raise InvalidField(f"{path}[{index}]", f"{quoted(value)} is no {datatype}: it goes from {low} to {high}.")


def _texts(content: bytes, count: int, path: str) -> list[str]:
    texts: list[str] = []
    at, end = 0, len(content)
    while at < end and len(texts) < count:
        if at + 4 > end or (stop := at + 4 + _LENGTH.unpack_from(content, at)[0]) > end:
            raise InvalidField(f"{path}[{len(texts)}]", f"ends at byte {end}, before the length that stands at byte {at}.")
        texts.append(decoded(content[at + 4 : stop], path, len(texts)))
        at = stop
    if at != end or len(texts) != count:
        found = "more" if at < end else str(len(texts))
        raise InvalidField(path, f"has {found} elements of BYTES, each with its length before it: the shape says {count}.")
    return texts


def _dtype(datatype: str, path: str) -> str:
    try:
        return _DTYPES[datatype]
    except KeyError:
        raise InvalidField(
            f"{path.rpartition('.')[0] or path}.datatype", f"{quoted(datatype)} is none of {', '.join(DATATYPES)}."
        ) from None


def _flat(sent: list[Any], path: str) -> list[Any]:
    flat: list[Any] = []
    for index, one in enumerate(sent):
        if not isinstance(one, list):
            flat.append(one)
        elif any(isinstance(inner, list) for inner in one):
            raise InvalidField(f"{path}[{index}]", "is nested deeper than a column of rows: [[1], [2]].")
        else:
            flat += one
    return flat


def _fits(datatype: str, path: str) -> Callable[[object], bool]:
    if datatype == "BYTES":
        return lambda value: type(value) is str
    if datatype == "BOOL":
        return lambda value: type(value) is bool or value in (0, 1)
    if datatype == "BF16" or _dtype(datatype, path)[1] == "f":
        return lambda value: type(value) is float or type(value) is int
    return lambda value: type(value) is int
