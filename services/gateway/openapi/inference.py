"""The Open Inference Protocol's REST routes as the document has them, from the bindings that the gateway answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from services.gateway.methods import Binding, Method, public_methods
from services.gateway.oip.methods import FEEDBACK, INFER, UNSUPPORTED, inference_methods
from services.gateway.openapi.examples import INFERENCE_BODIES, NAMES
from services.gateway.openapi.inference_schemas import BINARY, FAILURES, OCTETS, ref
from services.gateway.openapi.plain import PlainSchemas
from services.gateway.openapi.schemas import Json, Schemas
from services.gateway.openapi.shared import headers_of
from services.gateway.policy import RULES

TAG = "OpenInferenceProtocol"
ABOUT = (
    "The Open Inference Protocol v2 with Triton's extensions, for the clients that others already use. A model is `reviews`,"
    " or `shop.reviews` of another project than `default`; a version is its number or an alias, the champion without one."
)
_WORDS = {
    "ServerLive": "Whether the server runs.",
    "ServerReady": "Whether the server can predict. 503 where it can't, with the same body.",
    "ModelReady": "Whether a version would answer at once. 503 where it isn't in memory, with the same body.",
    "ServerMetadata": "The server's name and version, and which extensions of the protocol it has.",
    "ModelMetadata": "Inputs and outputs of a version. -1 in a shape is the number of rows.",
    "ModelInfer": (
        "Predicts rows that are sent by column. The body may be compressed (`Content-Encoding: gzip` or `deflate`), and a large"
        f" answer is where `Accept-Encoding` allows it. With the header `{BINARY}` the body is so many bytes of JSON and then"
        " the elements of the tensors that have a `binary_data_size`; where binary outputs are wanted, so is the answer."
    ),
    "ModelConfig": "A version's configuration, as Triton has it.",
    "ModelStatistics": "Counts and times of versions in memory, since each was loaded.",
    "RepositoryIndex": "Lists models and versions that answer, and what an alias waits for.",
    "RepositoryModelLoad": "Loads versions and tries them. Without `config`, the champion.",
    "RepositoryModelUnload": "Frees the versions of a model that were loaded by number. What an alias points to stays.",
}
_SHARED_MEMORY = re.compile("(System|Cuda)SharedMemory")
_FEEDBACK = public_methods()["/regrow.gateway.v1.FeedbackService/BatchSendFeedback"]


def inference_operations(schemas: Schemas, plain: PlainSchemas) -> Iterator[tuple[str, str, Json]]:
    """Path, verb and operation of every route."""
    for method in inference_methods().values():
        for number, binding in enumerate(method.bindings):
            name = method.name + (f"_{number + 1}" if number else "")
            yield _path(binding), binding.verb.lower(), _operation(name, method, binding, plain)
    yield _path(FEEDBACK), FEEDBACK.verb.lower(), _feedback(schemas)


def _operation(name: str, method: Method, binding: Binding, plain: PlainSchemas) -> Json:
    words = _words(method)
    operation = _common(name, words, method, binding)
    operation["responses"] = {**_answers(method, plain), **_failures(method)}
    if (body := _body(method, binding)) is not None:
        operation["requestBody"] = body
    if method.path == INFER:
        operation["parameters"].append({"$ref": "#/components/parameters/InferenceHeader"})
    return operation


def _feedback(schemas: Schemas) -> Json:
    """Ours: one piece of feedback, or many."""
    words = "Commits feedback on a model's predictions. One piece, or many in `feedback`; an event id counts once."
    operation = _common("ModelFeedback", words, _FEEDBACK, FEEDBACK)
    one = schemas.value(_FEEDBACK.request.DESCRIPTOR.fields_by_name["feedback"])
    many = {
        "type": "object", "properties": {"feedback": {"type": "array", "items": one, "minItems": 1}}, "required": ["feedback"],
        "additionalProperties": False,
    }  # fmt: skip
    content: Json = {"schema": {"anyOf": [one, many]}, "example": INFERENCE_BODIES["ModelFeedback"]}
    operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    operation["responses"] = {"200": _answer(ref("EventIds")), **_failures(_FEEDBACK)}
    return operation


def _common(name: str, words: str, method: Method, binding: Binding) -> Json:
    rule = RULES[method.path]
    needs = "Needs no key." if rule.keyless else f"Needs the role `{rule.role}`."
    names = re.findall(r"\{(\w+)\}", _path(binding))
    operation: Json = {
        "operationId": name,
        "tags": [TAG],
        "summary": words.partition(". ")[0].rstrip("."),
        "description": f"{words}\n\n{needs} gRPC: `{method.path[1:]}`.",
        "parameters": [
            *(
                {"name": one, "in": "path", "required": True, "schema": {"type": "string"}, "example": NAMES[one]}
                for one in names
            ),
            {"$ref": "#/components/parameters/RequestId"},
        ],
    }
    return {**operation, "security": []} if rule.keyless else operation


def _path(binding: Binding) -> str:
    """With the names of resources that all paths of the document have."""
    kind = "region" if "/region/" in binding.template else "model"
    return re.sub(r"\{(model_)?name\}", f"{{{kind}}}", binding.template)


def _words(method: Method) -> str:
    if method.name not in UNSUPPORTED:
        return _WORDS[method.name]
    what = _SHARED_MEMORY.match(method.name)
    named = (
        f"{what[1]} shared memory" if what else {"TraceSetting": "Setting traces", "LogSettings": "Setting logs"}[method.name]
    )
    return f"{named} isn't supported. {UNSUPPORTED[method.name]}"


def _body(method: Method, binding: Binding) -> Json | None:
    if method.path == INFER:
        content = {
            "application/json": {"schema": ref("InferenceRequest"), "example": INFERENCE_BODIES[method.name]},
            OCTETS: {"schema": {}},
        }
        return {"required": True, "content": content}
    if method.name in UNSUPPORTED or binding.verb == "GET":
        return None
    return {"content": {"application/json": {"schema": ref(f"{method.name}Body"), "example": INFERENCE_BODIES[method.name]}}}


def _answers(method: Method, plain: PlainSchemas) -> Mapping[str, Json]:
    if method.name in UNSUPPORTED:
        return {}
    if method.path == INFER:
        answer = _answer(ref("InferenceResponse"), BINARY)
        answer["content"][OCTETS] = {"schema": {}}
        return {"200": answer}
    schema = _schema(method, plain)
    if "ready" not in method.response.DESCRIPTOR.fields_by_name:
        return {"200": _answer(schema)}
    unready = {**_answer({"anyOf": [schema, ref("InferenceError")]}), "description": "Not ready, or it can't be told."}
    return {"200": _answer(schema), "503": unready}


def _schema(method: Method, plain: PlainSchemas) -> Json:
    """Of an answer in JSON: most are the message as it is."""
    fields = method.response.DESCRIPTOR.fields_by_name
    if method.name == "ServerReady":
        return ref("ServerReadiness")
    if method.name == "ModelConfig":
        return plain.message(fields["config"].message_type)
    if method.name == "RepositoryIndex":
        return {"type": "array", "items": plain.message(fields["models"].message_type)}
    return plain.message(method.response.DESCRIPTOR)


def _answer(schema: Json, *headers: str) -> Json:
    content = {"application/json": {"schema": schema}}
    return {"description": "Done.", "headers": headers_of("X-Request-Id", *headers), "content": content}


def _failures(method: Method) -> Json:
    if RULES[method.path].keyless:
        codes = {"default"}
    elif method.name in UNSUPPORTED:
        codes = {"401", "403", "429", "501", "503", "default"}
    else:
        codes = {"400", "401", "403", "404", "429", "503", "default"}
    if "ready" in method.response.DESCRIPTOR.fields_by_name:
        codes -= {"503"}
    found = (name.rpartition(".")[2] for name in FAILURES)
    return {code: {"$ref": f"#/components/responses/inference.{code}"} for code in found if code in codes}
