# Made by `make protos` from regrow/aio/services.py, without the words of asyncio. Edit that file.
"""Every public service, typed: `client.datasets.GetDataset(request)`. Made by `make protos` from the protos."""

from __future__ import annotations

import grpc
from google.api import httpbody_pb2
from google.longrunning import operations_pb2 as longrunning_pb2
from google.protobuf import empty_pb2

from regrow.calling import (
    BothStream,
    Calls,
    ClientStream,
    Paged,
    ServerStream,
    Unary,
)
from regrow.gateway.v1 import audit_pb2, gateway_pb2, operations_pb2
from regrow.labeling.v1 import (
    annotation_pb2,
    datasets_pb2,
    feedback_ledger_pb2,
    label_sets_pb2,
    labelers_pb2,
    problem_specs_pb2,
    votes_pb2,
)
from regrow.registry.v1 import registry_pb2
from regrow.training.v1 import batch_predictions_pb2, designs_pb2, policies_pb2, runs_pb2
from regrow.types.v1 import problem_spec_pb2


class PredictionService:
    """Answers predictions."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.Predict: Unary[gateway_pb2.PredictRequest, gateway_pb2.PredictResponse] = Unary(
            channel,
            calls,
            "/regrow.gateway.v1.PredictionService/Predict",
            gateway_pb2.PredictRequest,
            gateway_pb2.PredictResponse,
        )
        """Predicts rows as apps have them: column to value. What is odd is answered with a warning, not an error: a value
        that is missing, unseen, outside of the range that training saw or longer than the model reads, and a column that
        it doesn't read. Returns `NOT_FOUND` for an unknown model or version, `FAILED_PRECONDITION` where the model has no
        champion or is too big for the memory, `INVALID_ARGUMENT` for a value that can't be read at all and where no row
        has any column that the model reads (one that is null is there), `UNAVAILABLE` while the version is loading,
        `RESOURCE_EXHAUSTED` with a retry time where too many calls wait for the model, `DEADLINE_EXCEEDED` at once where
        the answer would come after the call's deadline.
        """
        self.GetServedModel: Unary[gateway_pb2.GetServedModelRequest, gateway_pb2.ServedModel] = Unary(
            channel,
            calls,
            "/regrow.gateway.v1.PredictionService/GetServedModel",
            gateway_pb2.GetServedModelRequest,
            gateway_pb2.ServedModel,
        )
        """What a model reads and answers: inputs with their kinds, classes, the version served. Returns `NOT_FOUND`."""


class FeedbackService:
    """Takes labels back from production."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.SendFeedback: Unary[gateway_pb2.SendFeedbackRequest, gateway_pb2.SendFeedbackResponse] = Unary(
            channel,
            calls,
            "/regrow.gateway.v1.FeedbackService/SendFeedback",
            gateway_pb2.SendFeedbackRequest,
            gateway_pb2.SendFeedbackResponse,
        )
        """Sends one piece of feedback. An answer means that it is committed to the event log. Idempotent by `event_id`.
        Returns `NOT_FOUND` for an unknown model, `INVALID_ARGUMENT` for a class that the model doesn't have, or where
        neither a prediction nor features are named; `RESOURCE_EXHAUSTED` with a retry time where too much waits to be
        written; nothing is committed then. Returns `UNAVAILABLE` with one while the log can't be written: where its
        reason is `OUTCOME_UNKNOWN`, the event may have been committed all the same, as it may where no answer comes at
        all. Send it again with the same `event_id`, and it counts once; where none was sent, the error's `ErrorInfo` has
        the one that was made, as `event_id`.
        """
        self.BatchSendFeedback: Unary[gateway_pb2.BatchSendFeedbackRequest, gateway_pb2.BatchSendFeedbackResponse] = Unary(
            channel,
            calls,
            "/regrow.gateway.v1.FeedbackService/BatchSendFeedback",
            gateway_pb2.BatchSendFeedbackRequest,
            gateway_pb2.BatchSendFeedbackResponse,
        )
        """Sends many: all are committed, or none; the answer names each that is wrong. Returns what SendFeedback does. After
        `OUTCOME_UNKNOWN` some or all may have been committed: send the batch again with the `request_id` of the
        `ErrorInfo`.
        """
        self.StreamFeedback: BothStream[gateway_pb2.StreamFeedbackRequest, gateway_pb2.StreamFeedbackResponse] = BothStream(
            channel,
            calls,
            "/regrow.gateway.v1.FeedbackService/StreamFeedback",
            gateway_pb2.StreamFeedbackRequest,
            gateway_pb2.StreamFeedbackResponse,
        )
        """Sends any number. Answers count, in the order sent, how much of the stream is dealt with: committed, or refused
        and told why. What no answer has counted may be sent again after a failure: events with ids, or of one
        `request_id`, count once. A stream that sends faster than the log is written is read more slowly; it is refused
        nothing for that. Over REST the body is CSV, JSON lines or one request as JSON, by its content type; the answer is
        one sum of all, or with `Accept: application/x-ndjson` one line for each part, which must then be read while the
        body is sent. In CSV, the columns `event_id`, `prediction_id`, `class`, `source` and `observe_time` are so named;
        all others are features. Returns `NOT_FOUND` for an unknown model, `INVALID_ARGUMENT` for a file that can't be
        read on, and for anything wrong in an atomic stream; `RESOURCE_EXHAUSTED` and `UNAVAILABLE` as SendFeedback does:
        after `OUTCOME_UNKNOWN`, what no answer counted may have been committed. Send the stream again from its beginning
        with the `request_id` of the `ErrorInfo`.
        """


