"""Examples of the calls that most people make first. A test reads each as the gateway would."""

from __future__ import annotations

from typing import Any

BODIES: dict[str, Any] = {
    "Predict": {"rows": [{"Review Text": "Fits perfectly", "Age": 34}]},
    "SendFeedback": {"predictionId": "PREDICTION_ID", "classNames": ["yes"], "source": "shop"},
    "BatchSendFeedback": {
        "feedback": [
            {"predictionId": "PREDICTION_ID", "classNames": ["yes"]},
            {"features": {"Review Text": "Too small"}, "classNames": ["no"], "eventId": "order-17"},
        ]
    },
    "CreateProblemSpec": {
        "dataset": "projects/default/datasets/reviews", "targetColumn": "Recommended IND",
        "classes": [{"name": "yes", "sourceValues": ["1"]}, {"name": "no", "sourceValues": ["0"]}],
        "excludedColumns": ["Rating"], "metric": "macro_f1",
    },
    "CreateLabeler": {
        "problemSpec": "projects/default/problemSpecs/buy",
        "keyword": {"column": "Review Text", "className": "yes", "keywords": ["love", "perfect"]},
    },
    "ApplyLabelers": {
        "datasetVersion": "projects/default/datasets/reviews/versions/latest",
        "problemSpec": "projects/default/problemSpecs/buy",
    },
    "CreateLabelSet": {"problemSpec": "projects/default/problemSpecs/buy"},
    "CreateRun": {
        "labelSet": "projects/default/datasets/reviews/labelSets/first", "model": "projects/default/models/buy",
        "schedule": {"design": {"template": "text-table"}},
    },
    "CreateBatchPrediction": {
        "datasetVersion": "projects/default/datasets/reviews/versions/latest", "model": "projects/default/models/buy",
    },
    "SetAlias": {"version": "projects/default/models/buy/versions/1", "why": "The first that beats the baselines."},
    "CreatePolicy": {"model": "projects/default/models/buy", "feedbackCount": 300},
    "UpdatePolicy": {"paused": True},
    "CreateKey": {"displayName": "shop", "role": "viewer", "projects": ["projects/default"]},
    "StartOperation": {
        "method": "regrow.labeling.v1.LabelSetService/CreateLabelSet",
        "request": {
            "@type": "type.googleapis.com/regrow.labeling.v1.CreateLabelSetRequest",
            "parent": "projects/default/datasets/reviews", "labelSet": {"problemSpec": "projects/default/problemSpecs/buy"},
        },
    },
    "WaitOperation": {"timeout": "30s"},
}  # fmt: skip
"""By the call's name: its body."""

INFERENCE_BODIES: dict[str, Any] = {
    "ModelInfer": {
        "id": "order-17",
        "inputs": [
            {"name": "Review Text", "datatype": "BYTES", "shape": [2], "data": ["Fits perfectly", "Too small"]},
            {"name": "Age", "datatype": "FP64", "shape": [2], "data": [34, None]},
        ],
        "outputs": [{"name": "class"}, {"name": "probabilities"}, {"name": "prediction_id"}],
    },
    "ModelFeedback": {"predictionId": "PREDICTION_ID", "classNames": ["yes"], "source": "shop"},
    "RepositoryIndex": {"ready": True},
    "RepositoryModelLoad": {"parameters": {"config": '{"version_policy": {"specific": {"versions": [1]}}}'}},
    "RepositoryModelUnload": {"parameters": {}},
}  # fmt: skip
"""The same of the Open Inference Protocol, and of feedback beside it."""

NAMES = {
    "project": "default", "dataset": "reviews", "problemSpec": "buy", "labeler": "praise", "labelSet": "first", "model": "buy",
    "version": "1", "alias": "champion", "run": "r-1", "policy": "buy", "regrowth": "1", "key": "KEY_ID", "vote": "1",
    "operation": "OPERATION_ID", "batchPrediction": "first", "deadLetter": "0-17", "region": "images",
}  # fmt: skip
"""By the path's parameter: a name that fits."""

FILTERS = {
    "ListVotes": "gold = true AND NOT class_names:spam",
    "ListRuns": "state = succeeded",
    "ListBatchPredictions": "state = succeeded",
    "ListOperations": "done = false",
}
