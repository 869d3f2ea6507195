"""FastAPI as its tutorial has it: pydantic in, pydantic out, the v2 JSON form."""

from __future__ import annotations

import numpy as np
import uvicorn
from fastapi import FastAPI
from graph import PORT, open_session
from pydantic import BaseModel

session = open_session()
app = FastAPI()


class InputTensor(BaseModel):
    """One input."""

    name: str
    shape: list[int]
    datatype: str
    data: list[int]


class InferRequest(BaseModel):
    """What is asked."""

    inputs: list[InputTensor]


class OutputTensor(BaseModel):
    """One output."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class InferResponse(BaseModel):
    """What is answered."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]


@app.post("/json")
async def infer(request: InferRequest) -> InferResponse:
    """Run the graph on the first input."""
    tensor = request.inputs[0]
    image = np.array(tensor.data, np.uint8).reshape(tensor.shape)
    (probabilities,) = session.run(["probabilities"], {"image": image})
    output = OutputTensor(
        name="probabilities",
        shape=list(probabilities.shape),
        datatype="FP32",
        data=probabilities.ravel().tolist(),
    )
    return InferResponse(model_name="bench", model_version="1", outputs=[output])


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, loop="uvloop", http="httptools", access_log=False)
