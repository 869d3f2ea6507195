"""Unmodified `tritonclient[http]` against a running server; prints what it saw as JSON.

Run by `test_tritonclient.py` in an environment of its own: python triton_client.py HOST:PORT
"""

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

MODEL = "lenet-digits"


def main(address: str) -> dict[str, object]:
    """Every call a Triton user makes, with what came back."""
    client = triton.InferenceServerClient(address)
    pixels = np.zeros((2, 1, 32, 32), np.uint8)
    pixels[:, :, 6:26, 14:18] = 255
    seen: dict[str, object] = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(MODEL),
        "version_ready": client.is_model_ready(MODEL, "1"),
        "nobody_ready": client.is_model_ready("nobody"),
        "server": client.get_server_metadata()["name"],
        "inputs": client.get_model_metadata(MODEL)["inputs"],
        "index": client.get_model_repository_index(),
    }

    def tensor(binary: bool) -> triton.InferInput:
        image = triton.InferInput("image", list(pixels.shape), "UINT8")
        image.set_data_from_numpy(pixels, binary_data=binary)
        return image

    answers = {}
    for name, binary_in, binary_out, request_packing, response_packing in [
        ("binary both ways", True, True, None, None),
        ("json both ways", False, False, None, None),
        ("binary in, json out", True, False, None, None),
        ("json in, binary out", False, True, None, None),
        ("gzip both ways", True, True, "gzip", "gzip"),
        ("deflate both ways", True, True, "deflate", "deflate"),
    ]:
        result = client.infer(
            MODEL,
            [tensor(binary_in)],
            outputs=[
                triton.InferRequestedOutput("probabilities", binary_data=binary_out),
                triton.InferRequestedOutput("label", binary_data=binary_out),
            ],
            request_id="shift-2",
            model_version="1",
            request_compression_algorithm=request_packing,
            response_compression_algorithm=response_packing,
        )
        label = result.as_numpy("label")
        answers[name] = {
            "probabilities": result.as_numpy("probabilities").tolist(),
            "labels": [one.decode() if isinstance(one, bytes) else one for one in label],
            "confidence_left_out": result.get_output("confidence") is None,
            "id": result.get_response()["id"],
        }
    seen["answers"] = answers
    everything = client.infer(MODEL, [tensor(True)])
    seen["all_outputs"] = [o["name"] for o in everything.get_response()["outputs"]]
    before = client.get_inference_statistics(MODEL)["model_stats"][0]["inference_count"]
    client.infer(MODEL, [tensor(True)])
    after = client.get_inference_statistics(MODEL)["model_stats"][0]["inference_count"]
    seen["counted"] = after - before
    wrong = triton.InferInput("image", [1, 3, 4], "UINT8")
    wrong.set_data_from_numpy(np.zeros((1, 3, 4), np.uint8))
    try:
        client.infer(MODEL, [wrong])
    except InferenceServerException as error:
        seen["refusal"] = [error.status(), error.message()]
    client.load_model(MODEL)
    seen["ready_after_load"] = client.is_model_ready(MODEL)
    client.close()
    return seen


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))  # noqa: T201 - its caller reads it
