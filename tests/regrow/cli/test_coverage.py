"""Every public rpc has a typed call in both clients and a command: found by descriptor, called for real.

A new rpc fails here until it has both. The client has it as soon as its stubs are generated (`make protos`); the command is
yours: write it in `regrow/cli`, and give `COMMANDS` below a line that makes it call the rpc.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.longrunning import operations_pb2

from regrow import AsyncClient, Client, Credentials
from regrow.cli import main
from regrow.credentials import store_credentials
from regrow.gateway.v1 import gateway_pb2
from regrow.labeling.v1 import annotation_pb2, datasets_pb2, feedback_ledger_pb2, labelers_pb2
from regrow.registry.v1 import registry_pb2
from regrow.rows import struct
from regrow.training.v1 import policies_pb2, runs_pb2
from regrow.types.v1 import problem_spec_pb2
from services.gateway.methods import Method, public_methods

METHODS = public_methods()
HOME = "projects/default"


def _predicted(request: Any) -> Any:
    return gateway_pb2.PredictResponse(predictions=[gateway_pb2.Prediction(class_names=["yes"]) for _ in request.rows])


def _next_rows(request: Any) -> Any:
    row = datasets_pb2.Row(number=0, values=struct({"text": "lovely"}))
    return annotation_pb2.NextRowsResponse(rows=[annotation_pb2.RowToLabel(row=row)])


def _dataset(request: Any) -> Any:
    version = datasets_pb2.DatasetVersion(name=f"{HOME}/datasets/d/versions/1")
    return datasets_pb2.Dataset(name=f"{HOME}/datasets/d", latest_version=version, etag="e")


def _spec(request: Any) -> Any:
    classes = [problem_spec_pb2.ClassDefinition(name=name) for name in ("yes", "no")]
    return problem_spec_pb2.ProblemSpec(name=f"{HOME}/problemSpecs/s", dataset=f"{HOME}/datasets/d", classes=classes)


def _labelers(request: Any) -> Any:
    human = labelers_pb2.Labeler(name=f"{HOME}/labelers/h", problem_spec=f"{HOME}/problemSpecs/s")
    human.human.gold = True
    return labelers_pb2.ListLabelersResponse(labelers=[human])


def _run(request: Any) -> Any:
    return runs_pb2.Run(name=f"{HOME}/runs/r", label_set=f"{HOME}/datasets/d/labelSets/l", state=runs_pb2.RUN_STATE_SUCCEEDED)


def _regrowth(request: Any) -> Any:
    return policies_pb2.Regrowth(name=f"{HOME}/policies/p/regrowths/1", state=policies_pb2.REGROWTH_STATE_PROMOTED)


def _artifacts(request: Any) -> Any:
    part = registry_pb2.Artifact(name=f"{HOME}/models/m/versions/1/artifacts/{'a' * 64}", part="manifest.json")
    return registry_pb2.ListArtifactsResponse(artifacts=[part])


ANSWERS: dict[str, Callable[[Any], Any]] = {
    "Predict": _predicted, "NextRows": _next_rows, "GetDataset": _dataset, "ImportDataset": _dataset, "GetProblemSpec": _spec,
    "ListLabelers": _labelers, "GetLabeler": lambda request: _labelers(request).labelers[0], "GetRun": _run, "CreateRun": _run,
    "TriggerRegrowth": lambda _: policies_pb2.Regrowth(name=f"{HOME}/policies/p/regrowths/1"), "GetRegrowth": _regrowth,
    "ListArtifacts": _artifacts,
    "SendFeedback": lambda _: gateway_pb2.SendFeedbackResponse(event_id="e"),
    "BatchSendFeedback": lambda r: gateway_pb2.BatchSendFeedbackResponse(event_ids=["e"] * len(r.feedback)),
    "StreamFeedback": lambda _: [gateway_pb2.StreamFeedbackResponse(received_count=1, committed_count=1)],
    "GetCaller": lambda _: gateway_pb2.Key(name="keys/k", role=gateway_pb2.ROLE_ADMIN),
    "ListUnmatchedFeedback": lambda _: feedback_ledger_pb2.ListUnmatchedFeedbackResponse(),
    "ExportDataset": lambda _: [HttpBody(data=b"a\n1\n")], "ExportLabelSet": lambda _: [HttpBody(data=b"a\n1\n")],
    "DownloadArtifact": lambda _: [HttpBody(data=b"{}")], "DownloadBatchPrediction": lambda _: [HttpBody(data=b"row\n")],
    "WatchRun": lambda _: [],
    "WaitOperation": lambda request: operations_pb2.Operation(name=request.name, done=True),
}  # fmt: skip
"""What the recording server answers where an empty message wouldn't do."""