class KeyService:
    """Keeps API keys."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.CreateKey: Unary[gateway_pb2.CreateKeyRequest, gateway_pb2.CreateKeyResponse] = Unary(
            channel,
            calls,
            "/regrow.gateway.v1.KeyService/CreateKey",
            gateway_pb2.CreateKeyRequest,
            gateway_pb2.CreateKeyResponse,
        )
        """Creates a key. The secret is in this answer and nowhere else: only its hash is kept. Returns `INVALID_ARGUMENT`
        for an expiry in the past, for no display name or one with control characters, and for models with another role
        than viewer, `PERMISSION_DENIED` for a project of others, `NOT_FOUND` for a project or a model that doesn't exist.
        """
        self.GetKey: Unary[gateway_pb2.GetKeyRequest, gateway_pb2.Key] = Unary(
            channel, calls, "/regrow.gateway.v1.KeyService/GetKey", gateway_pb2.GetKeyRequest, gateway_pb2.Key
        )
        """Reads a key, without its secret. Returns `NOT_FOUND`."""
        self.ListKeys: Paged[gateway_pb2.ListKeysRequest, gateway_pb2.ListKeysResponse, gateway_pb2.Key] = Paged(
            channel, calls, "/regrow.gateway.v1.KeyService/ListKeys", gateway_pb2.ListKeysRequest, gateway_pb2.ListKeysResponse
        )
        """Lists keys without their secrets, newest first. Returns `INVALID_ARGUMENT` for a wrong filter, order or page
        token.
        """
        self.UpdateKey: Unary[gateway_pb2.UpdateKeyRequest, gateway_pb2.Key] = Unary(
            channel, calls, "/regrow.gateway.v1.KeyService/UpdateKey", gateway_pb2.UpdateKeyRequest, gateway_pb2.Key
        )
        """Changes what a key is for, when it ends, or its limits; the rest of a key never changes. Returns `NOT_FOUND`,
        `INVALID_ARGUMENT` for another field in the mask, `FAILED_PRECONDITION` where the last admin key would end,
        `ABORTED` if `key.etag` is old, `PERMISSION_DENIED` for the limits of the key that calls, unless it is an admin's
        of all projects.
        """
        self.RotateKey: Unary[gateway_pb2.RotateKeyRequest, gateway_pb2.RotateKeyResponse] = Unary(
            channel,
            calls,
            "/regrow.gateway.v1.KeyService/RotateKey",
            gateway_pb2.RotateKeyRequest,
            gateway_pb2.RotateKeyResponse,
        )
        """Gives a key a new secret, which is in this answer and nowhere else. The one before stays good for `grace`, so that
        an app can change over. Returns `NOT_FOUND` for an unknown key, `FAILED_PRECONDITION` for one that is revoked or
        has expired, and, with reason `FORMER_SECRET_GOOD`, while the secret before the last rotation is good: with a
        grace of zero, both end at once.
        """
        self.RevokeKey: Unary[gateway_pb2.RevokeKeyRequest, gateway_pb2.Key] = Unary(
            channel, calls, "/regrow.gateway.v1.KeyService/RevokeKey", gateway_pb2.RevokeKeyRequest, gateway_pb2.Key
        )
        """Revokes a key at once. Idempotent. Returns `NOT_FOUND` for an unknown key, `FAILED_PRECONDITION` for the last
        admin key.
        """
        self.GetCaller: Unary[gateway_pb2.GetCallerRequest, gateway_pb2.Key] = Unary(
            channel, calls, "/regrow.gateway.v1.KeyService/GetCaller", gateway_pb2.GetCallerRequest, gateway_pb2.Key
        )
        """Who the caller is: the key's name, role and projects. For a bearer token of an identity provider there is no key,
        so the answer has no name, and says what the token's groups give.
        """


class SystemService:
    """How the system is."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.GetStatus: Unary[gateway_pb2.GetStatusRequest, gateway_pb2.Status] = Unary(
            channel, calls, "/regrow.gateway.v1.SystemService/GetStatus", gateway_pb2.GetStatusRequest, gateway_pb2.Status
        )
        """Asks every service how it is, and lists the models that this gateway has loaded."""


