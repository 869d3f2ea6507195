"""Plain Starlette and ONNX Runtime: raw bytes on `/bytes`, orjson on `/json`. The yardstick."""

from __future__ import annotations

import numpy as np
import orjson
import uvicorn
from graph import PORT, open_session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

session = open_session()
shape = [1, *session.get_inputs()[0].shape[1:]]


async def infer_bytes(request: Request) -> Response:
    """UINT8 pixels in, FP32 probabilities out, nothing around them."""
    image = np.frombuffer(await request.body(), np.uint8).reshape(shape)
    (probabilities,) = session.run(["probabilities"], {"image": image})
    return Response(probabilities.tobytes(), media_type="application/octet-stream")


async def infer_json(request: Request) -> Response:
    """The v2 request and answer, unchecked."""
    tensor = orjson.loads(await request.body())["inputs"][0]
    image = np.array(tensor["data"], np.uint8).reshape(tensor["shape"])
    (probabilities,) = session.run(["probabilities"], {"image": image})
    output = {
        "name": "probabilities",
        "datatype": "FP32",
        "shape": probabilities.shape,
        "data": probabilities.reshape(-1),
    }
    answer = {"model_name": "bench", "model_version": "1", "outputs": [output]}
    body = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")


app = Starlette(
    routes=[
        Route("/bytes", infer_bytes, methods=["POST"]),
        Route("/json", infer_json, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, loop="uvloop", http="httptools", access_log=False)