COMMANDS: dict[str, str] = {
    "DatasetService/ImportDataset": "import ROWS --name d",
    "DatasetService/GetDataset": "datasets show d",
    "DatasetService/ListDatasets": "datasets list",
    "DatasetService/DeleteDataset": "datasets delete d --yes",
    "DatasetService/GetDatasetVersion": "datasets version d 1",
    "DatasetService/ListDatasetVersions": "datasets versions d",
    "DatasetService/UpdateSchema": "datasets retype d --kind age=numeric",
    "DatasetService/AppendRows": "datasets append d ROWS",
    "DatasetService/GetProfile": "datasets show d",
    "DatasetService/ListRows": "datasets rows d",
    "DatasetService/ExportDataset": "datasets export d",
    "ProblemSpecService/CreateProblemSpec": "spec create s --dataset d --class yes --class no",
    "ProblemSpecService/GetProblemSpec": "spec show s",
    "ProblemSpecService/ListProblemSpecs": "spec list",
    "LabelerService/CreateLabeler": "label add keyword l -s s --column text --class yes --keyword love",
    "LabelerService/PreviewLabeler": "label preview h",
    "LabelerService/GetLabeler": "label preview h",
    "LabelerService/ListLabelers": "label list",
    "LabelerService/RetireLabeler": "label retire h",
    "LabelerService/ApplyLabelers": "label apply -s s",
    "VoteService/WriteVotes": "label votes h VOTES",
    "VoteService/ListVotes": "label ledger d",
    "VoteService/RetractVotes": "label retract d 7 --why mistaken",
    "LabelSetService/CreateLabelSet": "label set s --name l",
    "LabelSetService/GetLabelSet": "label show d/l",
    "LabelSetService/ListLabelSets": "label sets d",
    "LabelSetService/ExportLabelSet": "label export d/l",
    "AnnotationService/NextRows": "label next s --labeler h",
    "AnnotationService/SubmitAnnotation": "label next s --labeler h",
    "AnnotationService/UndoAnnotation": "label next s --labeler h",
    "AnnotationService/GetAnnotationProgress": "label next s --labeler h",
    "FeedbackLedgerService/GetFeedbackStats": "feedback stats m",
    "FeedbackLedgerService/ListFeedbackIssues": "feedback issues m",
    "FeedbackLedgerService/ListUnmatchedFeedback": "feedback unmatched m",
    "DesignService/ListTemplates": "runs designs",
    "DesignService/ValidateDesign": "runs check s --design brew",
    "RunService/CreateRun": "train d/l --no-wait",
    "RunService/GetRun": "runs show r",
    "RunService/ListRuns": "runs list",
    "RunService/CancelRun": "runs cancel r",
    "RunService/WatchRun": "runs watch r",
    "PolicyService/CreatePolicy": "policy create m --count 10",
    "PolicyService/UpdatePolicy": "policy pause p",
    "PolicyService/GetPolicy": "policy show p",
    "PolicyService/ListPolicies": "policy list",
    "PolicyService/TriggerRegrowth": "policy trigger p",
    "PolicyService/GetRegrowth": "policy trigger p",
    "PolicyService/ListRegrowths": "policy regrowths p",
    "BatchPredictionService/CreateBatchPrediction": "batch create d m --detach",
    "BatchPredictionService/GetBatchPrediction": "batch get b",
    "BatchPredictionService/ListBatchPredictions": "batch list",
    "BatchPredictionService/CancelBatchPrediction": "batch cancel b",
    "BatchPredictionService/DownloadBatchPrediction": "batch download b",
    "ProjectService/CreateProject": "projects create shop",
    "ProjectService/GetProject": "projects show shop",
    "ProjectService/ListProjects": "projects list",
    "ProjectService/DeleteProject": "projects delete shop --yes",
    "ModelService/CreateModel": "model create m",
    "ModelService/GetModel": "model show m",
    "ModelService/ListModels": "models",
    "VersionService/CreateVersion": "model register m sha256:" + "a" * 64,
    "VersionService/GetVersion": "model version m/1",
    "VersionService/ListVersions": "models m",
    "VersionService/GetReceipt": "model receipt m/1",
    "AliasService/SetAlias": "promote m/1",
    "AliasService/GetAlias": "model alias m@champion",
    "AliasService/ListAliases": "models m",
    "AliasService/ListAliasHistory": "model history m@champion",
    "ArtifactService/ListArtifacts": "model artifacts m/1",
    "ArtifactService/DownloadArtifact": "model download m/1 manifest.json",
    "PredictionService/Predict": "predict m text=lovely",
    "PredictionService/GetServedModel": "model served m",
    "FeedbackService/SendFeedback": "feedback send m --prediction p --class yes",
    "FeedbackService/BatchSendFeedback": "feedback send m --prediction p --prediction q --class yes",
    "FeedbackService/StreamFeedback": "feedback send m --file FEEDBACK",
    "KeyService/CreateKey": "keys create app",
    "KeyService/GetKey": "keys show k",
    "KeyService/UpdateKey": "keys update k --name app",
    "KeyService/ListKeys": "keys list",
    "KeyService/RotateKey": "keys rotate k",
    "KeyService/RevokeKey": "keys revoke k",
    "KeyService/GetCaller": "login --check",
    "SystemService/GetStatus": "status",
    "AuditService/ListAuditEvents": "audit list",
    "EventService/ListDeadLetters": "events dead-letters list",
    "EventService/GetDeadLetter": "events dead-letters show 0-1",
    "EventService/ReplayDeadLetters": "events dead-letters replay feedback",
    "OperationService/StartOperation": 'operations start LabelSetService/CreateLabelSet {"parent":"projects/p/datasets/d"}',
    "Operations/ListOperations": "operations list",
    "Operations/GetOperation": "operations show o",
    "Operations/DeleteOperation": "operations delete o",
    "Operations/CancelOperation": "operations cancel o",
    "Operations/WaitOperation": "operations wait o",
}
"""`Service/Method` to a command line that calls it. ROWS, VOTES and FEEDBACK are files."""