class EventService:
    """What became of events that no service could take. For admins of all projects, as the log is of all projects."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.ListDeadLetters: Paged[
            gateway_pb2.ListDeadLettersRequest, gateway_pb2.ListDeadLettersResponse, gateway_pb2.DeadLetter
        ] = Paged(
            channel,
            calls,
            "/regrow.gateway.v1.EventService/ListDeadLetters",
            gateway_pb2.ListDeadLettersRequest,
            gateway_pb2.ListDeadLettersResponse,
        )
        """Lists dead letters, oldest first: events that their consumers set aside, with the reason. Those that were put back
        since are left out unless asked for. Returns `INVALID_ARGUMENT` for a topic that Regrow doesn't have,
        `UNAVAILABLE` while the event log can't be read.
        """
        self.GetDeadLetter: Unary[gateway_pb2.GetDeadLetterRequest, gateway_pb2.DeadLetter] = Unary(
            channel,
            calls,
            "/regrow.gateway.v1.EventService/GetDeadLetter",
            gateway_pb2.GetDeadLetterRequest,
            gateway_pb2.DeadLetter,
        )
        """Reads a dead letter with its headers and payload, as the sender wrote them. Returns `NOT_FOUND` for one that was
        never there or is older than they are kept, `UNAVAILABLE` while the event log can't be read.
        """
        self.ReplayDeadLetters: Unary[gateway_pb2.ReplayDeadLettersRequest, gateway_pb2.ReplayDeadLettersResponse] = Unary(
            channel,
            calls,
            "/regrow.gateway.v1.EventService/ReplayDeadLetters",
            gateway_pb2.ReplayDeadLettersRequest,
            gateway_pb2.ReplayDeadLettersResponse,
        )
        """Puts the dead letters of a topic back on it, oldest first: all that wait when the call comes. Each goes back once,
        to every consumer of the topic; those that took it before know it by its id. What fails again is a new dead
        letter. Returns `INVALID_ARGUMENT` for a topic that Regrow doesn't have, `UNAVAILABLE` while the event log can't
        be used; what was put back until then stays put back, and another call goes on after it.
        """


class AuditService:
    """The audit log: every call that changed something or tried to, and every call that was refused for lack of a right, or
    came with a key that is revoked or has expired. Calls without a key that is known here are in the gateway's log and
    metrics alone. The event of a change is kept before the call is answered. The first refusal is an event at once; those
    that follow within a minute, of the same key, method, outcome and reason, are one event that counts them. All are told
    on the topic `regrow.audit`.
    """

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.ListAuditEvents: Paged[
            audit_pb2.ListAuditEventsRequest, audit_pb2.ListAuditEventsResponse, audit_pb2.AuditEvent
        ] = Paged(
            channel,
            calls,
            "/regrow.gateway.v1.AuditService/ListAuditEvents",
            audit_pb2.ListAuditEventsRequest,
            audit_pb2.ListAuditEventsResponse,
        )
        """Lists events, newest first; an admin of some projects sees theirs alone. Returns `INVALID_ARGUMENT` for a wrong
        filter, order or page token.
        """


class Operations:
    """Manages long-running operations with an API service. When an API method normally takes long time to complete, it can
    be designed to return [Operation][google.longrunning.Operation] to the client, and the client can use this interface
    to receive the real response asynchronously by polling the operation resource, or pass the operation resource to
    another API (such as Pub/Sub API) to receive the response. Any API service that returns long-running operations should
    implement the `Operations` interface so developers can have a consistent client experience.
    """

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.ListOperations: Paged[
            longrunning_pb2.ListOperationsRequest, longrunning_pb2.ListOperationsResponse, longrunning_pb2.Operation
        ] = Paged(
            channel,
            calls,
            "/google.longrunning.Operations/ListOperations",
            longrunning_pb2.ListOperationsRequest,
            longrunning_pb2.ListOperationsResponse,
        )
        """Lists operations that match the specified filter in the request. If the server doesn't support this method, it
        returns `UNIMPLEMENTED`.
        """
        self.GetOperation: Unary[longrunning_pb2.GetOperationRequest, longrunning_pb2.Operation] = Unary(
            channel,
            calls,
            "/google.longrunning.Operations/GetOperation",
            longrunning_pb2.GetOperationRequest,
            longrunning_pb2.Operation,
        )
        """Gets the latest state of a long-running operation. Clients can use this method to poll the operation result at
        intervals as recommended by the API service.
        """
        self.DeleteOperation: Unary[longrunning_pb2.DeleteOperationRequest, empty_pb2.Empty] = Unary(
            channel,
            calls,
            "/google.longrunning.Operations/DeleteOperation",
            longrunning_pb2.DeleteOperationRequest,
            empty_pb2.Empty,
        )
        """Deletes a long-running operation. This method indicates that the client is no longer interested in the operation
        result. It does not cancel the operation. If the server doesn't support this method, it returns
        `google.rpc.Code.UNIMPLEMENTED`.
        """
        self.CancelOperation: Unary[longrunning_pb2.CancelOperationRequest, empty_pb2.Empty] = Unary(
            channel,
            calls,
            "/google.longrunning.Operations/CancelOperation",
            longrunning_pb2.CancelOperationRequest,
            empty_pb2.Empty,
        )
        """Starts asynchronous cancellation on a long-running operation. The server makes a best effort to cancel the
        operation, but success is not guaranteed. If the server doesn't support this method, it returns
        `google.rpc.Code.UNIMPLEMENTED`. Clients can use
        [Operations.GetOperation][google.longrunning.Operations.GetOperation] or other methods to check whether the
        cancellation succeeded or whether the operation completed despite cancellation. On successful cancellation, the
        operation is not deleted; instead, it becomes an operation with an
        [Operation.error][google.longrunning.Operation.error] value with a
        [google.rpc.Status.code][google.rpc.Status.code] of `1`, corresponding to `Code.CANCELLED`.
        """
        self.WaitOperation: Unary[longrunning_pb2.WaitOperationRequest, longrunning_pb2.Operation] = Unary(
            channel,
            calls,
            "/google.longrunning.Operations/WaitOperation",
            longrunning_pb2.WaitOperationRequest,
            longrunning_pb2.Operation,
        )
        """Waits until the specified long-running operation is done or reaches at most a specified timeout, returning the
        latest state. If the operation is already done, the latest state is immediately returned. If the timeout specified
        is greater than the default HTTP/RPC timeout, the HTTP/RPC timeout is used. If the server does not support this
        method, it returns `google.rpc.Code.UNIMPLEMENTED`. Note that this method is on a best-effort basis. It may return
        the latest state before the specified timeout (including immediately), meaning even an immediate response is no
        guarantee that the operation is done.
        """


class OperationService:
    """Starts calls that take long as operations (AIP-151). `google.longrunning.Operations` reads, cancels and awaits them."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.StartOperation: Unary[operations_pb2.StartOperationRequest, longrunning_pb2.Operation] = Unary(
            channel,
            calls,
            "/regrow.gateway.v1.OperationService/StartOperation",
            operations_pb2.StartOperationRequest,
            longrunning_pb2.Operation,
        )
        """Runs a call in the background: answers at once with an operation that ends with the call's answer or its error. It
        survives a restart of the gateway, which then runs it again under the same request id. Over REST, `Prefer:
        respond-async` on the call itself does the same, and is answered by 202 with the operation. Returns
        `INVALID_ARGUMENT` for a call that can't be an operation, and whatever refuses the call itself;
        `RESOURCE_EXHAUSTED` with a retry time while too many wait.
        """


