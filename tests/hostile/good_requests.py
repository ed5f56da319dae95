"""A good request of every public rpc, so that a hostile field reaches the code behind the first check.

A name of something new is another each time (`NEW`); what would be removed, retired or unloaded doesn't exist.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from services.gateway.methods import Method, public_methods
from services.gateway.oip.methods import inference_methods

METHODS: Mapping[str, Method] = {**public_methods(), **inference_methods()}
"""Every call that the gateway answers, by gRPC path."""

PROJECT = "projects/default"
DATASET, SPEC, MODEL = f"{PROJECT}/datasets/mail", f"{PROJECT}/problemSpecs/mail", f"{PROJECT}/models/mail"
ATTIC = f"{PROJECT}/problemSpecs/attic"
"""The spec of labelers that hostile requests make: those of `mail` stay few, for they vote in every label set."""
IDLE, POLICY = f"{PROJECT}/models/idle", f"{PROJECT}/policies/idle"
HAND, VOTER = f"{PROJECT}/labelers/hand", f"{PROJECT}/labelers/voter"
REMOVES = ("Delete", "Revoke", "Retire", "CancelOperation", "WaitOperation", "GetOperation", "GetRegrowth")
ANSWERED: Mapping[str, str] = {
    "CreatePolicy": "ALREADY_EXISTS", "TriggerRegrowth": "FAILED_PRECONDITION",
    **dict.fromkeys(("TraceSetting", "LogSettings"), "UNIMPLEMENTED"),
    **{name: "UNIMPLEMENTED" for name in (method.name for method in METHODS.values()) if "SharedMemory" in name},
}  # fmt: skip
"""What a good request is answered, where that isn't `OK` (or `NOT_FOUND` for what removes)."""
NEW = "NEW"
_LABELER = {"parent": PROJECT, "labelerId": NEW}
_FEEDBACK = {"features": {"text": "win", "likes": 3}, "classNames": ["spam"], "source": "shop"}
_SCHEDULE = {"design": {"template": "brew"}, "maxEpochs": 2, "learningRate": 0.01, "batchSize": 32, "seed": 1}
_CREATE_LABEL_SET = {"parent": DATASET, "labelSetId": NEW, "labelSet": {"problemSpec": SPEC}}
_DEFINITIONS: Mapping[str, Mapping[str, Any]] = {
    "keyword": {"column": "text", "className": "spam", "keywords": ["win"]},
    "regex": {"column": "text", "className": "spam", "pattern": "fr(e+)"},
    "sql": {"expression": "likes > 3", "className": "spam"},
    "column": {"column": "site", "valueClasses": {"shop": "spam"}},
    "imported": {"origin": "elsewhere"}, "human": {"gold": True},
}  # fmt: skip
_LABELERS = [{"problemSpec": ATTIC, "description": "x", kind: content} for kind, content in _DEFINITIONS.items()]
_OF_A_HAND = {"parent": DATASET, "labeler": HAND, "annotator": "ann"}
_INFER = {
    "modelName": "mail", "id": "1", "outputs": [{"name": "class"}], "inputs": [
        {"name": "text", "datatype": "BYTES", "shape": ["1"], "contents": {"bytesContents": ["d2lu"]}},
        {"name": "likes", "datatype": "FP64", "shape": ["1", "1"], "contents": {"fp64Contents": [3.0]}},
    ],
}  # fmt: skip

