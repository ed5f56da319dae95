"""The model of `benchmarks/inference.py` for MLServer, which imports it by the name in `model-settings.json`."""

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Table(MLModel):
    """Columns to probabilities and a class."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        self.columns = [f"c{number}" for number in range(4)]
        self.classes = ["ham", "spam"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        cells = {tensor.name: tensor.data.root for tensor in payload.inputs}
        table = np.array([cells[name] for name in self.columns], dtype=np.float32).T
        probabilities = self.session.run(None, {"table": np.ascontiguousarray(table)})[0]
        decided = [self.classes[index] for index in probabilities.argmax(axis=1)]
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            id=payload.id,
            outputs=[
                ResponseOutput(name="class", shape=[len(table)], datatype="BYTES", data=decided),
                ResponseOutput(
                    name="probabilities", shape=list(probabilities.shape), datatype="FP32", data=probabilities.ravel().tolist()
                ),
            ],
        )