class DatasetService:
    """Imports, looks into and exports data sets."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.ImportDataset: ClientStream[datasets_pb2.ImportDatasetRequest, datasets_pb2.Dataset] = ClientStream(
            channel,
            calls,
            "/regrow.labeling.v1.DatasetService/ImportDataset",
            datasets_pb2.ImportDatasetRequest,
            datasets_pb2.Dataset,
        )
        """Imports a file as a new data set: the first message says what it is, every message may carry bytes. Reads CSV,
        TSV, JSON lines and Parquet, plain or gzipped; finds encoding, dialect and column kinds by itself. Over REST: the
        body is the file, the other fields are query parameters. Returns `ALREADY_EXISTS` if the data set exists,
        `INVALID_ARGUMENT` with line and column if the file can't be read, `RESOURCE_EXHAUSTED` past the size limit. A
        broken stream leaves nothing behind.
        """
        self.GetDataset: Unary[datasets_pb2.GetDatasetRequest, datasets_pb2.Dataset] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.DatasetService/GetDataset",
            datasets_pb2.GetDatasetRequest,
            datasets_pb2.Dataset,
        )
        """Returns `NOT_FOUND` if the data set does not exist."""
        self.ListDatasets: Paged[datasets_pb2.ListDatasetsRequest, datasets_pb2.ListDatasetsResponse, datasets_pb2.Dataset] = (
            Paged(
                channel,
                calls,
                "/regrow.labeling.v1.DatasetService/ListDatasets",
                datasets_pb2.ListDatasetsRequest,
                datasets_pb2.ListDatasetsResponse,
            )
        )
        """Lists a project's data sets, newest first."""
        self.DeleteDataset: Unary[datasets_pb2.DeleteDatasetRequest, datasets_pb2.DeleteDatasetResponse] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.DatasetService/DeleteDataset",
            datasets_pb2.DeleteDatasetRequest,
            datasets_pb2.DeleteDatasetResponse,
        )
        """Deletes a data set with its versions and votes. Returns `NOT_FOUND`; `FAILED_PRECONDITION` while a label set uses
        it, unless `force` is set; `ABORTED` if `etag` is old.
        """
        self.GetDatasetVersion: Unary[datasets_pb2.GetDatasetVersionRequest, datasets_pb2.DatasetVersion] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.DatasetService/GetDatasetVersion",
            datasets_pb2.GetDatasetVersionRequest,
            datasets_pb2.DatasetVersion,
        )
        """Returns one immutable version. `NOT_FOUND` if it does not exist."""
        self.ListDatasetVersions: Paged[
            datasets_pb2.ListDatasetVersionsRequest, datasets_pb2.ListDatasetVersionsResponse, datasets_pb2.DatasetVersion
        ] = Paged(
            channel,
            calls,
            "/regrow.labeling.v1.DatasetService/ListDatasetVersions",
            datasets_pb2.ListDatasetVersionsRequest,
            datasets_pb2.ListDatasetVersionsResponse,
        )
        """Lists a data set's versions, newest first."""
        self.UpdateSchema: Unary[datasets_pb2.UpdateSchemaRequest, datasets_pb2.DatasetVersion] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.DatasetService/UpdateSchema",
            datasets_pb2.UpdateSchemaRequest,
            datasets_pb2.DatasetVersion,
        )
        """Changes the kinds of columns: makes a new version; rows keep their numbers, so votes stay. Returns
        `INVALID_ARGUMENT` if a column doesn't exist or no value can be read as the new kind, `ABORTED` if `etag` is old.
        """
        self.AppendRows: Unary[datasets_pb2.AppendRowsRequest, datasets_pb2.DatasetVersion] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.DatasetService/AppendRows",
            datasets_pb2.AppendRowsRequest,
            datasets_pb2.DatasetVersion,
        )
        """Appends rows as a new version. Appended rows get new numbers and never enter the holdout. One that repeats a held-
        out row in what models read is kept, but label sets leave it out. Returns `INVALID_ARGUMENT` for a row with
        unknown columns or unreadable values. Idempotent by `request_id`.
        """
        self.GetProfile: Unary[datasets_pb2.GetProfileRequest, datasets_pb2.Profile] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.DatasetService/GetProfile",
            datasets_pb2.GetProfileRequest,
            datasets_pb2.Profile,
        )
        """What was seen in each column of a version. Returns `NOT_FOUND` if it does not exist."""
        self.ListRows: Paged[datasets_pb2.ListRowsRequest, datasets_pb2.ListRowsResponse, datasets_pb2.Row] = Paged(
            channel,
            calls,
            "/regrow.labeling.v1.DatasetService/ListRows",
            datasets_pb2.ListRowsRequest,
            datasets_pb2.ListRowsResponse,
        )
        """Lists rows with their values, in order of row number."""
        self.ExportDataset: ServerStream[datasets_pb2.ExportDatasetRequest, httpbody_pb2.HttpBody] = ServerStream(
            channel,
            calls,
            "/regrow.labeling.v1.DatasetService/ExportDataset",
            datasets_pb2.ExportDatasetRequest,
            httpbody_pb2.HttpBody,
        )
        """Streams a version as a file; or, where `link` asks and the object store has an address for callers, one message of
        type `text/uri-list` with a link to it. Returns `NOT_FOUND` if it does not exist.
        """


class VoteService:
    """The ledger of votes: append-only. A retraction is a later entry that names the first."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.WriteVotes: ClientStream[votes_pb2.WriteVotesRequest, votes_pb2.WriteVotesResponse] = ClientStream(
            channel,
            calls,
            "/regrow.labeling.v1.VoteService/WriteVotes",
            votes_pb2.WriteVotesRequest,
            votes_pb2.WriteVotesResponse,
        )
        """Writes votes of human and imported labelers; each message may carry many. All of a message's votes are kept, or
        none. Over REST: one message as JSON. Idempotent by `vote_id`. Returns `INVALID_ARGUMENT` naming the vote that is
        wrong (`votes[3].row`), `NOT_FOUND` for an unknown labeler.
        """
        self.ListVotes: Paged[votes_pb2.ListVotesRequest, votes_pb2.ListVotesResponse, votes_pb2.Vote] = Paged(
            channel, calls, "/regrow.labeling.v1.VoteService/ListVotes", votes_pb2.ListVotesRequest, votes_pb2.ListVotesResponse
        )
        """Lists ledger entries of human, imported and feedback labelers, newest first."""
        self.RetractVotes: Unary[votes_pb2.RetractVotesRequest, votes_pb2.RetractVotesResponse] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.VoteService/RetractVotes",
            votes_pb2.RetractVotesRequest,
            votes_pb2.RetractVotesResponse,
        )
        """Retracts votes by appending entries that cancel them: later label sets are made without them. Idempotent. Returns
        `NOT_FOUND` for an unknown vote id.
        """


class AnnotationService:
    """What a person who labels needs: the next row, an answer, an undo, how far it is."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.NextRows: Unary[annotation_pb2.NextRowsRequest, annotation_pb2.NextRowsResponse] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.AnnotationService/NextRows",
            annotation_pb2.NextRowsRequest,
            annotation_pb2.NextRowsResponse,
        )
        """Answers rows that this annotator hasn't answered yet, picked by the strategy. The target column is hidden."""
        self.SubmitAnnotation: Unary[annotation_pb2.SubmitAnnotationRequest, votes_pb2.Vote] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.AnnotationService/SubmitAnnotation",
            annotation_pb2.SubmitAnnotationRequest,
            votes_pb2.Vote,
        )
        """Records one answer as a vote of a human labeler. A second answer to the same row by the same annotator replaces
        the first. Returns `INVALID_ARGUMENT` for a class that the spec doesn't have, `NOT_FOUND` for an unknown row.
        """
        self.UndoAnnotation: Unary[annotation_pb2.UndoAnnotationRequest, votes_pb2.Vote] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.AnnotationService/UndoAnnotation",
            annotation_pb2.UndoAnnotationRequest,
            votes_pb2.Vote,
        )
        """Retracts the annotator's newest answer, and answers it. Returns `FAILED_PRECONDITION` with reason
        `NOTHING_TO_UNDO` if there is none.
        """
        self.GetAnnotationProgress: Unary[annotation_pb2.GetAnnotationProgressRequest, annotation_pb2.AnnotationProgress] = (
            Unary(
                channel,
                calls,
                "/regrow.labeling.v1.AnnotationService/GetAnnotationProgress",
                annotation_pb2.GetAnnotationProgressRequest,
                annotation_pb2.AnnotationProgress,
            )
        )
        """How many rows are answered, by class and by annotator."""