class Recording(grpc.GenericRpcHandler):
    """A server of every public rpc, found by descriptor, that notes what is called."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.requests: dict[str, Any] = {}

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        method = METHODS.get(details.method)
        if method is None:
            return None
        kind = f"{_word(method.streams_requests)}_{_word(method.streams_responses)}"
        handler = self._many if method.streams_responses else self._one
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(lambda request, _: handler(method, request), method.request.FromString, lambda m: m.SerializeToString())

    def _one(self, method: Method, request: Any) -> Any:
        answer = self._answer(method, request)
        return method.response() if answer is None else answer

    def _many(self, method: Method, request: Any) -> Iterator[Any]:
        yield from self._answer(method, request) or []

    def _answer(self, method: Method, request: Any) -> Any:
        received = list(request) if method.streams_requests else request
        self.called.append(method.path)
        self.requests[method.path] = received
        return ANSWERS[method.name](received) if method.name in ANSWERS else None


def _word(streams: bool) -> str:
    return "stream" if streams else "unary"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Recording, str]]:
    recording = Recording()
    running = grpc.server(ThreadPoolExecutor(4), handlers=[recording])
    address = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    running.start()
    yield recording, address
    running.stop(0).wait()


def short(path: str) -> str:
    """`DatasetService/GetDataset` for `/regrow.labeling.v1.DatasetService/GetDataset`."""
    return path.rpartition(".")[2]


def calls_of(client: object) -> dict[str, Any]:
    """The typed calls of a client by gRPC path."""
    found: dict[str, Any] = {}
    for service in vars(client).values():
        if hasattr(service, "__dict__"):
            found |= {call.path: call for call in vars(service).values() if hasattr(call, "path")}
    return found


def test_every_public_rpc_has_a_command_and_no_command_is_listed_for_one_that_is_gone() -> None:
    paths = {short(path) for path in METHODS}
    missing = sorted(paths - set(COMMANDS))
    assert not missing, (
        f"No command calls {', '.join(missing)}. Write one in regrow/cli, put it into regrow/cli/main.py, and add a line to"
        " COMMANDS in tests/regrow/cli/test_coverage.py that makes it call the rpc."
    )
    assert set(COMMANDS) <= paths


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(METHODS))
def test_the_command_calls_the_rpc(
    path: str,
    server: tuple[Recording, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recording, address = server
    store_credentials(Credentials(grpc_address=address, key="rg_secret"))
    monkeypatch.setattr("regrow.cli.options.PATIENCE", 0.5)
    monkeypatch.setattr("regrow.cli.access._check_rest", lambda _: None)  # REST isn't what is looked at here
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.getchar", _pressed("1", "u", "q"))
    files = {"ROWS": "text,age\nlovely,34\n", "VOTES": "row,class\n1,yes\n", "FEEDBACK": "prediction_id,class\np,yes\n"}
    for name, content in files.items():
        (tmp_path / f"{name}.csv").write_text(content)
    words = [str(tmp_path / f"{word}.csv") if word in files else word for word in COMMANDS.get(short(path), "").split(" ")]
    recording.called.clear()
    with pytest.raises(SystemExit) as ended:
        main.main(words)
    printed = capsys.readouterr()
    assert path in recording.called, (recording.called, printed.err)
    assert not ended.value.code, printed.err


BESIDE_ANOTHER = {"AliasService/ListAliases": "its command filters the versions that the aliases point to"}
LISTS = sorted(path for path, method in METHODS.items() if "filter" in method.request.DESCRIPTOR.fields_by_name)


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in LISTS if short(path) not in BESIDE_ANOTHER])
def test_the_command_of_a_list_filters_and_orders_as_the_rpc_does(
    path: str, server: tuple[Recording, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recording, address = server
    store_credentials(Credentials(grpc_address=address, key="rg_secret"))
    monkeypatch.setattr("regrow.cli.options.PATIENCE", 0.5)
    wanted = {"filter": 'name = "x*"', "order_by": "create_time desc"}
    if "order_by" not in METHODS[path].request.DESCRIPTOR.fields_by_name:
        del wanted["order_by"]
    options = [word for name, value in wanted.items() for word in (f"--{name.replace('_', '-')}", value)]
    with pytest.raises(SystemExit) as ended:
        main.main([*COMMANDS[short(path)].split(" "), *options])
    assert not ended.value.code, capsys.readouterr().err
    assert {name: getattr(recording.requests[path], name) for name in wanted} == wanted


def _pressed(*keys: str) -> Callable[..., str]:
    left = list(keys)
    return lambda *_: left.pop(0) if left else "q"


def requests_for(method: Method) -> Any:
    return iter([method.request()]) if method.streams_requests else method.request()


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(METHODS))
def test_the_client_calls_the_rpc(path: str, server: tuple[Recording, str]) -> None:
    recording, address = server
    recording.called.clear()
    with Client(address, "rg_secret", retry_for=0) as client:
        call = calls_of(client)[path]
        answer = call(requests_for(METHODS[path]))
        if METHODS[path].streams_responses:
            assert all(isinstance(one, METHODS[path].response) for one in answer)
        else:
            assert isinstance(answer, METHODS[path].response)
    assert recording.called == [path]


def test_the_asyncio_client_calls_every_rpc(server: tuple[Recording, str]) -> None:
    recording, address = server
    recording.called.clear()

    async def main() -> None:
        async with AsyncClient(address, "rg_secret", retry_for=0) as client:
            for path, call in calls_of(client).items():
                answer = call(requests_for(METHODS[path]))
                if METHODS[path].streams_responses:
                    async for one in answer:
                        assert isinstance(one, METHODS[path].response)
                else:
                    assert isinstance(await answer, METHODS[path].response)

    asyncio.run(main())
    assert sorted(recording.called) == sorted(METHODS)
