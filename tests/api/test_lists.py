"""The standard methods by descriptor: pages, filters and orders of every list, masks and etags of every update, request ids.

What the protos say about each list's `filter` and `order_by` is held against what the services read. An exception has a reason.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

import regrow
from services.common.errors import InvalidField
from services.common.filtering import condition
from services.common.listing import Collection
from services.gateway.audit import storage as audit
from services.gateway.keys import storage as keys
from services.gateway.methods import Method, public_methods
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
    "ListFeedbackIssuesRequest": [feedback.ISSUES],
    "ListKeysRequest": [keys.KEYS],
    "ListAuditEventsRequest": [audit.EVENTS],
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


METHODS = list(public_methods().values())
UNFILTERED = {
    "ListRows": "the rows of a data set are read in their order; what they hold is asked for by labelers and exports",
    "ListArtifacts": "a version has a handful of them",
    "ListTemplates": "there is a handful of them, the same for everybody",
    "ListDeadLetters": "they lie in the event log, which is read in its order; `topic` narrows it down",
}
UNORDERED = {**UNFILTERED, "ListOperations": "Google's own message has no field for it"}
WITHOUT_REQUEST_ID = {"CreateKey": "a secret is told once, so an answer can't be given again"}
WITHOUT_UPDATE_MASK = {"UpdateSchema": "makes a new version from the overrides given; what isn't named stays"}


def fields(method: Method, *, of_response: bool = False) -> set[str]:
    return set((method.response if of_response else method.request).DESCRIPTOR.fields_by_name)


def named(verb: str) -> list[Method]:
    return [method for method in METHODS if re.match(verb + "[A-Z]", method.name)]


@pytest.mark.parametrize("method", named("List"), ids=lambda method: method.name)
def test_every_list_has_pages_and_is_filtered_and_ordered(method: Method) -> None:
    assert {"page_size", "page_token"} <= fields(method)
    assert "next_page_token" in fields(method, of_response=True)
    assert ("filter" in fields(method)) is (method.name not in UNFILTERED)
    assert ("order_by" in fields(method)) is (method.name not in UNORDERED)
    if {"filter", "order_by"} <= fields(method):
        assert method.request.DESCRIPTOR.name in COLLECTIONS


@pytest.mark.parametrize("method", named("Update"), ids=lambda method: method.name)
def test_every_update_has_a_mask_and_an_etag_that_protects_the_changes_of_others(method: Method) -> None:
    assert ("update_mask" in fields(method)) is (method.name not in WITHOUT_UPDATE_MASK)
    resource = next((one for one in method.request.DESCRIPTOR.fields if one.name == method.name[6:].lower()), None)
    assert "etag" in fields(method) or (resource is not None and "etag" in resource.message_type.fields_by_name)


@pytest.mark.parametrize("method", named("Create"), ids=lambda method: method.name)
def test_every_create_can_be_repeated_by_its_request_id(method: Method) -> None:
    assert ("request_id" in fields(method)) is (method.name not in WITHOUT_REQUEST_ID)


def test_no_exception_is_left_over() -> None:
    names = {method.name for method in METHODS}
    assert names >= {*UNORDERED, *WITHOUT_REQUEST_ID, *WITHOUT_UPDATE_MASK}
