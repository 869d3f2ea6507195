"""MLServer with a custom runtime, in one process: its fastest way for small models."""

from __future__ import annotations

import asyncio

from graph import PORT, open_session
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import install_uvloop_event_loop


class OnnxModel(MLModel):
    """The graph, behind MLServer's codecs."""

    async def load(self) -> bool:
        """Open the graph."""
        self._session = open_session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run the graph on the first input."""
        image = NumpyCodec.decode_input(payload.inputs[0])
        (probabilities,) = self._session.run(["probabilities"], {"image": image})
        output = NumpyCodec.encode_output("probabilities", probabilities)
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main() -> None:
    """Serve until stopped; the two ports after ours are gRPC's and that of the metrics."""
    settings = Settings(
        debug=False,
        parallel_workers=0,
        host="127.0.0.1",
        http_port=PORT,
        grpc_port=PORT + 1,
        metrics_port=PORT + 2,
        logging_settings={"version": 1, "disable_existing_loggers": True},
    )
    server = MLServer(settings)
    await server.start([ModelSettings(name="bench", implementation=OnnxModel)])


if __name__ == "__main__":
    install_uvloop_event_loop()
    asyncio.run(main())
