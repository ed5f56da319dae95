"""The gRPC edge of problem specs."""

from __future__ import annotations

import grpc

from regrow.labeling.v1 import problem_specs_pb2 as pb
from regrow.labeling.v1 import problem_specs_pb2_grpc as rpc
from regrow.types.v1 import problem_spec_pb2 as types
from services.common.idempotency import fingerprint
from services.common.listing import asked
from services.common.spec_proto import spec_from_proto, spec_to_proto
from services.labeling.specs.handlers import Specs
from services.labeling.specs.rules import Draft
from services.labeling.specs.storage import StoredSpec

SERVICE = "regrow.labeling.v1.ProblemSpecService"
_Context = grpc.ServicerContext


class ProblemSpecServicer(rpc.ProblemSpecServiceServicer):
    """regrow.labeling.v1.ProblemSpecService."""

    def __init__(self, specs: Specs) -> None:
        self._specs = specs

    def CreateProblemSpec(self, request: pb.CreateProblemSpecRequest, context: _Context) -> types.ProblemSpec:
        """See the proto."""
        stored = self._specs.create(
            request.parent, request.problem_spec_id, _draft(request.problem_spec),
            request_id=request.request_id, fingerprint=fingerprint(request),
        )  # fmt: skip
        return _message(stored)

    def GetProblemSpec(self, request: pb.GetProblemSpecRequest, context: _Context) -> types.ProblemSpec:
        """See the proto."""
        return _message(self._specs.get(request.name))

    def ListProblemSpecs(self, request: pb.ListProblemSpecsRequest, context: _Context) -> pb.ListProblemSpecsResponse:
        """See the proto."""
        found, token = self._specs.list_specs(request.parent, asked(request))
        return pb.ListProblemSpecsResponse(problem_specs=map(_message, found), next_page_token=token)


def _draft(message: types.ProblemSpec) -> Draft:
    said = types.ProblemSpec()
    said.CopyFrom(message)
    for answered in ("version", "resolved_inputs", "warnings"):
        said.ClearField(answered)
    return Draft(
        spec=spec_from_proto(said), input_columns=tuple(message.input_columns), excluded_columns=tuple(message.excluded_columns)
    )


def _message(stored: StoredSpec) -> types.ProblemSpec:
    return spec_to_proto(
        stored.spec, created=stored.created, input_columns=stored.input_columns, excluded_columns=stored.excluded_columns
    )
