from __future__ import annotations

import hashlib
import math
import threading

import pytest
from google.protobuf.struct_pb2 import Struct

from regrow.labeling.v1 import datasets_pb2 as pb
from regrow.labeling.v1.datasets_pb2_grpc import DatasetServiceStub
from regrow.types.v1 import schema_pb2 as types
from services.common.errors import (
    AlreadyExists,
    EtagMismatch,
    InvalidField,
    InvalidFields,
    NotFound,
    RequestIdReused,
    TooLarge,
    UnreadableFile,
)
from services.common.rpc.client import internal_channel
from services.labeling.app import start

PEOPLE = "projects/shop/datasets/people"


def kinds(version: pb.DatasetVersion) -> dict[str, str]:
    return {c.name: types.ColumnKind.Name(c.kind).removeprefix("COLUMN_KIND_").lower() for c in version.schema.columns}


def row(**values: object) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


def test_a_file_becomes_a_data_set_with_kinds_that_say_why(import_content, service):
    made = import_content(description="people who walk", file_name="people.csv")
    assert made.name == PEOPLE
    assert made.latest_version.name == f"{PEOPLE}/versions/1"
    assert made.latest_version.row_count == 50
    assert kinds(made.latest_version) == {"id": "id", "text": "text", "age": "numeric", "joined": "datetime"}
    assert all(column.inferred_because for column in made.latest_version.schema.columns)
    assert made.latest_version.object_key.endswith(f"{made.latest_version.digest.removeprefix('sha256:')}.json")
    assert service.GetDataset(pb.GetDatasetRequest(name=PEOPLE)) == made
    assert service.GetDatasetVersion(pb.GetDatasetVersionRequest(name=f"{PEOPLE}/versions/latest")) == made.latest_version


def test_the_callers_kinds_and_holdout_win(import_content):
    made = import_content(
        column_overrides=[types.Column(name="age", kind=types.COLUMN_KIND_CATEGORICAL)],
        holdout=pb.Holdout(split_column="age", split_values=["7"]),
    )
    assert kinds(made.latest_version)["age"] == "categorical"
    assert made.latest_version.holdout_count == 2
    assert made.holdout.split_column == "age"


def test_importing_over_an_existing_data_set_is_refused_before_the_upload(import_content):
    import_content()
    with pytest.raises(AlreadyExists, match="people"):
        import_content()


def test_the_same_request_id_answers_with_the_first_result(import_content, left_behind):
    first = import_content(request_id="a", file_name="x.csv")
    kept = left_behind()
    assert import_content(request_id="a", file_name="x.csv") == first
    assert left_behind() == kept


def test_a_request_id_with_other_content_is_refused(import_content):
    import_content(request_id="a")
    with pytest.raises(RequestIdReused):
        import_content(b"a,b\n1,2\n", request_id="a")


