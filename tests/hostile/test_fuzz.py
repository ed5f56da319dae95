"""Parsers under random input (hypothesis): they answer, or refuse in the words of the domain; nothing else gets out."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import FieldProblem, InvalidField, InvalidInput, RegrowError
from services.common.events import read_envelope
from services.common.events.port import FEEDBACK_IN, Record
from services.gateway.feedback.files import CSV, JSON_LINES, Part, read_file
from services.gateway.feedback.from_log import read_written
from services.gateway.methods import public_methods
from services.gateway.routes import Router
from services.gateway.transcoding import read_request
from services.labeling.feedback.events import read_feedback, read_prediction

QUICK = settings(max_examples=40, deadline=None, derandomize=True)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
csv_text = st.text(alphabet='abc,;"\n\r\t|é\0\ufeff 1', max_size=120)
router = Router(public_methods().values())


def read(kind: str, content: bytes, cuts: list[int], several: bool) -> list[tuple[int, Any]] | str:
    """The pieces with their lines, or the error, of a file that arrives cut there."""

    async def chunks() -> AsyncIterator[bytes]:
        begin = 0
        for cut in [*sorted({min(cut, len(content)) for cut in cuts}), len(content)]:
            if cut > begin:
                yield content[begin:cut]
            begin = cut

    async def all_parts() -> list[Part]:
        return [part async for part in read_file(kind, chunks(), several=several)]

    try:
        parts = asyncio.run(all_parts())
    except InvalidField as error:
        return error.message
    return [(line, piece) for part in parts for line, piece in zip(part.lines, part.pieces, strict=True)]


@QUICK
@given(st.sampled_from([CSV, JSON_LINES]), st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4), st.booleans())
def test_any_bytes_as_a_file_read_the_same_however_they_are_cut(
    kind: str, content: bytes, cuts: list[int], several: bool
) -> None:
    assert read(kind, content, cuts, several) == read(kind, content, [], several)


@QUICK
@given(csv_text, st.lists(st.integers(0, 200), max_size=6), st.booleans())
def test_any_csv_reads_the_same_however_it_is_cut(text: str, cuts: list[int], several: bool) -> None:
    content = b"event_id,prediction_id,class,a\n" + text.encode()
    assert read(CSV, content, cuts, several) == read(CSV, content, [], several)


@QUICK
@given(st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=12)), min_size=1, max_size=6))
def test_what_a_csv_writer_wrote_is_read_as_it_was(rows: list[tuple[str, str]]) -> None:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["prediction_id", "class"])
    kept = [(label, cell) for label, cell in rows if "\0" not in label + cell and "\r" not in label + cell]
    writer.writerows([(cell, label) for label, cell in kept])
    found = read(CSV, file.getvalue().encode("utf-8", "replace"), [7, 31], False)
    assert isinstance(found, list)
    read_back = [(list(piece.class_names), piece.prediction_id) for _, piece in found if not isinstance(piece, FieldProblem)]
    expected = [([label] if label.strip() else [], cell.strip()) for label, cell in kept]
    assert read_back == [(names, cell.encode("utf-8", "replace").decode()) for names, cell in expected]


@QUICK
@given(st.sampled_from(router.routes), json_values)
def test_any_json_is_a_request_or_is_refused_by_a_field(route: Any, value: Any) -> None:
    try:
        read_request(route, {}, b"", json.dumps(value).encode())
    except InvalidInput as error:
        assert error.message


@QUICK
@given(st.sampled_from(router.routes), st.binary(max_size=60), st.binary(max_size=60))
def test_any_query_and_body_are_a_request_or_are_refused(route: Any, query: bytes, body: bytes) -> None:
    try:
        read_request(route, {}, query, body)
    except InvalidInput as error:
        assert error.message


@QUICK
@given(st.text(max_size=60))
def test_any_path_leads_somewhere_or_nowhere(path: str) -> None:
    try:
        found = router.find("GET", "/v1/" + path)
    except InvalidInput:
        return
    assert found.route is None or found.values is not None


def record(value: bytes, headers: dict[str, str]) -> Record:
    return Record(topic=FEEDBACK_IN, partition=0, offset=0, key="", value=value, headers=headers, time=datetime.now(UTC))


@QUICK
@given(
    st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()), st.dictionaries(st.text(), st.text())
)
def test_any_record_is_an_event_or_is_refused(value: bytes, headers: dict[str, str]) -> None:
    for reading in (read_written, read_feedback, read_prediction):
        try:
            reading(record(value, headers))
        except InvalidInput as error:
            assert error.message


@QUICK
@given(
    st.fixed_dictionaries({
        "specversion": st.just("1.0") | json_values, "type": st.just("regrow.feedback.v1"), "id": st.text() | json_values,
        "source": st.text() | json_values, "subject": st.just("projects/a/models/b") | st.text(), "time": json_values,
        "data": st.fixed_dictionaries({
            "prediction_id": st.text() | json_values, "class_names": st.lists(st.text(), max_size=3) | json_values,
            "features": json_values, "observe_time": json_values,
        }) | json_values,
    })
)  # fmt: skip
def test_almost_a_cloud_event_is_one_or_is_refused(body: dict[str, Any]) -> None:
    try:
        read_written(record(json.dumps(body).encode(), {}))
    except InvalidInput as error:
        assert error.message


@QUICK
@given(
    st.dictionaries(
        st.sampled_from(["ce_id", "ce_type", "ce_source", "ce_specversion", "ce_time", "content-type", "ce_X"]), st.text()
    )
)
def test_any_envelope_is_one_or_is_refused(headers: dict[str, str]) -> None:
    try:
        read_envelope(headers)
    except RegrowError as error:
        assert isinstance(error, InvalidField)
