"""Messages as both clients make and read them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from google.longrunning import operations_pb2 as longrunning_pb2

from regrow.gateway.v1 import gateway_pb2, operations_pb2
from regrow.labeling.v1 import votes_pb2
from regrow.rows import is_missing, struct


def metadata_of(operation: longrunning_pb2.Operation) -> operations_pb2.OperationMetadata:
    """What an operation is about, and where it is."""
    metadata = operations_pb2.OperationMetadata()
    operation.metadata.Unpack(metadata)
    return metadata


def feedback_message(one: Mapping[str, Any]) -> gateway_pb2.Feedback:
    """One piece of feedback from a dict; a single class may be given as a string."""
    fields = {name: value for name, value in one.items() if not is_missing(value)}
    if "features" in fields:
        fields["features"] = struct(fields["features"])
    if isinstance(fields.get("class_names"), str):
        fields["class_names"] = [fields["class_names"]]
    return gateway_pb2.Feedback(**fields)


def with_id(vote: votes_pb2.Vote) -> votes_pb2.Vote:
    """The vote, with an id of its own where it has none."""
    if vote.vote_id:
        return vote
    complete = votes_pb2.Vote()
    complete.CopyFrom(vote)
    complete.vote_id = str(uuid.uuid4())
    return complete
