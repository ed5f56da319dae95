"""Who may call what: one line for each public call, and the rule that a call stays inside one project.

A call names its project in one field (`project`), which must be one that the key may enter. Every other resource name in
the request must be of the same project, so a key of project A can't train on a label set of project B by naming it in a
body. What is free text, and may therefore begin with `projects/` by chance, is listed in `FREE_TEXT`; every other string is
looked at. A key that is narrowed to models makes only the calls of `one_model`, and every name in them must be within these.
A test holds the table against the descriptors: no public call without a line, no line without a call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from services.common.errors import InvalidField, PermissionDenied
from services.common.rpc.principal import ALL_PROJECTS, Principal

PublicRole = Literal["viewer", "labeler", "editor", "admin"]
RANKS: dict[str, int] = {"viewer": 1, "labeler": 2, "editor": 3, "admin": 4}

QUICK, SLOW, STREAM = 30.0, 600.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The least role, the field that names the project (empty: the call is about none), and the longest it may take.

    `one_model`: the call is about one model, or about the caller itself, so a key that is narrowed to models may make it.
    `changes`: it changes something, so an audit event is kept before it is answered; `before` is the rpc of the same service
    that reads by name what it changes. Predictions and feedback are events themselves.
    `keyless`: it says nothing but how the server is, so whoever probes it needs no key.
    """

    role: PublicRole
    project: str = ""
    seconds: float = QUICK
    every_project: bool = False
    one_model: bool = False
    changes: bool = False
    before: str = ""
    keyless: bool = False


def _viewer(project: str = "name", seconds: float = QUICK) -> Rule:
    return Rule(role="viewer", project=project, seconds=seconds)


def _of_model(project: str = "name", seconds: float = QUICK) -> Rule:
    return Rule(role="viewer", project=project, seconds=seconds, one_model=True)


def _labeler(project: str = "parent", seconds: float = QUICK, *, changes: bool = True) -> Rule:
    return Rule(role="labeler", project=project, seconds=seconds, changes=changes)


def _editor(project: str = "parent", seconds: float = QUICK, *, before: str = "", changes: bool = True) -> Rule:
    return Rule(role="editor", project=project, seconds=seconds, changes=changes, before=before)


def _admin(
    project: str = "", seconds: float = QUICK, *, every_project: bool = False, before: str = "", changes: bool = True
) -> Rule:
    return Rule(role="admin", project=project, seconds=seconds, every_project=every_project, changes=changes, before=before)


