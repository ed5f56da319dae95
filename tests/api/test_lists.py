"""What the protos say about each list's `filter` and `order_by`, against what the services read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

import regrow
from services.common.errors import InvalidField
from services.common.filtering import condition
from services.common.listing import Collection
from services.labeling.datasets import storage as datasets
from services.labeling.feedback import storage as feedback
from services.labeling.label_sets import storage as label_sets
from services.labeling.labelers import storage as labelers
from services.labeling.specs import storage as specs
from services.labeling.votes import ledger
from services.registry import storage as registry
from services.training.batch_predictions import storage as batch_predictions
from services.training.policies import storage as policies
from services.training.runs import storage as runs

COLLECTIONS: dict[str, list[Collection]] = {
    "ListDatasetsRequest": [datasets.DATASETS],
    "ListDatasetVersionsRequest": [datasets.VERSIONS],
    "ListProblemSpecsRequest": [specs.SPECS],
    "ListLabelersRequest": [labelers.LABELERS],
    "ListVotesRequest": [ledger.VOTES],
    "ListLabelSetsRequest": [label_sets.LABEL_SETS],
    "ListUnmatchedFeedbackRequest": [feedback.UNMATCHED],
    "ListRunsRequest": [runs.RUNS, runs.LEADERBOARD],
    "ListBatchPredictionsRequest": [batch_predictions.BATCH_PREDICTIONS],
    "ListPoliciesRequest": [policies.POLICIES],
    "ListRegrowthsRequest": [policies.REGROWTHS],
    "ListProjectsRequest": [registry.PROJECTS],
    "ListModelsRequest": [registry.MODELS],
    "ListVersionsRequest": [registry.VERSIONS],
    "ListAliasesRequest": [registry.ALIASES],
    "ListAliasHistoryRequest": [registry.MOVES],
}


def comments() -> dict[str, dict[str, str]]:
    """The comment of each field of each request, by the request's name."""
    files = descriptor_pb2.FileDescriptorSet.FromString((Path(next(iter(regrow.__path__))) / "api.binpb").read_bytes())
    found: dict[str, dict[str, str]] = {}
    for file in files.file:
        for location in file.source_code_info.location:
            if (
                file.package.startswith("regrow.")
                and len(location.path) == 4
                and (location.path[0], location.path[2]) == (4, 2)
            ):
                message = file.message_type[location.path[1]]
                text = " ".join(location.leading_comments.split())
                found.setdefault(message.name, {})[message.field[location.path[3]].name] = text
    return found


COMMENTS = comments()


@pytest.mark.parametrize("request_name", sorted(COLLECTIONS))
def test_the_proto_names_exactly_the_fields_that_a_list_is_filtered_by(request_name: str) -> None:
    told = re.findall(r"`([\w.]+)`", COMMENTS[request_name]["filter"])
    for collection in COLLECTIONS[request_name]:
        assert told == list(collection.fields)
        for name in told:
            assert condition(f"{name}:*", collection.fields) is not None
        with pytest.raises(InvalidField, match="The fields are: " + re.escape(", ".join(told))):
            condition("no_such_field = 1", collection.fields)


@pytest.mark.parametrize("request_name", sorted(COLLECTIONS))
def test_the_order_that_the_proto_gives_as_an_example_is_one(request_name: str) -> None:
    example = re.search(r"like `([^`]+)`", COMMENTS[request_name]["order_by"])
    assert example is not None
    for collection in COLLECTIONS[request_name]:
        assert collection.sorts(example[1])
