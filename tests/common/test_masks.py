"""Field masks on real messages."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from regrow.labeling.v1 import datasets_pb2
from regrow.registry.v1 import registry_pb2
from regrow.training.v1 import policies_pb2
from services.common.errors import InvalidField
from services.common.masks import merge, paths, read_mask


def listed() -> datasets_pb2.ListDatasetsResponse:
    answer = datasets_pb2.ListDatasetsResponse(next_page_token="t")
    for number in (1, 2):
        one = answer.datasets.add(name=f"d{number}", description="words", etag="e")
        one.latest_version.row_count = number
        one.latest_version.notes.append("note")
    return answer


def kept(fields: str) -> datasets_pb2.ListDatasetsResponse:
    answer = listed()
    mask = read_mask(fields, answer.DESCRIPTOR)
    assert mask is not None
    mask.keep(answer)
    return answer


def test_an_answer_keeps_the_fields_that_are_asked_for_in_each_entry() -> None:
    answer = kept("datasets.name,datasets.latestVersion.rowCount, next_page_token")
    assert [(one.name, one.latest_version.row_count) for one in answer.datasets] == [("d1", 1), ("d2", 2)]
    assert answer.next_page_token == "t"
    assert not any(one.description or one.etag or one.latest_version.notes for one in answer.datasets)


@pytest.mark.parametrize("fields", ["datasets,datasets.name", "datasets.name,datasets"])
def test_a_whole_field_is_not_narrowed_by_a_deeper_path(fields: str) -> None:
    assert list(kept(fields).datasets) == list(listed().datasets)


@pytest.mark.parametrize("fields", ["", " ", "*", ","])
def test_no_mask_and_a_star_keep_everything(fields: str) -> None:
    assert read_mask(fields, listed().DESCRIPTOR) is None


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("nme", "there is no field 'nme'. There are: datasets, nextPageToken."),
        ("datasets.latestVersion.rows", "there is no field 'rows'"),
        ("nextPageToken.x", "'nextPageToken' has no fields that can be chosen"),
        ("datasets.create_time.seconds", "'create_time' has no fields that can be chosen"),
        (",".join(["datasets"] * 101), "names 101 paths"),
    ],
)
def test_a_path_that_there_is_not_is_refused(fields: str, problem: str) -> None:
    with pytest.raises(InvalidField, match=r"^fields: ") as caught:
        read_mask(fields, listed().DESCRIPTOR)
    assert problem in caught.value.message


def test_a_map_is_asked_for_whole() -> None:
    version = registry_pb2.Version(name="v", scores={"f1": 0.5})
    mask = read_mask("scores", version.DESCRIPTOR)
    assert mask is not None
    mask.keep(version)
    assert version == registry_pb2.Version(scores={"f1": 0.5})


def test_an_update_without_a_mask_means_what_is_set() -> None:
    policy = policies_pb2.Policy(name="p", paused=True, etag="e")
    assert paths(FieldMask(), policy, fixed={"name", "etag"}) == ["paused"]
    assert set(paths(FieldMask(paths=["*"]), policy, fixed={"name", "etag"})) >= {"paused", "tolerance", "max_age"}
    with pytest.raises(InvalidField, match="'name' is no field that can be changed"):
        paths(FieldMask(paths=["paused", "name"]), policy, fixed={"name", "etag"})


def test_merging_sets_clears_and_leaves_alone() -> None:
    target = policies_pb2.Policy(name="p", tolerance=0.1, paused=True, feedback_count=3)
    target.max_age.FromSeconds(60)
    source = policies_pb2.Policy(tolerance=0.2, feedback_count=9)
    merge(source, target, ["tolerance", "max_age", "paused"])
    assert target == policies_pb2.Policy(name="p", tolerance=0.2, feedback_count=3)