def test_twins_at_the_same_moment_make_one_data_set(import_content, left_behind):
    answers: list[pb.Dataset] = []
    threads = [threading.Thread(target=lambda: answers.append(import_content(request_id="twin"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert all(answer == answers[0] for answer in answers)
    assert len(left_behind()) == 3  # one part, one manifest, one profile


@pytest.mark.parametrize(
    ("content", "fields", "error"),
    [
        (b"a,b\n1,2,3\n", {}, UnreadableFile),
        (b"", {}, UnreadableFile),
        (b"a,b\n" + b"x,1\n" * (9 << 20), {}, TooLarge),
        (b"a,b\n1,2\n", {"content_sha256": "00" * 32}, InvalidField),
        (b"a,b\n1,2\n", {"holdout": pb.Holdout(split_column="c")}, InvalidField),
        (b"a,b\n1,2\n", {"holdout": pb.Holdout(split_column="b")}, InvalidField),
        (b"a,b\nx,2\n", {"column_overrides": [types.Column(name="a", kind=types.COLUMN_KIND_NUMERIC)]}, InvalidField),
        (b"a,b\nx,2\n", {"column_overrides": [types.Column(name="c", kind=types.COLUMN_KIND_TEXT)]}, InvalidField),
        (b"a,b\nx,2\n", {"column_overrides": [types.Column(name="a")]}, InvalidField),
        (b"a,b\nx,2\n", {"dataset_id": "Not An Id"}, InvalidField),
    ],
)
def test_an_import_that_fails_leaves_nothing_behind(import_content, service, left_behind, content, fields, error):
    with pytest.raises(error):
        import_content(content, chunk=1 << 20, **fields)
    assert left_behind() == []
    assert not service.ListDatasets(pb.ListDatasetsRequest(parent="projects/shop")).datasets


def test_a_stream_that_breaks_leaves_nothing_behind(service, left_behind):
    sent = threading.Event()

    def messages():
        yield pb.ImportDatasetRequest(parent="projects/shop", dataset_id="people", content=b"a,b\n1,2\n")
        sent.wait(10)

    call = service.ImportDataset.future(messages())
    while not left_behind():  # the upload has begun
        pass
    call.cancel()
    sent.set()
    for _ in range(200):
        if not left_behind():
            break
        threading.Event().wait(0.01)
    assert left_behind() == []
    assert not service.ListDatasets(pb.ListDatasetsRequest(parent="projects/shop")).datasets


def test_a_matching_sha256_is_accepted(import_content):
    content = b"a,b\n1,2\n"
    assert import_content(content, content_sha256=hashlib.sha256(content).hexdigest()).latest_version.row_count == 1


def test_data_sets_are_listed_newest_first_in_pages(import_content, service):
    for name in ("one", "two", "three"):
        import_content(b"a,b\n1,2\n", name)
    first = service.ListDatasets(pb.ListDatasetsRequest(parent="projects/shop", page_size=2))
    assert [d.name.rsplit("/")[-1] for d in first.datasets] == ["three", "two"]
    rest = service.ListDatasets(pb.ListDatasetsRequest(parent="projects/shop", page_size=2, page_token=first.next_page_token))
    assert [d.name.rsplit("/")[-1] for d in rest.datasets] == ["one"]
    assert not rest.next_page_token
    assert not service.ListDatasets(pb.ListDatasetsRequest(parent="projects/other")).datasets


def test_a_deleted_data_set_is_gone_with_its_objects_and_can_be_imported_again(import_content, service, left_behind):
    first = import_content(request_id="a")
    service.DeleteDataset(pb.DeleteDatasetRequest(name=PEOPLE))
    assert left_behind() == []
    with pytest.raises(NotFound):
        service.GetDataset(pb.GetDatasetRequest(name=PEOPLE))
    with pytest.raises(NotFound):
        service.DeleteDataset(pb.DeleteDatasetRequest(name=PEOPLE))
    again = import_content(request_id="a")
    assert again.latest_version.digest == first.latest_version.digest
    assert again.latest_version.object_key != first.latest_version.object_key


def test_rows_come_in_pages_with_their_values(import_content, service):
    import_content()
    page = service.ListRows(pb.ListRowsRequest(parent=f"{PEOPLE}/versions/1", page_size=30))
    rest = service.ListRows(pb.ListRowsRequest(parent=f"{PEOPLE}/versions/1", page_size=30, page_token=page.next_page_token))
    rows = [*page.rows, *rest.rows]
    assert [r.number for r in rows] == list(range(50))
    assert not rest.next_page_token
    assert rows[3].name == f"{PEOPLE}/rows/3"
    assert dict(rows[3].values) == {
        "id": "103", "text": "person number 3 likes long walks", "age": 3.0, "joined": "2026-01-04T00:00:00Z",
    }  # fmt: skip
    assert 0 < sum(r.holdout for r in rows) < 50


def test_a_page_of_large_rows_is_shorter_than_asked(import_content, service):
    import_content(b"text,n\n" + b"".join(b'"%s",%d\n' % (b"word " * 400_000, i) for i in range(6)), chunk=1 << 20)
    page = service.ListRows(pb.ListRowsRequest(parent=f"{PEOPLE}/versions/latest"))
    assert 1 <= len(page.rows) < 6
    assert page.next_page_token


def test_a_page_token_of_another_list_is_refused(import_content, service):
    import_content()
    token = service.ListRows(pb.ListRowsRequest(parent=f"{PEOPLE}/versions/1", page_size=1)).next_page_token
    with pytest.raises(InvalidField, match="page_token"):
        service.ListRows(pb.ListRowsRequest(parent=f"{PEOPLE}/versions/latest", page_size=1, page_token=token))


def test_a_schema_change_makes_a_version_and_keeps_rows_and_holdout(import_content, service):
    made = import_content()
    new = [
        types.Column(name="age", kind=types.COLUMN_KIND_CATEGORICAL),
        types.Column(name="id", kind=types.COLUMN_KIND_NUMERIC),
    ]
    changed = service.UpdateSchema(pb.UpdateSchemaRequest(name=PEOPLE, etag=made.etag, columns=new))
    assert changed.name == f"{PEOPLE}/versions/2"
    assert changed.origin == "schema"
    assert kinds(changed) == {"id": "numeric", "text": "text", "age": "categorical", "joined": "datetime"}
    rows = [service.ListRows(pb.ListRowsRequest(parent=f"{PEOPLE}/versions/{n}")).rows for n in (1, 2)]
    assert [(r.number, r.holdout) for r in rows[0]] == [(r.number, r.holdout) for r in rows[1]]
    assert (rows[1][3].values["age"], rows[1][3].values["id"]) == ("3", 103.0)
    with pytest.raises(EtagMismatch):
        service.UpdateSchema(pb.UpdateSchemaRequest(
            name=PEOPLE, etag=made.etag, columns=[types.Column(name="age", kind=types.COLUMN_KIND_TEXT)]
        ))  # fmt: skip


@pytest.mark.parametrize("column", [types.Column(name="text", kind=types.COLUMN_KIND_NUMERIC), types.Column(name="x", kind=1)])
def test_a_schema_change_that_can_not_work_is_refused(import_content, service, column):
    import_content()
    with pytest.raises((InvalidField, InvalidFields), match=r"columns\[0\]"):
        service.UpdateSchema(pb.UpdateSchemaRequest(name=PEOPLE, columns=[column]))
    assert len(service.ListDatasetVersions(pb.ListDatasetVersionsRequest(parent=PEOPLE)).versions) == 1


def test_appended_rows_get_the_next_numbers_and_are_never_held_out(import_content, service):
    import_content()
    longer = service.AppendRows(pb.AppendRowsRequest(name=PEOPLE, rows=[
        row(id="900", text="one more 🎉", age=41, joined="2026-05-01"), row(text="half a row", age=None),
    ]))  # fmt: skip
    assert (longer.name, longer.row_count, longer.origin) == (f"{PEOPLE}/versions/2", 52, "append")
    page = service.ListRows(pb.ListRowsRequest(parent=longer.name, page_size=1000))
    assert [(r.number, r.holdout) for r in page.rows[50:]] == [(50, False), (51, False)]
    assert dict(page.rows[50].values) == {"id": "900", "text": "one more 🎉", "age": 41.0, "joined": "2026-05-01T00:00:00Z"}
    assert dict(page.rows[51].values) == {"id": None, "text": "half a row", "age": None, "joined": None}
    assert service.GetDatasetVersion(pb.GetDatasetVersionRequest(name=f"{PEOPLE}/versions/1")).row_count == 50


def test_appended_rows_that_do_not_fit_are_named(import_content, service):
    import_content()
    with pytest.raises(InvalidFields) as caught:
        service.AppendRows(pb.AppendRowsRequest(name=PEOPLE, rows=[
            row(age="old"), row(age="NA", nonsense=1), row(joined=[1]),
        ]))  # fmt: skip
    assert {p.field for p in caught.value.problems} == {"rows[0].age", "rows[1].nonsense", "rows[2].joined"}


def test_an_appended_number_that_json_does_not_know_is_a_missing_cell(import_content, service):
    import_content()
    longer = service.AppendRows(pb.AppendRowsRequest(name=PEOPLE, rows=[
        row(text="odd", age=math.nan), row(text="odder", age=math.inf),
    ]))  # fmt: skip
    page = service.ListRows(pb.ListRowsRequest(parent=longer.name, page_size=1000))
    assert [r.values["age"] for r in page.rows[50:]] == [None, None]


def test_appending_with_the_same_request_id_appends_once(import_content, service):
    import_content()
    request = pb.AppendRowsRequest(name=PEOPLE, rows=[row(text="once")], request_id="a")
    assert service.AppendRows(request) == service.AppendRows(request)
    request.rows[0].update({"text": "twice"})
    with pytest.raises(RequestIdReused):
        service.AppendRows(request)


def test_rows_appended_from_many_sides_all_arrive(import_content, service):
    import_content()
    threads = [
        threading.Thread(target=service.AppendRows, args=(pb.AppendRowsRequest(name=PEOPLE, rows=[row(text=f"writer {i}")]),))
        for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latest = service.GetDatasetVersion(pb.GetDatasetVersionRequest(name=f"{PEOPLE}/versions/latest"))
    assert (latest.row_count, latest.name) == (56, f"{PEOPLE}/versions/7")
    rows = service.ListRows(pb.ListRowsRequest(parent=latest.name, page_size=1000)).rows
    assert {r.values["text"] for r in rows[50:]} == {f"writer {i}" for i in range(6)}
    versions = service.ListDatasetVersions(pb.ListDatasetVersionsRequest(parent=PEOPLE, page_size=2))
    assert [v.row_count for v in versions.versions] == [56, 55]


def test_the_profile_says_what_is_in_each_column(import_content, service):
    import_content()
    profile = service.GetProfile(pb.GetProfileRequest(name=f"{PEOPLE}/versions/1"))
    by_name = {column.column: column for column in profile.columns}
    assert (profile.row_count, profile.duplicate_rows) == (50, 0)
    assert (by_name["age"].minimum, by_name["age"].maximum, by_name["age"].distinct) == (0, 39, 40)
    assert by_name["text"].mean_length > 20
    assert by_name["joined"].minimum == 1767225600


def test_the_profile_of_a_later_version_is_made_when_asked_for(import_content, service):
    import_content()
    service.AppendRows(pb.AppendRowsRequest(name=PEOPLE, rows=[row(age=1000)]))
    profile = service.GetProfile(pb.GetProfileRequest(name=f"{PEOPLE}/versions/latest"))
    by_name = {column.column: column for column in profile.columns}
    assert profile.name == f"{PEOPLE}/versions/2"
    assert (by_name["age"].maximum, by_name["text"].missing, profile.row_count) == (1000, 1, 51)
    assert service.GetProfile(pb.GetProfileRequest(name=f"{PEOPLE}/versions/2")) == profile


@pytest.mark.parametrize("file_format", [pb.FILE_FORMAT_CSV, pb.FILE_FORMAT_TSV, pb.FILE_FORMAT_JSONL, pb.FILE_FORMAT_PARQUET])
def test_an_export_imports_as_the_same_data_set(import_content, service, file_format):
    made = import_content()
    chunks = list(service.ExportDataset(pb.ExportDatasetRequest(name=made.latest_version.name, format=file_format)))
    assert chunks[0].content_type
    again = import_content(b"".join(chunk.data for chunk in chunks), "again")
    assert again.latest_version.digest == made.latest_version.digest


def test_what_does_not_exist_is_not_found(service):
    name = f"{PEOPLE}/versions/1"
    for call in (
        lambda: service.GetDatasetVersion(pb.GetDatasetVersionRequest(name=name)),
        lambda: service.ListDatasetVersions(pb.ListDatasetVersionsRequest(parent=PEOPLE)),
        lambda: service.GetProfile(pb.GetProfileRequest(name=name)),
        lambda: service.ListRows(pb.ListRowsRequest(parent=name)),
        lambda: list(service.ExportDataset(pb.ExportDatasetRequest(name=name))),
        lambda: service.AppendRows(pb.AppendRowsRequest(name=PEOPLE, rows=[row(a=1)])),
    ):
        with pytest.raises(NotFound):
            call()


def test_a_data_set_outlives_its_service(import_content, settings, service):
    made = import_content()
    server = start(settings)
    with internal_channel(f"127.0.0.1:{server.port}", token="secret") as channel:
        assert DatasetServiceStub(channel).GetDataset(pb.GetDatasetRequest(name=PEOPLE)) == made
    server.stop(0)
