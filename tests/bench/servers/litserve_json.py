"""LitServe with one API process and one inference worker."""

from typing import Any

import litserve
import numpy as np
from graph import PORT, open_session


class Api(litserve.LitAPI):
    """The v2 JSON form, unchecked."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Open the graph in the worker."""
        self.session = open_session()

    def decode_request(self, request) -> np.ndarray:  # type: ignore[no-untyped-def]
        """The pixels. LitServe reads annotations: without one the body comes as parsed JSON."""
        tensor = request["inputs"][0]
        return np.array(tensor["data"], np.uint8).reshape(tensor["shape"])

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Run the graph."""
        answer: np.ndarray = self.session.run(["probabilities"], {"image": x})[0]
        return answer

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        """The answer."""
        tensor = {
            "name": "probabilities",
            "datatype": "FP32",
            "shape": list(output.shape),
            "data": output.ravel().tolist(),
        }
        return {"model_name": "bench", "model_version": "1", "outputs": [tensor]}


if __name__ == "__main__":
    server = litserve.LitServer(Api(api_path="/json"), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=PORT,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