GOOD: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "ImportDataset": [{
        "parent": PROJECT, "datasetId": NEW, "fileName": "a.csv", "holdout": {"share": 0.2},
        "content": base64.b64encode(b"text,label\n" + b"win,spam\nlunch,ham\n" * 20).decode(),
    }],
    "UpdateSchema": [{"name": DATASET, "columns": [{"name": "likes", "kind": "COLUMN_KIND_NUMERIC"}]}],
    "AppendRows": [{"name": DATASET, "rows": [{"text": "win", "likes": 2, "site": "shop", "label": "spam"}]}],
    "CreateProblemSpec": [{
        "parent": PROJECT, "problemSpecId": NEW, "problemSpec": {
            "dataset": DATASET, "targetColumn": "label",
            "classes": [{"name": "spam"}, {"name": "ham", "sourceValues": ["ham"]}],
        },
    }],
    "CreateLabeler": [_LABELER | {"labeler": labeler} for labeler in _LABELERS],
    "PreviewLabeler": [{"parent": PROJECT, "labeler": labeler} for labeler in _LABELERS[:2]],
    "ApplyLabelers": [{"parent": PROJECT, "datasetVersion": f"{DATASET}/versions/1", "problemSpec": SPEC}],
    "WriteVotes": [{"parent": DATASET, "votes": [{"row": "3", "labeler": VOTER, "classNames": ["spam"], "confidence": 0.5}]}],
    "ListVotes": [{"parent": DATASET, "labeler": VOTER}],
    "RetractVotes": [{"parent": DATASET, "votes": [f"{DATASET}/votes/1"], "why": "wrong"}],
    "CreateLabelSet": [_CREATE_LABEL_SET],
    "NextRows": [_OF_A_HAND | {"problemSpec": SPEC, "count": 3}],
    "SubmitAnnotation": [_OF_A_HAND | {"row": "5", "classNames": ["spam"]}],
    "UndoAnnotation": [_OF_A_HAND],
    "GetAnnotationProgress": [{"parent": DATASET, "labeler": HAND}],
    "ValidateDesign": [{"parent": PROJECT, "problemSpec": SPEC, "schedule": _SCHEDULE}],
    "CreateRun": [{
        "parent": PROJECT, "runId": NEW,
        "run": {"labelSet": f"{DATASET}/labelSets/gold", "model": MODEL, "schedule": _SCHEDULE},
    }],
    "CreatePolicy": [{
        "parent": PROJECT, "policyId": NEW,
        "policy": {"model": IDLE, "feedbackCount": 50, "maxAge": "3600s", "tolerance": 0.01},
    }],
    "UpdatePolicy": [{
        "policy": {"name": POLICY, "feedbackCount": 60, "paused": False},
        "updateMask": "feedbackCount,maxAge,minInterval,tolerance,significance,promoteOnTie",
    }],
    "TriggerRegrowth": [{"name": POLICY}],
    "CreateBatchPrediction": [{
        "parent": PROJECT, "batchPredictionId": NEW,
        "batchPrediction": {"datasetVersion": f"{DATASET}/versions/1", "model": MODEL, "rowFilter": "ROW_FILTER_ALL"},
    }],
    "CreateProject": [{"projectId": NEW, "project": {"description": "A project"}}],
    "CreateModel": [{"parent": PROJECT, "modelId": NEW, "model": {"description": "A model"}}],
    "CreateVersion": [{"parent": IDLE, "version": {"bundleDigest": "BUNDLE", "scores": {"macro_f1": 0.5}}}],
    "SetAlias": [{"name": f"{MODEL}/aliases/hostile", "version": f"{MODEL}/versions/1", "why": "tried"}],
    "Predict": [{"name": MODEL, "rows": [{"text": "win free money", "likes": 3}]}],
    "SendFeedback": [{"parent": MODEL, "feedback": _FEEDBACK}],
    "BatchSendFeedback": [{"parent": MODEL, "feedback": [_FEEDBACK]}],
    "StreamFeedback": [{"parent": MODEL, "feedback": [_FEEDBACK]}],
    "CreateKey": [{"key": {"role": "ROLE_VIEWER", "displayName": "x", "projects": [PROJECT]}}],
    "UpdateKey": [{"key": {"displayName": "y", "limits": {"burst": 9}}, "updateMask": "displayName,limits"}],
    "RotateKey": [{"grace": "0s"}],
    "ReplayDeadLetters": [{"topic": "regrow.feedback"}],
    "ListDeadLetters": [{"topic": "regrow.feedback"}],
    "ModelInfer": [_INFER],
    "ModelStreamInfer": [_INFER],
    **{name: [{"name": "mail"}] for name in ("ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics")},
    "RepositoryModelLoad": [{"modelName": "mail"}],
    "RepositoryModelUnload": [{"modelName": "nobody"}],
    "StartOperation": [{
        "parent": PROJECT, "method": "regrow.labeling.v1.LabelSetService/CreateLabelSet",
        "request": {"@type": "type.googleapis.com/regrow.labeling.v1.CreateLabelSetRequest", **_CREATE_LABEL_SET},
    }],
}  # fmt: skip
"""By the rpc's name; what isn't here is asked for by its name alone."""

INFER_JSON = {
    "id": "1", "parameters": {}, "outputs": [{"name": "probabilities", "parameters": {"classification": 1}}], "inputs": [
        {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["win"]},
        {"name": "likes", "datatype": "FP64", "shape": [1, 1], "data": [3.0], "parameters": {}},
    ],
}  # fmt: skip
"""The body of ModelInfer over REST, which isn't the message."""
_numbers = itertools.count(1)


def variants(method: Method) -> int:
    """How many good requests there are."""
    return len(GOOD.get(method.name, [{}]))


def focus(variant: int) -> str:
    """The field that only this variant has; empty for the first one."""
    return f"labeler.{list(_DEFINITIONS)[variant]}" if variant else ""


def good_request(method: Method, names: Mapping[str, str], variant: int = 0) -> Message:
    """A new one. `names` has a resource of each kind by the pattern of its name, and the digest of a `BUNDLE`."""
    text = json.dumps(GOOD.get(method.name, [{}])[variant]).replace("BUNDLE", names["BUNDLE"])
    request: Message = json_format.Parse(text.replace(NEW, f"hostile-{next(_numbers)}"), method.request())
    template = method.bindings[0].template if method.bindings else ""
    variable, _, pattern = template.partition("{")[2].partition("}")[0].partition("=")
    if pattern:
        *parents, field = variable.split(".")
        owner = reduce(getattr, parents, request)
        if not getattr(owner, field):
            setattr(owner, field, _name(method, pattern, names))
    return request


def expected(method: Method) -> str:
    """The status of the answer to a good request."""
    return ANSWERED.get(method.name, "NOT_FOUND" if method.name.startswith(REMOVES) else "OK")


def _name(method: Method, pattern: str, names: Mapping[str, str]) -> str:
    if not method.name.startswith(REMOVES) and pattern in names:
        return names[pattern]
    if pattern == "projects/*":
        return "projects/nowhere"
    return pattern.replace("projects/*", PROJECT, 1).replace("*", "nobody")