class FeedbackLedgerService:
    """What became of feedback: votes in the ledger, or unmatched with a reason."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.GetFeedbackStats: Unary[feedback_ledger_pb2.GetFeedbackStatsRequest, feedback_ledger_pb2.FeedbackStats] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.FeedbackLedgerService/GetFeedbackStats",
            feedback_ledger_pb2.GetFeedbackStatsRequest,
            feedback_ledger_pb2.FeedbackStats,
        )
        """Counts of one model's feedback by fate, and how far the consumer is behind."""
        self.ListFeedbackIssues: Paged[
            feedback_ledger_pb2.ListFeedbackIssuesRequest,
            feedback_ledger_pb2.ListFeedbackIssuesResponse,
            feedback_ledger_pb2.FeedbackIssue,
        ] = Paged(
            channel,
            calls,
            "/regrow.labeling.v1.FeedbackLedgerService/ListFeedbackIssues",
            feedback_ledger_pb2.ListFeedbackIssuesRequest,
            feedback_ledger_pb2.ListFeedbackIssuesResponse,
        )
        """Lists feedback that had something odd about it, newest first: what became of it, and what it stands against.
        Issues are kept for 90 days; the counts of GetFeedbackStats go on. Feedback that the gateway refused was never
        accepted, and is told to its sender alone.
        """
        self.ListUnmatchedFeedback: Paged[
            feedback_ledger_pb2.ListUnmatchedFeedbackRequest,
            feedback_ledger_pb2.ListUnmatchedFeedbackResponse,
            feedback_ledger_pb2.UnmatchedFeedback,
        ] = Paged(
            channel,
            calls,
            "/regrow.labeling.v1.FeedbackLedgerService/ListUnmatchedFeedback",
            feedback_ledger_pb2.ListUnmatchedFeedbackRequest,
            feedback_ledger_pb2.ListUnmatchedFeedbackResponse,
        )
        """Lists feedback that joined no prediction or meant no class, newest first."""


class LabelSetService:
    """Aggregates votes into label sets: a probability per class and row."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.CreateLabelSet: Unary[label_sets_pb2.CreateLabelSetRequest, label_sets_pb2.LabelSet] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.LabelSetService/CreateLabelSet",
            label_sets_pb2.CreateLabelSetRequest,
            label_sets_pb2.LabelSet,
        )
        """Aggregates the ledger's votes on a data set version, at this moment, into an immutable label set. The label model
        is fitted on training rows alone; gold labels override it; holdout rows carry gold labels only. Returns
        `ALREADY_EXISTS` if the id is taken, `FAILED_PRECONDITION` if no row has a vote or gold label, or if gold labels
        are of one class only.
        """
        self.GetLabelSet: Unary[label_sets_pb2.GetLabelSetRequest, label_sets_pb2.LabelSet] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.LabelSetService/GetLabelSet",
            label_sets_pb2.GetLabelSetRequest,
            label_sets_pb2.LabelSet,
        )
        """Returns `NOT_FOUND` if the label set does not exist."""
        self.ListLabelSets: Paged[
            label_sets_pb2.ListLabelSetsRequest, label_sets_pb2.ListLabelSetsResponse, label_sets_pb2.LabelSet
        ] = Paged(
            channel,
            calls,
            "/regrow.labeling.v1.LabelSetService/ListLabelSets",
            label_sets_pb2.ListLabelSetsRequest,
            label_sets_pb2.ListLabelSetsResponse,
        )
        """Lists a data set's label sets, newest first."""
        self.ExportLabelSet: ServerStream[label_sets_pb2.ExportLabelSetRequest, httpbody_pb2.HttpBody] = ServerStream(
            channel,
            calls,
            "/regrow.labeling.v1.LabelSetService/ExportLabelSet",
            label_sets_pb2.ExportLabelSetRequest,
            httpbody_pb2.HttpBody,
        )
        """Streams a label set as a file, joined with the rows. Returns `NOT_FOUND` if it does not exist."""


class LabelerService:
    """Keeps labelers: anything that votes on a row or abstains."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.CreateLabeler: Unary[labelers_pb2.CreateLabelerRequest, labelers_pb2.Labeler] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.LabelerService/CreateLabeler",
            labelers_pb2.CreateLabelerRequest,
            labelers_pb2.Labeler,
        )
        """Creates a labeler for a problem spec, after checking it: a pattern that RE2 accepts, an SQL expression that is one
        SELECT expression without the target column, classes of the spec. Returns `ALREADY_EXISTS` if the id is taken,
        `INVALID_ARGUMENT` with the position of the mistake.
        """
        self.PreviewLabeler: Unary[labelers_pb2.PreviewLabelerRequest, labelers_pb2.PreviewLabelerResponse] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.LabelerService/PreviewLabeler",
            labelers_pb2.PreviewLabelerRequest,
            labelers_pb2.PreviewLabelerResponse,
        )
        """Tries a labeler on rows without keeping anything: how many rows it votes on, examples, and on gold rows how often
        it is right.
        """
        self.GetLabeler: Unary[labelers_pb2.GetLabelerRequest, labelers_pb2.Labeler] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.LabelerService/GetLabeler",
            labelers_pb2.GetLabelerRequest,
            labelers_pb2.Labeler,
        )
        """Returns `NOT_FOUND` if the labeler does not exist."""
        self.ListLabelers: Paged[labelers_pb2.ListLabelersRequest, labelers_pb2.ListLabelersResponse, labelers_pb2.Labeler] = (
            Paged(
                channel,
                calls,
                "/regrow.labeling.v1.LabelerService/ListLabelers",
                labelers_pb2.ListLabelersRequest,
                labelers_pb2.ListLabelersResponse,
            )
        )
        """Lists a project's labelers, oldest first; retired ones only where asked."""
        self.RetireLabeler: Unary[labelers_pb2.RetireLabelerRequest, labelers_pb2.Labeler] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.LabelerService/RetireLabeler",
            labelers_pb2.RetireLabelerRequest,
            labelers_pb2.Labeler,
        )
        """Retires a labeler: its votes stay in the ledger, later label sets leave it out. Idempotent."""
        self.ApplyLabelers: Unary[labelers_pb2.ApplyLabelersRequest, labelers_pb2.ApplyLabelersResponse] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.LabelerService/ApplyLabelers",
            labelers_pb2.ApplyLabelersRequest,
            labelers_pb2.ApplyLabelersResponse,
        )
        """Lets labelers vote on a data set version and records the votes in the ledger. A labeler that has voted on a part
        of the data with the same definition and schema doesn't vote again. One labeler's failure doesn't stop the others.
        """