_BY_SERVICE: dict[str, dict[str, Rule]] = {
    "regrow.labeling.v1.DatasetService": {
        "ImportDataset": _editor(seconds=STREAM),
        "GetDataset": _viewer(),
        "ListDatasets": _viewer("parent"),
        "DeleteDataset": _editor("name", SLOW, before="GetDataset"),
        "GetDatasetVersion": _viewer(),
        "ListDatasetVersions": _viewer("parent"),
        "UpdateSchema": _editor("name", SLOW, before="GetDataset"),
        "AppendRows": _editor("name", SLOW),
        "GetProfile": _viewer(seconds=SLOW),
        "ListRows": _viewer("parent"),
        "ExportDataset": _viewer(seconds=STREAM),
    },
    "regrow.labeling.v1.ProblemSpecService": {
        "CreateProblemSpec": _editor(seconds=SLOW),
        "GetProblemSpec": _viewer(),
        "ListProblemSpecs": _viewer("parent"),
    },
    "regrow.labeling.v1.LabelerService": {
        "CreateLabeler": _editor(),
        "PreviewLabeler": _editor(seconds=SLOW, changes=False),
        "GetLabeler": _viewer(),
        "ListLabelers": _viewer("parent"),
        "RetireLabeler": _editor("name", before="GetLabeler"),
        "ApplyLabelers": _editor(seconds=SLOW),
    },
    "regrow.labeling.v1.VoteService": {
        "WriteVotes": _labeler(seconds=STREAM),
        "ListVotes": _viewer("parent"),
        "RetractVotes": _labeler(),
    },
    "regrow.labeling.v1.LabelSetService": {
        "CreateLabelSet": _editor(seconds=SLOW),
        "GetLabelSet": _viewer(),
        "ListLabelSets": _viewer("parent"),
        "ExportLabelSet": _viewer(seconds=STREAM),
    },
    "regrow.labeling.v1.AnnotationService": {
        "NextRows": _labeler(seconds=SLOW, changes=False),
        "SubmitAnnotation": _labeler(),
        "UndoAnnotation": _labeler(),
        "GetAnnotationProgress": _viewer("parent"),
    },
    "regrow.labeling.v1.FeedbackLedgerService": {
        "GetFeedbackStats": _of_model("parent"),
        "ListFeedbackIssues": _of_model("parent"),
        "ListUnmatchedFeedback": _of_model("parent"),
    },
    "regrow.training.v1.DesignService": {
        "ListTemplates": _viewer(""),
        "ValidateDesign": _viewer("parent"),
    },
    "regrow.training.v1.RunService": {
        "CreateRun": _editor(),
        "GetRun": _viewer(),
        "ListRuns": _viewer("parent"),
        "CancelRun": _editor("name", before="GetRun"),
        "WatchRun": _viewer(seconds=STREAM),
    },
    "regrow.training.v1.PolicyService": {
        "CreatePolicy": _editor(),
        "UpdatePolicy": _editor("policy.name", before="GetPolicy"),
        "GetPolicy": _viewer(),
        "ListPolicies": _viewer("parent"),
        "TriggerRegrowth": _editor("name"),
        "GetRegrowth": _viewer(),
        "ListRegrowths": _viewer("parent"),
    },
    "regrow.training.v1.BatchPredictionService": {
        "CreateBatchPrediction": _editor(),
        "GetBatchPrediction": _viewer(),
        "ListBatchPredictions": _viewer("parent"),
        "CancelBatchPrediction": _editor("name", before="GetBatchPrediction"),
        "DownloadBatchPrediction": _viewer(seconds=STREAM),
    },
    "regrow.registry.v1.ProjectService": {
        "CreateProject": _admin(every_project=True),
        "GetProject": _viewer(),
        "ListProjects": _viewer(""),
        "DeleteProject": _admin("name", before="GetProject"),
    },
    "regrow.registry.v1.ModelService": {
        "CreateModel": _editor(),
        "GetModel": _of_model(),
        "ListModels": _viewer("parent"),
    },
    "regrow.registry.v1.VersionService": {
        "CreateVersion": _editor(),
        "GetVersion": _of_model(),
        "ListVersions": _of_model("parent"),
        "GetReceipt": _of_model(),
    },
    "regrow.registry.v1.AliasService": {
        "SetAlias": _editor("name", before="GetAlias"),
        "GetAlias": _of_model(),
        "ListAliases": _of_model("parent"),
        "ListAliasHistory": _of_model(),
    },
    "regrow.registry.v1.ArtifactService": {
        "ListArtifacts": _of_model("parent"),
        "DownloadArtifact": _of_model(seconds=STREAM),
    },
    "regrow.gateway.v1.PredictionService": {
        "Predict": _of_model(),
        "GetServedModel": _of_model(),
    },
    "regrow.gateway.v1.FeedbackService": {
        "SendFeedback": _of_model("parent"),
        "BatchSendFeedback": _of_model("parent"),
        "StreamFeedback": _of_model("parent", STREAM),
    },
    "regrow.gateway.v1.KeyService": {
        "CreateKey": _admin(),
        "GetKey": _admin(changes=False),
        "ListKeys": _admin(changes=False),
        "UpdateKey": _admin(before="GetKey"),
        "RotateKey": _admin(before="GetKey"),
        "RevokeKey": _admin(before="GetKey"),
        "GetCaller": _of_model(""),
    },
    "regrow.gateway.v1.AuditService": {
        "ListAuditEvents": _admin(changes=False),
    },
    "regrow.gateway.v1.SystemService": {
        "GetStatus": _of_model(""),
    },
    "regrow.gateway.v1.EventService": {
        "ListDeadLetters": _admin(every_project=True, changes=False),
        "GetDeadLetter": _admin(every_project=True, changes=False),
        "ReplayDeadLetters": _admin(seconds=SLOW, every_project=True),
    },
    "regrow.gateway.v1.OperationService": {
        "StartOperation": _labeler(),
    },
    "google.longrunning.Operations": {
        "ListOperations": _viewer(),
        "GetOperation": _viewer(),
        "DeleteOperation": _editor("name", before="GetOperation"),
        "CancelOperation": _editor("name", before="GetOperation"),
        "WaitOperation": _viewer(seconds=SLOW),
    },
    "inference.GRPCInferenceService": {
        "ServerLive": Rule(role="viewer", keyless=True),
        "ServerReady": Rule(role="viewer", keyless=True),
        "ServerMetadata": _of_model(""),
        "ModelReady": _of_model(),
        "ModelMetadata": _of_model(),
        "ModelConfig": _of_model(),
        "ModelInfer": _of_model("model_name"),
        "ModelStreamInfer": _of_model("model_name", STREAM),
        "ModelStatistics": _of_model(),
        "RepositoryIndex": _of_model(""),
        "RepositoryModelLoad": _editor("model_name"),
        "RepositoryModelUnload": _editor("model_name"),
        "SystemSharedMemoryStatus": _editor("", changes=False),
        "SystemSharedMemoryRegister": _editor("", changes=False),
        "SystemSharedMemoryUnregister": _editor("", changes=False),
        "CudaSharedMemoryStatus": _editor("", changes=False),
        "CudaSharedMemoryRegister": _editor("", changes=False),
        "CudaSharedMemoryUnregister": _editor("", changes=False),
        "TraceSetting": _editor("", changes=False),
        "LogSettings": _editor("", changes=False),
    },
}
RULES: dict[str, Rule] = {f"/{service}/{name}": rule for service, rules in _BY_SERVICE.items() for name, rule in rules.items()}

