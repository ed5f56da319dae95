"""What a version looks like to the protocol: its tensors, its configuration, its statistics."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from services.gateway.inference.loading import Loaded
from services.gateway.inference.tally import Spent, Tally
from services.gateway.oip import names
from services.gateway.oip.stubs import grpc_service_pb2, model_config_pb2
from services.gateway.oip.tensors import MOST_ROWS

PLATFORM, BACKEND = "onnxruntime_onnx", "onnxruntime"
_ANY = -1
_DATATYPE = {"numeric": "FP64", "boolean": "BOOL"}
"""By the kind of a column. Texts, categories and times are BYTES."""
_TYPE = {
    "FP64": model_config_pb2.TYPE_FP64, "FP32": model_config_pb2.TYPE_FP32, "BOOL": model_config_pb2.TYPE_BOOL,
    "BYTES": model_config_pb2.TYPE_STRING,
}  # fmt: skip


def metadata(loaded: Loaded, versions: Iterable[int]) -> grpc_service_pb2.ModelMetadataResponse:
    """Inputs and outputs; -1 is the number of rows."""
    found = grpc_service_pb2.ModelMetadataResponse(
        name=names.written(loaded.target.name), versions=[str(number) for number in versions], platform=PLATFORM
    )
    for name, datatype in _inputs(loaded):
        found.inputs.add(name=name, datatype=datatype, shape=[_ANY])
    for name, datatype, dims in _outputs(loaded):
        found.outputs.add(name=name, datatype=datatype, shape=[_ANY, *dims])
    return found


def config(loaded: Loaded, versions: Iterable[int], threads: int) -> model_config_pb2.ModelConfig:
    """Triton's model configuration, as far as it means something here.

    Its shapes are those of the metadata: with a `max_batch_size` Triton's rules put a dimension before `dims`, and a column of
    rows would have two. So it has none, and the most rows of a request are a parameter.
    """
    manifest = loaded.bundle.manifest
    found = model_config_pb2.ModelConfig(name=names.written(loaded.target.name), platform=PLATFORM, backend=BACKEND)
    found.version_policy.specific.versions.extend(versions)
    for name, datatype in _inputs(loaded):
        found.input.add(name=name, data_type=_TYPE[datatype], dims=[_ANY], optional=True)
    for name, datatype, dims in _outputs(loaded):
        found.output.add(name=name, data_type=_TYPE[datatype], dims=[_ANY, *dims])
    found.instance_group.add(name="cpu", count=threads, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    texts = {
        "classes": orjson.dumps(list(manifest.spec.class_names)).decode(), "task": str(manifest.spec.task),
        "metric": str(manifest.spec.metric), "heads": orjson.dumps(list(manifest.heads)).decode(),
        "problem_spec": manifest.spec.name, "digest": loaded.target.digest, "most_rows": str(MOST_ROWS),
    }  # fmt: skip
    for name, text in texts.items():
        found.parameters[name].string_value = text
    return found


def statistics(loaded: Loaded) -> grpc_service_pb2.ModelStatistics:
    """Counts and times since the version was loaded, through whichever door it was asked."""
    tally = loaded.tally
    found = grpc_service_pb2.ModelStatistics(
        name=names.written(loaded.target.name), version=str(loaded.target.number), last_inference=tally.last_ms,
        inference_count=tally.rows, execution_count=tally.executions, inference_stats=_inference(tally),
    )  # fmt: skip
    for rows, (reading, computing) in sorted(tally.batches.items()):
        found.batch_stats.add(batch_size=rows, compute_input=_spent(reading), compute_infer=_spent(computing))
    found.memory_usage.add(type="CPU", id=0, byte_size=loaded.weight.total)
    return found


def _inference(tally: Tally) -> grpc_service_pb2.InferStatistics:
    return grpc_service_pb2.InferStatistics(
        success=_spent(tally.succeeded), fail=_spent(tally.failed), queue=_spent(tally.queued),
        compute_input=_spent(tally.read), compute_infer=_spent(tally.computed), compute_output=_spent(tally.answered),
        cache_hit=_spent(Spent()), cache_miss=_spent(Spent()),
    )  # fmt: skip


def _spent(spent: Spent) -> grpc_service_pb2.StatisticDuration:
    return grpc_service_pb2.StatisticDuration(count=spent.count, ns=spent.ns)


def _inputs(loaded: Loaded) -> list[tuple[str, str]]:
    return [(column.name, _DATATYPE.get(column.kind, "BYTES")) for column in loaded.bundle.manifest.inputs]


def _outputs(loaded: Loaded) -> list[tuple[str, str, list[int]]]:
    classes = len(loaded.bundle.spec.class_names)
    return [("class", "BYTES", []), ("probabilities", "FP32", [classes]), ("prediction_id", "BYTES", [])]