class ProblemSpecService:
    """Keeps problem specs: what is predicted and how success is measured."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.CreateProblemSpec: Unary[problem_specs_pb2.CreateProblemSpecRequest, problem_spec_pb2.ProblemSpec] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.ProblemSpecService/CreateProblemSpec",
            problem_specs_pb2.CreateProblemSpecRequest,
            problem_spec_pb2.ProblemSpec,
        )
        """Creates a spec, checked against its data set. Classes left empty are taken from the target column. Returns
        `ALREADY_EXISTS` if the id is taken, `INVALID_ARGUMENT` naming each wrong field (an unknown column, one class, a
        value merged twice, a cost matrix of the wrong shape).
        """
        self.GetProblemSpec: Unary[problem_specs_pb2.GetProblemSpecRequest, problem_spec_pb2.ProblemSpec] = Unary(
            channel,
            calls,
            "/regrow.labeling.v1.ProblemSpecService/GetProblemSpec",
            problem_specs_pb2.GetProblemSpecRequest,
            problem_spec_pb2.ProblemSpec,
        )
        """Returns `NOT_FOUND` if the spec does not exist."""
        self.ListProblemSpecs: Paged[
            problem_specs_pb2.ListProblemSpecsRequest, problem_specs_pb2.ListProblemSpecsResponse, problem_spec_pb2.ProblemSpec
        ] = Paged(
            channel,
            calls,
            "/regrow.labeling.v1.ProblemSpecService/ListProblemSpecs",
            problem_specs_pb2.ListProblemSpecsRequest,
            problem_specs_pb2.ListProblemSpecsResponse,
        )
        """Lists a project's specs, newest first."""


class ProjectService:
    """Keeps the list of projects: the names that own everything else, and the scope of keys."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.CreateProject: Unary[registry_pb2.CreateProjectRequest, registry_pb2.Project] = Unary(
            channel,
            calls,
            "/regrow.registry.v1.ProjectService/CreateProject",
            registry_pb2.CreateProjectRequest,
            registry_pb2.Project,
        )
        """Creates a project. Returns `ALREADY_EXISTS` if the id is taken."""
        self.GetProject: Unary[registry_pb2.GetProjectRequest, registry_pb2.Project] = Unary(
            channel,
            calls,
            "/regrow.registry.v1.ProjectService/GetProject",
            registry_pb2.GetProjectRequest,
            registry_pb2.Project,
        )
        """Returns `NOT_FOUND` if the project does not exist."""
        self.ListProjects: Paged[registry_pb2.ListProjectsRequest, registry_pb2.ListProjectsResponse, registry_pb2.Project] = (
            Paged(
                channel,
                calls,
                "/regrow.registry.v1.ProjectService/ListProjects",
                registry_pb2.ListProjectsRequest,
                registry_pb2.ListProjectsResponse,
            )
        )
        """Lists the projects that the caller may see, by name."""
        self.DeleteProject: Unary[registry_pb2.DeleteProjectRequest, registry_pb2.DeleteProjectResponse] = Unary(
            channel,
            calls,
            "/regrow.registry.v1.ProjectService/DeleteProject",
            registry_pb2.DeleteProjectRequest,
            registry_pb2.DeleteProjectResponse,
        )
        """Deletes a project. Returns `FAILED_PRECONDITION` while it has models."""


class ModelService:
    """Keeps models: names that versions are numbered under."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.CreateModel: Unary[registry_pb2.CreateModelRequest, registry_pb2.Model] = Unary(
            channel, calls, "/regrow.registry.v1.ModelService/CreateModel", registry_pb2.CreateModelRequest, registry_pb2.Model
        )
        """Creates a model. Returns `ALREADY_EXISTS` if the id is taken, `NOT_FOUND` for an unknown project."""
        self.GetModel: Unary[registry_pb2.GetModelRequest, registry_pb2.Model] = Unary(
            channel, calls, "/regrow.registry.v1.ModelService/GetModel", registry_pb2.GetModelRequest, registry_pb2.Model
        )
        """Returns `NOT_FOUND` if the model does not exist."""
        self.ListModels: Paged[registry_pb2.ListModelsRequest, registry_pb2.ListModelsResponse, registry_pb2.Model] = Paged(
            channel,
            calls,
            "/regrow.registry.v1.ModelService/ListModels",
            registry_pb2.ListModelsRequest,
            registry_pb2.ListModelsResponse,
        )
        """Lists a project's models, by name. Within the machine, `projects/-` lists all."""


class VersionService:
    """Keeps versions: immutable, numbered 1, 2, 3, ... without gaps, never reused."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.CreateVersion: Unary[registry_pb2.CreateVersionRequest, registry_pb2.Version] = Unary(
            channel,
            calls,
            "/regrow.registry.v1.VersionService/CreateVersion",
            registry_pb2.CreateVersionRequest,
            registry_pb2.Version,
        )
        """Registers a version whose bundle is already in the object store. The bundle's bytes are checked against its
        digest. Idempotent by `request_id`. Returns `NOT_FOUND` for an unknown model, `FAILED_PRECONDITION` for a bundle
        that isn't in the store, `DATA_LOSS` for one that is damaged.
        """
        self.GetVersion: Unary[registry_pb2.GetVersionRequest, registry_pb2.Version] = Unary(
            channel,
            calls,
            "/regrow.registry.v1.VersionService/GetVersion",
            registry_pb2.GetVersionRequest,
            registry_pb2.Version,
        )
        """Returns `NOT_FOUND` if the version does not exist."""
        self.ListVersions: Paged[registry_pb2.ListVersionsRequest, registry_pb2.ListVersionsResponse, registry_pb2.Version] = (
            Paged(
                channel,
                calls,
                "/regrow.registry.v1.VersionService/ListVersions",
                registry_pb2.ListVersionsRequest,
                registry_pb2.ListVersionsResponse,
            )
        )
        """Lists a model's versions, newest first."""
        self.GetReceipt: Unary[registry_pb2.GetReceiptRequest, registry_pb2.Receipt] = Unary(
            channel,
            calls,
            "/regrow.registry.v1.VersionService/GetReceipt",
            registry_pb2.GetReceiptRequest,
            registry_pb2.Receipt,
        )
        """What a version was made from: data and label set digests, spec, labelers, feedback offsets, seeds, code. Returns
        `NOT_FOUND` if the version does not exist.
        """