FREE_TEXT = frozenset({
    "annotator", "bundle_digest", "checkpoint", "class_name", "class_names", "column", "content_sha256", "description",
    "digest", "display_name", "etag", "event_id", "excluded_columns", "expression", "file_name", "ignored_columns",
    "inferred_because", "input_columns", "keywords", "label_separator", "metric", "notes", "object_key", "origin", "page_token",
    "pattern", "positive_class", "prediction_id", "problem", "request_id", "salt", "slice_columns", "source", "source_values",
    "split_column", "split_values", "target_column", "template", "vote_id", "warnings", "why",
})  # fmt: skip
"""Names of string fields that hold words of a person or tokens, never resource names."""

_OPAQUE = frozenset(
    {"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue", "google.protobuf.Timestamp"}
)
_COLUMNS_AND_CLASSES = frozenset({"regrow.types.v1.Column", "regrow.types.v1.ClassDefinition", "regrow.training.v1.Score"})
"""Messages whose `name` is a column or a class."""


def check_role(rule: Rule, principal: Principal) -> None:
    """Raises `PermissionDenied` where the key's role is too low, or the call isn't one for a key of some models."""
    if RANKS.get(principal.role, 0) < RANKS[rule.role]:
        raise PermissionDenied(
            f"This call needs the role {rule.role}, and the {principal.called} has {principal.role}. {_cure(principal)}",
            needed=rule.role,
            role=principal.role,
        )
    if rule.every_project and ALL_PROJECTS not in principal.projects:
        raise PermissionDenied(f"This call is for all projects, and the {principal.called} for some. {_cure(principal)}")
    if principal.models and not rule.one_model:
        raise PermissionDenied(
            f"The {principal.called} is for some models alone: it predicts with them, sends feedback and reads them. "
            f"{_cure(principal)}"
        )


