"""KServe's Python server with the model of `benchmarks/inference.py`: arguments are the graph and the two ports."""

import sys

import numpy as np
import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

GRAPH, HTTP, GRPC = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.argv[1:] = []


class Table(Model):
    """Columns to probabilities and a class."""

    def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(GRAPH, options)
        self.columns = [f"c{number}" for number in range(4)]
        self.classes = np.array([b"ham", b"spam"], dtype=np.object_)
        self.ready = True
        return True

    def predict(
        self, payload: InferRequest, headers: dict | None = None, response_headers: dict | None = None
    ) -> InferResponse:
        cells = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        table = np.stack([cells[name] for name in self.columns], axis=1)
        probabilities = self.session.run(None, {"table": table})[0]
        decided = InferOutput("class", [len(table)], "BYTES")
        decided.set_data_from_numpy(self.classes[probabilities.argmax(axis=1)], binary_data=payload.from_grpc)
        told = InferOutput("probabilities", list(probabilities.shape), "FP32")
        told.set_data_from_numpy(probabilities, binary_data=payload.from_grpc)
        return InferResponse(response_id=payload.id or "1", model_name=self.name, infer_outputs=[decided, told])


if __name__ == "__main__":
    model = Table("shop.bench")
    model.load()
    ModelServer(http_port=HTTP, grpc_port=GRPC, workers=1).start([model])