class AliasService:
    """Keeps aliases: pointers to versions (`champion`, ...) that are moved by compare-and-set, with their whole history."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.SetAlias: Unary[registry_pb2.SetAliasRequest, registry_pb2.Alias] = Unary(
            channel, calls, "/regrow.registry.v1.AliasService/SetAlias", registry_pb2.SetAliasRequest, registry_pb2.Alias
        )
        """Points an alias to a version. `etag` must be the alias's current one; empty creates it and nothing else. Returns
        `ABORTED` if somebody moved it first, `NOT_FOUND` for an unknown version. Setting it to where it points is no
        move.
        """
        self.GetAlias: Unary[registry_pb2.GetAliasRequest, registry_pb2.Alias] = Unary(
            channel, calls, "/regrow.registry.v1.AliasService/GetAlias", registry_pb2.GetAliasRequest, registry_pb2.Alias
        )
        """Returns `NOT_FOUND` if the alias does not exist (or did not, at `as_of`)."""
        self.ListAliases: Paged[registry_pb2.ListAliasesRequest, registry_pb2.ListAliasesResponse, registry_pb2.Alias] = Paged(
            channel,
            calls,
            "/regrow.registry.v1.AliasService/ListAliases",
            registry_pb2.ListAliasesRequest,
            registry_pb2.ListAliasesResponse,
        )
        """Lists a model's aliases, by name."""
        self.ListAliasHistory: Paged[
            registry_pb2.ListAliasHistoryRequest, registry_pb2.ListAliasHistoryResponse, registry_pb2.AliasMove
        ] = Paged(
            channel,
            calls,
            "/regrow.registry.v1.AliasService/ListAliasHistory",
            registry_pb2.ListAliasHistoryRequest,
            registry_pb2.ListAliasHistoryResponse,
        )
        """Lists every move of an alias, newest first."""


class ArtifactService:
    """Hands out artifacts by digest."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.ListArtifacts: Paged[
            registry_pb2.ListArtifactsRequest, registry_pb2.ListArtifactsResponse, registry_pb2.Artifact
        ] = Paged(
            channel,
            calls,
            "/regrow.registry.v1.ArtifactService/ListArtifacts",
            registry_pb2.ListArtifactsRequest,
            registry_pb2.ListArtifactsResponse,
        )
        """Lists the parts of a version's bundle, the manifest first. Returns `NOT_FOUND` if the version does not exist."""
        self.DownloadArtifact: ServerStream[registry_pb2.DownloadArtifactRequest, httpbody_pb2.HttpBody] = ServerStream(
            channel,
            calls,
            "/regrow.registry.v1.ArtifactService/DownloadArtifact",
            registry_pb2.DownloadArtifactRequest,
            httpbody_pb2.HttpBody,
        )
        """Streams one part's bytes, checked against its digest; or, where `link` asks and the object store has an address
        for callers, one message of type `text/uri-list` with a link to them. Returns `NOT_FOUND` if the version has no
        such part.
        """


class BatchPredictionService:
    """Scores the rows of a data set version with a model version, without a caller who waits: to Parquet in the object
    store.
    """

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.CreateBatchPrediction: Unary[
            batch_predictions_pb2.CreateBatchPredictionRequest, batch_predictions_pb2.BatchPrediction
        ] = Unary(
            channel,
            calls,
            "/regrow.training.v1.BatchPredictionService/CreateBatchPrediction",
            batch_predictions_pb2.CreateBatchPredictionRequest,
            batch_predictions_pb2.BatchPrediction,
        )
        """Submits a batch prediction. It waits in the queue, is computed in a process of its own, chunk by chunk, and goes
        on at its last finished chunk after a crash. What `model` and the data set version mean is settled by this call.
        Returns `NOT_FOUND` for an unknown data set version, model or version, `FAILED_PRECONDITION` where the model has
        no champion, `INVALID_ARGUMENT` where the data set version has none of the columns that the model reads, or where
        unlabeled rows are asked for and the version learned from another data set or from no label set, `ALREADY_EXISTS`
        for an id that is taken or a `request_id` that was sent with another content.
        """
        self.GetBatchPrediction: Unary[
            batch_predictions_pb2.GetBatchPredictionRequest, batch_predictions_pb2.BatchPrediction
        ] = Unary(
            channel,
            calls,
            "/regrow.training.v1.BatchPredictionService/GetBatchPrediction",
            batch_predictions_pb2.GetBatchPredictionRequest,
            batch_predictions_pb2.BatchPrediction,
        )
        """Returns `NOT_FOUND` if the batch prediction does not exist."""
        self.ListBatchPredictions: Paged[
            batch_predictions_pb2.ListBatchPredictionsRequest,
            batch_predictions_pb2.ListBatchPredictionsResponse,
            batch_predictions_pb2.BatchPrediction,
        ] = Paged(
            channel,
            calls,
            "/regrow.training.v1.BatchPredictionService/ListBatchPredictions",
            batch_predictions_pb2.ListBatchPredictionsRequest,
            batch_predictions_pb2.ListBatchPredictionsResponse,
        )
        """Lists a project's batch predictions, newest first."""
        self.CancelBatchPrediction: Unary[
            batch_predictions_pb2.CancelBatchPredictionRequest, batch_predictions_pb2.BatchPrediction
        ] = Unary(
            channel,
            calls,
            "/regrow.training.v1.BatchPredictionService/CancelBatchPrediction",
            batch_predictions_pb2.CancelBatchPredictionRequest,
            batch_predictions_pb2.BatchPrediction,
        )
        """Cancels a batch prediction: its process ends within seconds. One that ended stays as it is. Idempotent. Returns
        `NOT_FOUND` if the batch prediction does not exist.
        """
        self.DownloadBatchPrediction: ServerStream[
            batch_predictions_pb2.DownloadBatchPredictionRequest, httpbody_pb2.HttpBody
        ] = ServerStream(
            channel,
            calls,
            "/regrow.training.v1.BatchPredictionService/DownloadBatchPrediction",
            batch_predictions_pb2.DownloadBatchPredictionRequest,
            httpbody_pb2.HttpBody,
        )
        """Streams the result as one file: `row` (its number in the data set), `predicted` (the class decided for, none for
        an abstention; several are joined by the spec's separator), and `probability_<class>` for each class, in order of
        row. Where `link` asks and the object store has an address for callers, it is one message of type `text/uri-list`
        with a link to the file. Returns `NOT_FOUND` if the batch prediction does not exist, `FAILED_PRECONDITION` where
        it didn't end well.
        """