def check_request(rule: Rule, request: Message, principal: Principal, *, may_omit: bool = False) -> None:
    """Raises `PermissionDenied` for a project that the key can't enter, `InvalidField` for no name or names of two projects.

    `may_omit` is for later messages of a stream, which needn't repeat the name.
    """
    project = ""
    if rule.project:
        name = _read(request, rule.project)
        if name or not may_omit:
            project = project_of(name, rule.project)
            check_project(project, principal)
            check_model(name, principal)
    for path, name in resource_names(request):
        other = project_of(name, path)
        if project and other != project:
            raise InvalidField(path, f"'{name[:80]}' is of project '{other}', but the call is about '{project}'.")
        if not project:
            check_project(other, principal)
        check_model(name, principal)


def project_in(rule: Rule, request: Message) -> str:
    """The id of the project that an admitted request is about; empty for a call about none."""
    return project_of(_read(request, rule.project), rule.project) if rule.project else ""


def check_project(project: str, principal: Principal) -> None:
    """Raises `PermissionDenied`. Says the same for a project that doesn't exist, so nobody can find out which do."""
    if not principal.may_enter(project):
        raise PermissionDenied(f"The {principal.called} isn't for project '{project}'. {_cure(principal)}", project=project)


def check_model(name: str, principal: Principal) -> None:
    """Raises `PermissionDenied` for what isn't within the models that the key is narrowed to, whether it exists or not."""
    if not principal.may_use(name):
        raise PermissionDenied(f"The {principal.called} isn't for '{name[:200]}'. {_cure(principal)}")


def _cure(principal: Principal) -> str:
    """What a token may is granted to its groups; another token is no help."""
    return "Ask an admin to grant one of your groups more." if principal.subject else "Ask an admin for another key."


def project_of(name: str, path: str) -> str:
    """`shop` of `projects/shop/models/reviews`. Raises `InvalidField`."""
    collection, _, rest = name.partition("/")
    project = rest.partition("/")[0]
    if collection != "projects" or not project:
        problem = (
            f"'{name[:80]}' doesn't begin with 'projects/' and a project's id." if name else "is missing: it names the project."
        )
        raise InvalidField(path, problem)
    return project


def resource_names(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    """Every string of the message that is a resource name in a project, with its path; maps and free text left out."""
    named, nested = _fields(message.DESCRIPTOR)
    for field, repeated in named:
        value = getattr(message, field)
        for index, text in enumerate(value if repeated else (value,)):
            if text.startswith("projects/"):
                yield f"{path}{field}[{index}]" if repeated else f"{path}{field}", text
    for field, repeated in nested:
        if repeated:
            for index, child in enumerate(getattr(message, field)):
                yield from resource_names(child, f"{path}{field}[{index}].")
        elif message.HasField(field):
            yield from resource_names(getattr(message, field), f"{path}{field}.")


@cache
def _fields(descriptor: Descriptor) -> tuple[tuple[tuple[str, bool], ...], tuple[tuple[str, bool], ...]]:
    """Fields that may hold names, and fields that are messages which may; each with whether it repeats."""
    named: list[tuple[str, bool]] = []
    nested: list[tuple[str, bool]] = []
    for field in descriptor.fields:
        if (
            field.type == FieldDescriptor.TYPE_STRING
            and field.name not in FREE_TEXT
            and descriptor.full_name not in _COLUMNS_AND_CLASSES
        ):
            named.append((field.name, bool(field.is_repeated)))
        elif field.message_type is not None and _may_hold_names(field.message_type):
            nested.append((field.name, bool(field.is_repeated)))
    return tuple(named), tuple(nested)


def _may_hold_names(descriptor: Descriptor) -> bool:
    is_map = descriptor.GetOptions().map_entry
    return not is_map and descriptor.full_name not in _OPAQUE and any(_fields(descriptor))


def _read(request: Message, path: str) -> str:
    value: Message | str = request
    for name in path.split("."):
        value = getattr(value, name)
    return str(value)
