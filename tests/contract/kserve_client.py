"""The unmodified KServe SDK against a running server; prints what it saw as JSON.

Run by `test_kserve.py` in an environment of its own: python kserve_client.py URL
"""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

MODEL = "lenet-digits"


async def main(url: str) -> dict[str, object]:
    """Every call a KServe user makes, with what came back."""
    pixels = np.zeros((1, 1, 32, 32), np.uint8)
    pixels[:, :, 6:26, 14:18] = 255
    v2 = InferenceRESTClient(RESTConfig(protocol="v2", retries=1, timeout=60))
    v1 = InferenceRESTClient(RESTConfig(protocol="v1", retries=1, timeout=60))
    seen: dict[str, object] = {
        "live": await v2.is_server_live(url),
        "ready": await v2.is_server_ready(url),
        "model_ready": await v2.is_model_ready(url, MODEL),
    }
    answers = {}
    for name, binary in (("json", False), ("binary", True)):
        image = InferInput("image", list(pixels.shape), "UINT8")
        image.set_data_from_numpy(pixels, binary_data=binary)
        request = InferRequest(model_name=MODEL, infer_inputs=[image], request_id=name)
        response = await v2.infer(url, request, model_name=MODEL)
        by_name = {output.name: output for output in response.outputs}
        answers[name] = {
            "id": response.id,
            "probabilities": by_name["probabilities"].as_numpy().tolist(),
            "label": [str(label) for label in by_name["label"].as_numpy().ravel()],
        }
    seen["answers"] = answers
    instances = {"instances": pixels.tolist()}
    predicted = await v1.infer(url, instances, model_name=MODEL)
    seen["v1_labels"] = [one["label"] for one in predicted["predictions"]]
    explained = await v1.explain(
        url, model_name=MODEL, data={**instances, "parameters": {"num_samples": 100}}
    )
    seen["v1_explained"] = explained["explanations"][0]["explanation"]["explanations"][0]["name"]
    try:
        await v1.infer(url, {"instances": [[1, 2]]}, model_name=MODEL)
    except httpx.HTTPStatusError as error:
        seen["refusal"] = error.response.status_code
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1]))))  # noqa: T201 - its caller reads it