class DesignService:
    """Knows the designs: which representation reads which modality, and how they are fused."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.ListTemplates: Paged[designs_pb2.ListTemplatesRequest, designs_pb2.ListTemplatesResponse, designs_pb2.Template] = (
            Paged(
                channel,
                calls,
                "/regrow.training.v1.DesignService/ListTemplates",
                designs_pb2.ListTemplatesRequest,
                designs_pb2.ListTemplatesResponse,
            )
        )
        """Lists the ready-made designs with what they are good for and what they cost."""
        self.ValidateDesign: Unary[designs_pb2.ValidateDesignRequest, designs_pb2.ValidateDesignResponse] = Unary(
            channel,
            calls,
            "/regrow.training.v1.DesignService/ValidateDesign",
            designs_pb2.ValidateDesignRequest,
            designs_pb2.ValidateDesignResponse,
        )
        """Checks a schedule against a problem spec without training: what each column would be read by, what doesn't fit.
        Returns `NOT_FOUND` if the spec does not exist; what is wrong with the schedule is told in the answer.
        """


class PolicyService:
    """Continuous training: when a model is retrained from feedback, and what must hold before it is promoted."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.CreatePolicy: Unary[policies_pb2.CreatePolicyRequest, policies_pb2.Policy] = Unary(
            channel,
            calls,
            "/regrow.training.v1.PolicyService/CreatePolicy",
            policies_pb2.CreatePolicyRequest,
            policies_pb2.Policy,
        )
        """Creates the policy of a model. Returns `ALREADY_EXISTS` if the id is taken or the model has one, `NOT_FOUND` for
        an unknown model.
        """
        self.UpdatePolicy: Unary[policies_pb2.UpdatePolicyRequest, policies_pb2.Policy] = Unary(
            channel,
            calls,
            "/regrow.training.v1.PolicyService/UpdatePolicy",
            policies_pb2.UpdatePolicyRequest,
            policies_pb2.Policy,
        )
        """Changes a policy's rules: those that `update_mask` names, or that are set. Returns `ABORTED` if `policy.etag` is
        old, `INVALID_ARGUMENT` for a mask that names what can't be changed.
        """
        self.GetPolicy: Unary[policies_pb2.GetPolicyRequest, policies_pb2.Policy] = Unary(
            channel, calls, "/regrow.training.v1.PolicyService/GetPolicy", policies_pb2.GetPolicyRequest, policies_pb2.Policy
        )
        """Returns `NOT_FOUND` if the policy does not exist."""
        self.ListPolicies: Paged[policies_pb2.ListPoliciesRequest, policies_pb2.ListPoliciesResponse, policies_pb2.Policy] = (
            Paged(
                channel,
                calls,
                "/regrow.training.v1.PolicyService/ListPolicies",
                policies_pb2.ListPoliciesRequest,
                policies_pb2.ListPoliciesResponse,
            )
        )
        """Lists a project's policies."""
        self.TriggerRegrowth: Unary[policies_pb2.TriggerRegrowthRequest, policies_pb2.Regrowth] = Unary(
            channel,
            calls,
            "/regrow.training.v1.PolicyService/TriggerRegrowth",
            policies_pb2.TriggerRegrowthRequest,
            policies_pb2.Regrowth,
        )
        """Starts a regrowth now, whatever the rules say. Returns `FAILED_PRECONDITION` while one is under way, or where
        there is no new feedback or no champion.
        """
        self.GetRegrowth: Unary[policies_pb2.GetRegrowthRequest, policies_pb2.Regrowth] = Unary(
            channel,
            calls,
            "/regrow.training.v1.PolicyService/GetRegrowth",
            policies_pb2.GetRegrowthRequest,
            policies_pb2.Regrowth,
        )
        """Returns `NOT_FOUND` if the regrowth does not exist."""
        self.ListRegrowths: Paged[
            policies_pb2.ListRegrowthsRequest, policies_pb2.ListRegrowthsResponse, policies_pb2.Regrowth
        ] = Paged(
            channel,
            calls,
            "/regrow.training.v1.PolicyService/ListRegrowths",
            policies_pb2.ListRegrowthsRequest,
            policies_pb2.ListRegrowthsResponse,
        )
        """Lists a policy's regrowths, newest first: why each started, what it made, and why it was promoted or not."""


class RunService:
    """Trains: a run takes a label set and a schedule to a registered model version."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.CreateRun: Unary[runs_pb2.CreateRunRequest, runs_pb2.Run] = Unary(
            channel, calls, "/regrow.training.v1.RunService/CreateRun", runs_pb2.CreateRunRequest, runs_pb2.Run
        )
        """Submits a run. It waits in the queue, trains in a process of its own, and registers a version. Returns `NOT_FOUND`
        for an unknown label set, `INVALID_ARGUMENT` for a schedule that doesn't fit the spec.
        """
        self.GetRun: Unary[runs_pb2.GetRunRequest, runs_pb2.Run] = Unary(
            channel, calls, "/regrow.training.v1.RunService/GetRun", runs_pb2.GetRunRequest, runs_pb2.Run
        )
        """Returns `NOT_FOUND` if the run does not exist."""
        self.ListRuns: Paged[runs_pb2.ListRunsRequest, runs_pb2.ListRunsResponse, runs_pb2.Run] = Paged(
            channel, calls, "/regrow.training.v1.RunService/ListRuns", runs_pb2.ListRunsRequest, runs_pb2.ListRunsResponse
        )
        """Lists a project's runs: newest first, or the leaderboard of one label set (best selection score first)."""
        self.CancelRun: Unary[runs_pb2.CancelRunRequest, runs_pb2.Run] = Unary(
            channel, calls, "/regrow.training.v1.RunService/CancelRun", runs_pb2.CancelRunRequest, runs_pb2.Run
        )
        """Cancels a run. A run that ended stays as it is. Idempotent. Returns `NOT_FOUND` if the run does not exist."""
        self.WatchRun: ServerStream[runs_pb2.WatchRunRequest, runs_pb2.RunEvent] = ServerStream(
            channel, calls, "/regrow.training.v1.RunService/WatchRun", runs_pb2.WatchRunRequest, runs_pb2.RunEvent
        )
        """Streams a run's events from any sequence number, those of the past first, until the run ends."""


class Services:
    """All of them, over one channel."""

    def __init__(self, channel: grpc.Channel, calls: Calls) -> None:
        self.predictions = PredictionService(channel, calls)
        self.feedback = FeedbackService(channel, calls)
        self.keys = KeyService(channel, calls)
        self.system = SystemService(channel, calls)
        self.events = EventService(channel, calls)
        self.audit = AuditService(channel, calls)
        self.operations = Operations(channel, calls)
        self.operation_starts = OperationService(channel, calls)
        self.datasets = DatasetService(channel, calls)
        self.votes = VoteService(channel, calls)
        self.annotation = AnnotationService(channel, calls)
        self.feedback_ledger = FeedbackLedgerService(channel, calls)
        self.label_sets = LabelSetService(channel, calls)
        self.labelers = LabelerService(channel, calls)
        self.specs = ProblemSpecService(channel, calls)
        self.projects = ProjectService(channel, calls)
        self.models = ModelService(channel, calls)
        self.versions = VersionService(channel, calls)
        self.aliases = AliasService(channel, calls)
        self.artifacts = ArtifactService(channel, calls)
        self.batch_predictions = BatchPredictionService(channel, calls)
        self.designs = DesignService(channel, calls)
        self.policies = PolicyService(channel, calls)
        self.runs = RunService(channel, calls)
