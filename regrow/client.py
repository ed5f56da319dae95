# Made by `make protos` from regrow/aio/client.py, without the words of asyncio. Edit that file.
"""The typed Python client: every public rpc of Regrow over one gRPC channel, and short methods for the common ones.

    with regrow.Client("127.0.0.1:8081", key="rg_...") as client:    # or no arguments: what `regrow login` stored
        client.import_file("reviews.csv", dataset_id="reviews")           # or a DataFrame
        client.create_spec("reviews", dataset="reviews", target="Recommended")
        labels = client.create_label_set("reviews", problem_spec="reviews")
        run = client.create_run(labels.name, model="reviews")
        run = client.wait_for_run(run.name)
        client.promote(run.version)
        client.predict("reviews", [{"text": "Lovely"}])
        client.predict_frame("reviews", frame)                            # a DataFrame in, a DataFrame out
        client.runs.GetRun(runs_pb2.GetRunRequest(name=run.name))         # any rpc, typed
        for run in client.runs.ListRuns.each(request):                    # every page of any list
            ...

Where a name is asked for, the short one will do (`reviews`), or the full one (`projects/default/datasets/reviews`). Calls have
a deadline, are repeated where that is safe, and raise `regrow.CallError`. There are two clients with the same methods: the one
in `regrow.client` blocks, and may be used from many threads; the one in `regrow.aio` belongs to its event loop.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
from google.longrunning import operations_pb2 as longrunning_pb2

from regrow import choices, frames, names, uploading
from regrow.calling import Calls, ItemT, Paged, RequestT, ResponseT, Unary
from regrow.channels import OPTIONS, spelled_out, target_of
from regrow.credentials import ca_file_for, key_for, stored_credentials
from regrow.errors import CallError, from_status
from regrow.feedback_stream import FeedbackStream
from regrow.gateway.v1 import gateway_pb2, operations_pb2
from regrow.labeling.v1 import datasets_pb2, label_sets_pb2, labelers_pb2, problem_specs_pb2, votes_pb2
from regrow.messages import feedback_message, with_id
from regrow.registry.v1 import registry_pb2
from regrow.repeating import STREAM, is_passing, with_ids
from regrow.rows import rows_of, struct
from regrow.services import Services
from regrow.training.v1 import batch_predictions_pb2, designs_pb2, runs_pb2
from regrow.types.v1 import problem_spec_pb2

_VOTES_A_MESSAGE = 10_000
_LONGEST_WAIT = 60.0


class Client(Services):
    """A connection to a gateway. `timeout` is the deadline of a quick call in seconds; uploads and watching have an hour.

    `retry_for` is how long a call that may be repeated is tried again while the server can't be reached; 0 turns it off.
    `address` is `host:port`, or `https://host:port` for TLS; without a key, the one that was stored for this address is used.
    `ca_file` (PEM) is the authority that signed the gateway's certificate, where the system doesn't know it; with one, the
    address means TLS either way. Raises `OSError` where that file can't be read.
    """

    def __init__(
        self,
        address: str = "",
        key: str = "",
        *,
        timeout: float = 60.0,
        project: str = "default",
        retry_for: float = 20.0,
        ca_file: str = "",
    ) -> None:
        self.address = spelled_out(address or stored_credentials().grpc_address, ca_file)
        self.project = project
        calls = Calls(key or key_for(self.address), self.address, timeout=timeout, retry_for=retry_for)
        channel = _channel(self.address, ca_file or ca_file_for(self.address))
        super().__init__(channel, calls)
        self._calls, self._channel = calls, channel

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the channel; calls under way end with CANCELLED."""
        self._channel.close()  # type: ignore[call-arg,unused-ignore]  # the stubs of asyncio want a grace

    def import_file(
        self,
        source: Any,
        *,
        dataset_id: str,
        project: str = "",
        kinds: Mapping[str, str] | None = None,
        sent: Callable[[int], None] = lambda _: None,
        **fields: Any,
    ) -> datasets_pb2.Dataset:
        """Uploads a file or a DataFrame in 1 MiB messages; a broken upload starts again.

        `kinds` says what columns are (`{"zip": "categorical"}`); `fields` are those of `ImportDatasetRequest` (`holdout`, ...);
        `sent` is told the bytes handed over. Raises `CallError`, `ValueError` for an unknown kind.
        """
        name, open_file = uploading.opened(source)
        given = {"file_name": name, "request_id": str(uuid.uuid4()), **fields}
        first = datasets_pb2.ImportDatasetRequest(
            parent=f"projects/{project or self.project}",
            dataset_id=dataset_id,
            column_overrides=uploading.overrides(kinds or {}),
            **given,
        )

        def attempt() -> datasets_pb2.Dataset:
            return self.datasets.ImportDataset(uploading.messages(first, open_file, sent))

        return self._calls.repeat(attempt, may_repeat=True)

    def create_spec(
        self,
        spec_id: str,
        *,
        dataset: str,
        target: str = "",
        metric: str | int = 0,
        classes: Iterable[Any] = (),
        **fields: Any,
    ) -> problem_spec_pb2.ProblemSpec:
        """Says what is predicted. `classes` are names or `ClassDefinition`s; `fields` are those of `ProblemSpec`."""
        spec = problem_spec_pb2.ProblemSpec(
            dataset=self.name("datasets", dataset),
            target_column=target,
            metric=choices.number(problem_spec_pb2.Metric, metric),
            classes=[problem_spec_pb2.ClassDefinition(name=c) if isinstance(c, str) else c for c in classes],
            **fields,
        )
        request = problem_specs_pb2.CreateProblemSpecRequest(
            parent=f"projects/{self.project}", problem_spec_id=spec_id, problem_spec=spec
        )
        return self.specs.CreateProblemSpec(request)

    def create_labeler(self, labeler_id: str, *, problem_spec: str, **fields: Any) -> labelers_pb2.Labeler:
        """Makes a labeler. `fields` are those of `Labeler`: one of `keyword`, `regex`, `sql`, `column`, `human`, `imported`."""
        labeler = labelers_pb2.Labeler(problem_spec=self.name("problemSpecs", problem_spec), **fields)
        request = labelers_pb2.CreateLabelerRequest(parent=f"projects/{self.project}", labeler_id=labeler_id, labeler=labeler)
        return self.labelers.CreateLabeler(request)

    def apply_labelers(
        self, dataset: str, *, problem_spec: str = "", labelers: Sequence[str] = (), version: str = "latest"
    ) -> labelers_pb2.ApplyLabelersResponse:
        """Lets the spec's labelers (or those named) vote on a version of the data set."""
        request = labelers_pb2.ApplyLabelersRequest(
            parent=f"projects/{self.project}",
            dataset_version=f"{self.name('datasets', dataset)}/versions/{version}",
            labelers=[self.name("labelers", one) for one in labelers],
            problem_spec=self.name("problemSpecs", problem_spec) if problem_spec else "",
        )
        return self.labelers.ApplyLabelers(request)

    def write_votes(self, dataset: str, votes: Iterable[votes_pb2.Vote]) -> votes_pb2.WriteVotesResponse:
        """Writes votes of human and imported labelers, 10,000 a message. Votes without a `vote_id` get one."""
        kept = [with_id(vote) for vote in votes]
        parent = self.name("datasets", dataset)

        def attempt() -> votes_pb2.WriteVotesResponse:
            parts = (kept[start : start + _VOTES_A_MESSAGE] for start in range(0, max(len(kept), 1), _VOTES_A_MESSAGE))
            return self.votes.WriteVotes(votes_pb2.WriteVotesRequest(parent=parent, votes=part) for part in parts)

        return self._calls.repeat(attempt, may_repeat=True)

    def create_label_set(
        self, dataset: str, *, problem_spec: str, label_set_id: str = "", method: str | int = 0, **fields: Any
    ) -> label_sets_pb2.LabelSet:
        """Aggregates the votes and gold labels into a label set. `fields` are those of `LabelSet`."""
        label_set = label_sets_pb2.LabelSet(
            problem_spec=self.name("problemSpecs", problem_spec),
            method=choices.number(label_sets_pb2.AggregationMethod, method),
            **fields,
        )
        request = label_sets_pb2.CreateLabelSetRequest(
            parent=self.name("datasets", dataset), label_set_id=label_set_id, label_set=label_set
        )
        return self.label_sets.CreateLabelSet(request)

    def create_run(
        self, label_set: str, *, model: str, template: str = "brew", express: bool = False, run_id: str = "", **schedule: Any
    ) -> runs_pb2.Run:
        """Submits a run. `label_set` is `dataset/label_set` or a full name; `schedule` are fields of `Schedule`."""
        design = schedule.pop("design", None) or designs_pb2.Design(template=template)
        run = runs_pb2.Run(
            label_set=names.nested("datasets", "labelSets", label_set, self.project),
            model=self.name("models", model),
            schedule=designs_pb2.Schedule(design=design, **schedule),
            priority=runs_pb2.PRIORITY_EXPRESS if express else runs_pb2.PRIORITY_STANDARD,
        )
        request = runs_pb2.CreateRunRequest(parent=f"projects/{self.project}", run_id=run_id, run=run)
        return self.runs.CreateRun(request)

    def watch_run(self, name: str, *, after_sequence: int = 0) -> Iterator[runs_pb2.RunEvent]:
        """Yields the run's events, those of the past first, until it ends. Goes on where it was when the connection breaks."""
        seen, give_up, full = after_sequence, 0.0, self.name("runs", name)
        while True:
            try:
                for event in self.runs.WatchRun(runs_pb2.WatchRunRequest(name=full, after_sequence=seen), timeout=STREAM):
                    seen, give_up = event.sequence, 0.0
                    yield event
            except CallError as failure:
                give_up = give_up or time.monotonic() + self._calls.retry_for
                if not is_passing(failure) or time.monotonic() > give_up:
                    raise
                time.sleep(min(failure.retry_after or 0.5, 5.0))
            else:
                return

    def wait_for_run(self, name: str) -> runs_pb2.Run:
        """Blocks until the run ends, and answers it, however it ended."""
        for _ in self.watch_run(name):
            pass
        return self.get_run(name)

    def get_run(self, name: str) -> runs_pb2.Run:
        """The run as it is now."""
        return self.runs.GetRun(runs_pb2.GetRunRequest(name=self.name("runs", name)))

    def create_batch_prediction(
        self,
        dataset: str,
        *,
        model: str,
        version: str = "latest",
        rows: str | int = "all",
        batch_prediction_id: str = "",
        request_id: str = "",
    ) -> batch_predictions_pb2.BatchPrediction:
        """Has the rows of a data set version scored: `all`, `unlabeled` or `holdout` ones, with a model (`reviews`), a version
        (`reviews/3`) or an alias (`reviews@beta`).
        """
        request = batch_predictions_pb2.CreateBatchPredictionRequest(
            parent=f"projects/{self.project}",
            batch_prediction_id=batch_prediction_id,
            batch_prediction=batch_predictions_pb2.BatchPrediction(
                dataset_version=f"{self.name('datasets', dataset)}/versions/{version}",
                model=names.model(model, self.project),
                row_filter=choices.number(batch_predictions_pb2.RowFilter, rows),
            ),
            request_id=request_id or str(uuid.uuid4()),
        )
        return self.batch_predictions.CreateBatchPrediction(request)

    def get_batch_prediction(self, name: str) -> batch_predictions_pb2.BatchPrediction:
        """The batch prediction as it is now, with its progress."""
        request = batch_predictions_pb2.GetBatchPredictionRequest(name=self.name("batchPredictions", name))
        return self.batch_predictions.GetBatchPrediction(request)

    def watch_batch_prediction(self, name: str, *, every: float = 1.0) -> Iterator[batch_predictions_pb2.BatchPrediction]:
        """Yields the batch prediction now and after every so many seconds, and a last time when it has ended."""
        while True:
            batch = self.get_batch_prediction(name)
            yield batch
            if batch.state > batch_predictions_pb2.BATCH_PREDICTION_STATE_RUNNING:
                return
            time.sleep(every)

    def download_batch_prediction(self, name: str, *, format: str | int = "parquet") -> Iterator[bytes]:
        """Yields the bytes of the result as a file: `parquet` or `csv`. Raises `ValueError` for another one."""
        request = batch_predictions_pb2.DownloadBatchPredictionRequest(
            name=self.name("batchPredictions", name),
            file_format=choices.number(batch_predictions_pb2.ResultFormat, format),
        )
        for part in self.batch_predictions.DownloadBatchPrediction(request):
            yield part.data

    def batch_prediction_frame(self, name: str) -> Any:
        """The result as a pandas DataFrame under the rows' numbers: `predicted` (missing for an abstention; of several classes
        their names, joined) and `probability_<class>` for each class.
        """
        format = frames.best_format()
        content = b"".join(list(self.download_batch_prediction(name, format=format)))
        return frames.of_file(content, format).set_index("row")

    def promote(self, version: str, *, alias: str = "champion", why: str = "") -> registry_pb2.Alias:
        """Points the alias to a version (`model/3` or a full name) by compare-and-set: ABORTED where somebody was faster."""
        version = names.nested("models", "versions", version, self.project)
        name = f"{names.parent(version)}/aliases/{alias}"
        try:
            etag = (self.aliases.GetAlias(registry_pb2.GetAliasRequest(name=name))).etag
        except CallError as failure:
            if failure.code != "NOT_FOUND":
                raise
            etag = ""
        request = registry_pb2.SetAliasRequest(name=name, version=version, etag=etag, why=why)
        return self.aliases.SetAlias(request)

    def start(self, call: Unary[RequestT, ResponseT], request: RequestT) -> longrunning_pb2.Operation:
        """Runs a slow call in the background: `client.start(client.label_sets.CreateLabelSet, request)`.

        Answers at once; `wait_for_operation` answers how it ends, `result` what the call answered.
        """
        project = names.project_in(request) or self.project
        asked = operations_pb2.StartOperationRequest(parent=f"projects/{project}", method=call.path[1:])
        asked.request.Pack(with_ids(request))
        return self.operation_starts.StartOperation(asked)

    def wait_for_operation(self, name: str, *, seconds: float | None = None) -> longrunning_pb2.Operation:
        """The operation when it has ended, however it did; as it is after `seconds`, where they are given."""
        give_up = None if seconds is None else time.monotonic() + seconds
        while True:
            left = _LONGEST_WAIT if give_up is None else max(0.0, min(_LONGEST_WAIT, give_up - time.monotonic()))
            request = longrunning_pb2.WaitOperationRequest(name=self.name("operations", name))
            request.timeout.FromMilliseconds(round(1000 * left))
            found = self.operations.WaitOperation(request, timeout=left + 30.0)
            if found.done or (give_up is not None and time.monotonic() >= give_up):
                return found

    def result(self, call: Unary[RequestT, ResponseT], name: str) -> ResponseT:
        """What the call of an operation answered, when it has. Raises `CallError` with what it failed with."""
        found = self.wait_for_operation(name)
        if found.HasField("error"):
            raise from_status(found.error)
        answer: ResponseT = call.response()
        found.response.Unpack(answer)
        return answer

    def served(self, model: str) -> gateway_pb2.ServedModel:
        """What the model reads and answers, and which version answers."""
        request = gateway_pb2.GetServedModelRequest(name=self.name("models", model))
        return self.predictions.GetServedModel(request)

    def predict(self, name: str, rows: Any) -> gateway_pb2.PredictResponse:
        """Predicts rows (a list of dicts, or a DataFrame) with a model, a version (`reviews/3`) or alias (`reviews@beta`)."""
        request = gateway_pb2.PredictRequest(name=names.model(name, self.project), rows=[struct(row) for row in rows_of(rows)])
        return self.predictions.Predict(request)

    def predict_frame(self, name: str, frame: Any) -> Any:
        """Predicts the rows of a pandas DataFrame, 1,000 a call. Answers a DataFrame with the same index: `prediction_id`,
        `class_name` (None where the model abstains), `class_names`, `probability`, `warnings`, and `p(<class>)` for each class.
        """
        answers = [self.predict(name, part) for part in frames.pieces(frame)]
        return frames.of_predictions(answers, frame.index)

    def export_dataset(self, dataset: str, *, version: str = "latest", format: str | int = "csv") -> Iterator[bytes]:
        """Yields the bytes of a version as a file: `csv`, `tsv`, `jsonl` or `parquet`. Raises `ValueError` for another one."""
        number = choices.number(datasets_pb2.FileFormat, format)
        full = f"{self.name('datasets', dataset)}/versions/{version}"
        for part in self.datasets.ExportDataset(datasets_pb2.ExportDatasetRequest(name=full, format=number)):
            yield part.data

    def export_frame(self, dataset: str, *, version: str = "latest") -> Any:
        """A version of a data set as a pandas DataFrame: through Parquet where pandas can read it, else CSV."""
        format = frames.best_format()
        return frames.of_file(b"".join(list(self.export_dataset(dataset, version=version, format=format))), format)

    def frame(self, call: Paged[RequestT, ResponseT, ItemT], request: RequestT) -> Any:
        """Every entry of a list as a pandas DataFrame: `client.frame(client.votes.ListVotes, request)`.

        A field of a nested message is `parent.field`; times are timestamps in UTC, enums their words, unset messages missing.
        """
        return frames.of_messages(list(call.each(request)), call.response)

    def send_feedback(self, model: str, feedback: Any, *, request_id: str = "") -> list[str]:
        """Sends labels back: dicts with `prediction_id` or `features`, `class_names`, and optionally `source`, `event_id`.

        An answer means that all of them are committed. Returns the event ids, in order. With a `request_id`, those without an
        `event_id` get one made of it and their number, so that a second call counts once. After a `CallError`, they may be
        committed or not: repeat the call with the `request_id` or `event_id` in its `facts`.
        """
        sent = [feedback_message(one) for one in rows_of(feedback)]
        parent = self.name("models", model)
        if len(sent) == 1 and not request_id:
            one = gateway_pb2.SendFeedbackRequest(parent=parent, feedback=sent[0])
            return [(self.feedback.SendFeedback(one)).event_id]
        request = gateway_pb2.BatchSendFeedbackRequest(parent=parent, feedback=sent, request_id=request_id)
        return list((self.feedback.BatchSendFeedback(request)).event_ids)

    def stream_feedback(
        self,
        model: str,
        feedback: Iterable[Mapping[str, Any]],
        *,
        request_id: str = "",
        answered: Callable[[gateway_pb2.StreamFeedbackResponse], None] = lambda _: None,
    ) -> gateway_pb2.StreamFeedbackResponse:
        """Sends any number of labels back, as `send_feedback` takes them, and answers how many are committed or refused.

        One that is wrong is refused by itself, and listed by its number. A stream that breaks is taken up where it was.
        `answered` is told the sums so far. With a `request_id`, those without an `event_id` get one made of it and their
        number. Where a `CallError` ends it, the same labels sent again with the `request_id` in its `facts` count once.
        """
        messages = (feedback_message(one) for one in feedback)
        stream = FeedbackStream(
            self.feedback.StreamFeedback,
            self.name("models", model),
            messages,
            request_id=request_id,
            retry_for=self._calls.retry_for,
            answered=answered,
        )
        return stream.run()

    def name(self, collection: str, name: str) -> str:
        """`projects/default/datasets/reviews` for ("datasets", "reviews"); a full name stays as it is."""
        return names.full(collection, name, self.project)


def _channel(address: str, ca_file: str) -> grpc.Channel:
    target, credentials = target_of(address, ca_file)
    if credentials is None:
        return grpc.insecure_channel(target, options=OPTIONS)
    return grpc.secure_channel(target, credentials, options=OPTIONS)
