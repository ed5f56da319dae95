"""JSON into messages: the mapping of proto3, and errors that say where."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from regrow.gateway.v1 import gateway_pb2
from regrow.labeling.v1 import datasets_pb2, labelers_pb2, votes_pb2
from regrow.registry.v1 import registry_pb2
from services.common.errors import InvalidField
from services.gateway.json_reading import read_message

GOOD: list[tuple[type[Any], dict[str, Any]]] = [
    (votes_pb2.Vote, {"row": 5, "confidence": 0.5, "against": True, "classNames": ["a", "é🎉"]}),
    (votes_pb2.Vote, {"createTime": "2026-01-02T03:04:05.5Z"}),
    (votes_pb2.Vote, {"row": "9007199254740993", "confidence": 1}),
    (votes_pb2.Vote, {"row": 5.0, "confidence": "Infinity", "drawn": "DRAWN_RANDOM", "class_names": []}),
    (votes_pb2.Vote, {"row": None, "annotator": None, "drawn": 2}),
    (registry_pb2.Version, {"scores": {"f1": 0.5, "loss": 2}, "receipt": {"feedbackOffsets": {"t/0": "7"}}}),
    (labelers_pb2.Labeler, {"column": {"column": "c", "valueClasses": {"1": "spam"}}}),
    (gateway_pb2.PredictRequest, {"rows": [{"a": 1, "b": None, "c": [1, {"d": "x"}], "e": True, "f": {}, "g": []}]}),
    (datasets_pb2.ImportDatasetRequest, {"content": "aGVsbG8="}),
    (datasets_pb2.ImportDatasetRequest, {"content": "-_-_", "holdout": {}}),
]


@pytest.mark.parametrize(("kind", "value"), GOOD)
def test_what_the_mapping_allows_is_read_as_protobufs_own_reader_reads_it(kind: type[Any], value: dict[str, Any]) -> None:
    mine, theirs = kind(), kind()
    read_message(value, mine)
    json_format.ParseDict(value, theirs)
    assert mine == theirs


@pytest.mark.parametrize(
    ("kind", "value", "field"),
    [
        (votes_pb2.Vote, {"row": True}, "row"),
        (votes_pb2.Vote, {"row": 1.5}, "row"),
        (votes_pb2.Vote, {"row": "1_0"}, "row"),
        (votes_pb2.Vote, {"row": 2**63}, "row"),
        (votes_pb2.Vote, {"confidence": "1_0"}, "confidence"),
        (votes_pb2.Vote, {"confidence": "nan"}, "confidence"),
        (votes_pb2.Vote, {"confidence": True}, "confidence"),
        (votes_pb2.Vote, {"against": 1}, "against"),
        (votes_pb2.Vote, {"annotator": 5}, "annotator"),
        (votes_pb2.Vote, {"drawn": "SIDEWAYS"}, "drawn"),
        (votes_pb2.Vote, {"drawn": 99}, "drawn"),
        (votes_pb2.Vote, {"classNames": [None]}, "class_names[0]"),
        (votes_pb2.Vote, {"classNames": "x"}, "class_names"),
        (votes_pb2.Vote, {"vote_id": "a", "voteId": "b"}, "voteId"),
        (labelers_pb2.Labeler, {"keyword": {}, "regex": {}}, "regex"),
        (registry_pb2.Version, {"scores": {"f1": "x"}}, "scores.f1"),
        (registry_pb2.Version, {"scores": [1]}, "scores"),
        (registry_pb2.Version, {"receipt": {"feedbackOffsets": {"t": 1.5}}}, "receipt.feedback_offsets.t"),
        (datasets_pb2.ImportDatasetRequest, {"content": "%%%"}, "content"),
        (gateway_pb2.PredictRequest, {"rows": [{}, []]}, "rows[1]"),
    ],
)
def test_what_it_forbids_is_told_by_its_path(kind: type[Any], value: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read_message(value, kind())
    assert refused.value.problems[0].field == field


TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_any_row_is_read_as_protobufs_own_reader_reads_it(row: dict[str, Any]) -> None:
    mine, theirs = gateway_pb2.PredictRequest(), gateway_pb2.PredictRequest()
    read_message({"rows": [row]}, mine)
    json_format.ParseDict({"rows": [row]}, theirs)
    assert mine == theirs


@given(VALUES)
def test_no_json_value_is_a_crash(value: Any) -> None:
    for kind in (votes_pb2.WriteVotesRequest, gateway_pb2.Feedback, registry_pb2.Version):
        for body in (value, {"votes": value}, {"features": value, "class_names": value}, {"receipt": value, "scores": value}):
            with suppress(InvalidField):
                read_message(body, kind())


@pytest.mark.parametrize("written", ["display_name,limits.calls_per_second", "displayName,limits.callsPerSecond"])
def test_a_mask_names_fields_in_either_way(written: str) -> None:
    request = gateway_pb2.UpdateKeyRequest()
    read_message({"updateMask": written}, request)
    assert list(request.update_mask.paths) == ["display_name", "limits.calls_per_second"]


def test_what_is_no_mask_is_refused() -> None:
    for wrong in (7, ["display_name"], "a__B"):
        with pytest.raises(InvalidField, match="is no FieldMask"):
            read_message({"updateMask": wrong}, gateway_pb2.UpdateKeyRequest())
