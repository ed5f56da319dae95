"""The gRPC edge of runs and designs."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from regrow.training.v1 import designs_pb2, designs_pb2_grpc
from regrow.training.v1 import runs_pb2 as pb
from regrow.training.v1 import runs_pb2_grpc as rpc
from services.common.errors import InvalidInput
from services.common.idempotency import fingerprint
from services.common.listing import asked
from services.common.paging import part_of
from services.training.peers import Labeling
from services.training.runs.handlers import Runs, Submission
from services.training.runs.messages import event_to_proto, run_to_proto
from services.training.schedules import columns_of, problems_of, schedule_from_proto, schedule_to_proto, templates

_Context = grpc.ServicerContext


class RunApi(rpc.RunServiceServicer):
    """regrow.training.v1.RunService."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def CreateRun(self, request: pb.CreateRunRequest, context: _Context) -> pb.Run:
        """See the proto."""
        schedule, template = schedule_from_proto(request.run.schedule)
        asked = Submission(
            parent=request.parent, run_id=request.run_id, label_set=request.run.label_set, model=request.run.model,
            schedule=schedule, template=template, seed=request.run.schedule.seed,
            express=request.run.priority == pb.PRIORITY_EXPRESS, request_id=request.request_id,
            fingerprint=fingerprint(request),
        )  # fmt: skip
        return run_to_proto(self._runs.create(asked))

    def GetRun(self, request: pb.GetRunRequest, context: _Context) -> pb.Run:
        """See the proto."""
        return run_to_proto(self._runs.get(request.name))

    def ListRuns(self, request: pb.ListRunsRequest, context: _Context) -> pb.ListRunsResponse:
        """See the proto."""
        runs, token = self._runs.list_runs(request.parent, asked(request), label_set=request.label_set, model=request.model)
        return pb.ListRunsResponse(runs=map(run_to_proto, runs), next_page_token=token)

    def CancelRun(self, request: pb.CancelRunRequest, context: _Context) -> pb.Run:
        """See the proto."""
        return run_to_proto(self._runs.cancel(request.name))

    def WatchRun(self, request: pb.WatchRunRequest, context: _Context) -> Iterator[pb.RunEvent]:
        """See the proto."""
        for event in self._runs.watch(request.name, request.after_sequence, context.is_active):
            message = event_to_proto(event)
            if message is not None:
                yield message


class DesignApi(designs_pb2_grpc.DesignServiceServicer):
    """regrow.training.v1.DesignService."""

    def __init__(self, labeling: Labeling) -> None:
        self._labeling = labeling

    def ListTemplates(self, request: designs_pb2.ListTemplatesRequest, context: _Context) -> designs_pb2.ListTemplatesResponse:
        """See the proto."""
        found, token = part_of(list(templates()), request.page_size, request.page_token, query="templates")
        return designs_pb2.ListTemplatesResponse(templates=found, next_page_token=token)

    def ValidateDesign(
        self, request: designs_pb2.ValidateDesignRequest, context: _Context
    ) -> designs_pb2.ValidateDesignResponse:
        """See the proto."""
        spec = self._labeling.spec(request.problem_spec)
        try:
            schedule, template = schedule_from_proto(request.schedule)
        except InvalidInput as error:
            return designs_pb2.ValidateDesignResponse(problems=[error.message])
        text, table = columns_of(schedule.design, spec)
        return designs_pb2.ValidateDesignResponse(
            schedule=schedule_to_proto(schedule, template, request.schedule.seed), text_columns=text, tabular_columns=table,
            problems=problems_of(schedule, spec),
        )  # fmt: skip
