"""Specs, labelers, votes and label sets over gRPC, as the gateway calls them."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from regrow.labeling.v1 import (
    datasets_pb2,
    datasets_pb2_grpc,
    label_sets_pb2,
    label_sets_pb2_grpc,
    labelers_pb2,
    labelers_pb2_grpc,
    problem_specs_pb2,
    problem_specs_pb2_grpc,
    votes_pb2,
    votes_pb2_grpc,
)
from regrow.types.v1 import problem_spec_pb2, schema_pb2
from services.common.errors import AlreadyExists, FailedPrecondition, InvalidField, InvalidFields, NotFound, UnsafeExpression
from services.common.rpc.client import internal_channel
from services.labeling.app import start
from services.labeling.settings import LabelingSettings

SHOP = "projects/shop"
TABLE = "text,likes,label\n" + "".join(
    f"win free money {i},{i % 50},spam\n" if i % 3 == 0 else f"a lovely song {i},{i % 50},ham\n" for i in range(400)
)


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    folder = tmp_path_factory.mktemp("labeling")
    server = start(LabelingSettings(data_dir=folder, labeling_address="127.0.0.1:0", internal_token="secret"))
    opened = internal_channel(f"127.0.0.1:{server.port}", token="secret", service="labeling")
    datasets = datasets_pb2_grpc.DatasetServiceStub(opened)
    kinds = [schema_pb2.Column(name="text", kind=schema_pb2.COLUMN_KIND_TEXT)]
    first = datasets_pb2.ImportDatasetRequest(
        parent=SHOP, dataset_id="comments", content=TABLE.encode(), column_overrides=kinds
    )
    datasets.ImportDataset(iter([first]))
    yield opened
    opened.close()
    server.stop(0)


@pytest.fixture(scope="module")
def spec(channel) -> problem_spec_pb2.ProblemSpec:
    wanted = problem_spec_pb2.ProblemSpec(dataset=f"{SHOP}/datasets/comments", target_column="label")
    request = problem_specs_pb2.CreateProblemSpecRequest(
        parent=SHOP, problem_spec_id="spam", problem_spec=wanted, request_id="1"
    )
    specs = problem_specs_pb2_grpc.ProblemSpecServiceStub(channel)
    made = specs.CreateProblemSpec(request)
    assert specs.CreateProblemSpec(request) == made
    assert specs.GetProblemSpec(problem_specs_pb2.GetProblemSpecRequest(name=made.name)) == made
    return made


@pytest.fixture
def labelers(channel) -> labelers_pb2_grpc.LabelerServiceStub:
    return labelers_pb2_grpc.LabelerServiceStub(channel)


def create(labelers, spec, labeler_id, **definition):
    labeler = labelers_pb2.Labeler(problem_spec=spec.name, **definition)
    return labelers.CreateLabeler(labelers_pb2.CreateLabelerRequest(parent=SHOP, labeler_id=labeler_id, labeler=labeler))


def test_a_spec_tells_its_defaults(spec):
    assert [c.name for c in spec.classes] == ["ham", "spam"]
    assert [c.name for c in spec.resolved_inputs] == ["text", "likes"]
    assert (spec.version, spec.metric, spec.task) == (1, problem_spec_pb2.METRIC_MACRO_F1, problem_spec_pb2.TASK_SINGLE_LABEL)
    assert spec.HasField("create_time")


def test_from_labelers_and_imported_votes_to_an_exported_label_set(channel, spec, labelers):
    free = create(labelers, spec, "free", keyword={"column": "text", "keywords": ["free"], "class_name": "spam"})
    create(labelers, spec, "song", sql={"expression": "CASE WHEN text LIKE '%song%' THEN 'ham' END"})
    imported = create(labelers, spec, "elsewhere", imported={"origin": "a file"})
    assert MessageToDict(free)["keyword"] == {"column": "text", "keywords": ["free"], "className": "spam"}
    preview = labelers.PreviewLabeler(labelers_pb2.PreviewLabelerRequest(parent=SHOP, labeler=free, row_limit=100))
    assert preview.rows == 100
    assert preview.votes == preview.gold_votes == preview.gold_right > 20
    assert preview.examples[0].row.startswith(f"{SHOP}/datasets/comments/rows/")
    outcome = labelers.ApplyLabelers(
        labelers_pb2.ApplyLabelersRequest(
            parent=SHOP, dataset_version=f"{SHOP}/datasets/comments/versions/latest", problem_spec=spec.name
        )
    )
    assert [(o.problem, o.reused) for o in outcome.outcomes] == [("", False), ("", False)]
    assert outcome.dataset_version.endswith("/versions/1")
    votes = [votes_pb2.Vote(row=row, labeler=imported.name, class_names=["ham"]) for row in range(0, 400, 5)]
    votes_pb2_grpc.VoteServiceStub(channel).WriteVotes(
        iter([votes_pb2.WriteVotesRequest(parent=f"{SHOP}/datasets/comments", votes=votes)])
    )
    sets = label_sets_pb2_grpc.LabelSetServiceStub(channel)
    wanted = label_sets_pb2.LabelSet(problem_spec=spec.name, ignore_target_column=True)
    request = label_sets_pb2.CreateLabelSetRequest(
        parent=f"{SHOP}/datasets/comments", label_set_id="first", label_set=wanted, request_id="7"
    )
    made = sets.CreateLabelSet(request)
    assert sets.CreateLabelSet(request) == made == sets.GetLabelSet(label_sets_pb2.GetLabelSetRequest(name=made.name))
    assert made.method_used == label_sets_pb2.AGGREGATION_METHOD_DAWID_SKENE
    assert made.coverage == 1
    assert {summary.labeler for summary in made.labeler_summaries} >= {free.name, imported.name}
    listed = sets.ListLabelSets(label_sets_pb2.ListLabelSetsRequest(parent=f"{SHOP}/datasets/comments"))
    assert list(listed.label_sets) == [made]
    chunks = list(sets.ExportLabelSet(label_sets_pb2.ExportLabelSetRequest(name=made.name)))
    assert chunks[0].content_type.startswith("text/csv")
    assert len(b"".join(chunk.data for chunk in chunks).splitlines()) == made.training_rows + made.holdout_rows + 1
    with pytest.raises(FailedPrecondition, match="is used by"):
        datasets_pb2_grpc.DatasetServiceStub(channel).DeleteDataset(
            datasets_pb2.DeleteDatasetRequest(name=f"{SHOP}/datasets/comments")
        )


def test_mistakes_arrive_with_their_reason(channel, spec, labelers):
    with pytest.raises(InvalidFields) as caught:
        create(labelers, spec, "bad", regex={"column": "nope", "pattern": "x", "class_name": "eggs"})
    assert {p.field for p in caught.value.problems} == {"labeler.regex.column", "labeler.regex.class_name"}
    with pytest.raises(UnsafeExpression, match="the target: labelers never see it"):
        create(labelers, spec, "bad", sql={"expression": "label = 'spam'", "class_name": "spam"})
    with pytest.raises(UnsafeExpression, match="character 2"):
        create(labelers, spec, "bad", regex={"column": "text", "pattern": "a(", "class_name": "spam"})
    with pytest.raises(InvalidField, match="is missing"):
        create(labelers, spec, "bad")
    with pytest.raises(NotFound):
        labelers.GetLabeler(labelers_pb2.GetLabelerRequest(name=f"{SHOP}/labelers/nope"))
    create(labelers, spec, "taken", human={"gold": True})
    with pytest.raises(AlreadyExists):
        create(labelers, spec, "taken", human={})


def test_lists_have_pages(channel, spec, labelers):
    for i in range(3):
        create(labelers, spec, f"page{i}", human={})
    names, token = [], ""
    while True:
        page = labelers.ListLabelers(labelers_pb2.ListLabelersRequest(parent=SHOP, page_size=2, page_token=token))
        names += [labeler.name for labeler in page.labelers]
        token = page.next_page_token
        if not token:
            break
    assert [name for name in names if "/page" in name] == [f"{SHOP}/labelers/page{i}" for i in range(3)]
    retired = labelers.RetireLabeler(labelers_pb2.RetireLabelerRequest(name=names[-1]))
    assert retired.HasField("retire_time")
    shown = labelers.ListLabelers(labelers_pb2.ListLabelersRequest(parent=SHOP, page_size=100))
    assert retired.name not in [labeler.name for labeler in shown.labelers]
