"""Who is measured, and how each is asked. One worker each, the same graph, the same picture."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime as ort
import orjson
from numpy.typing import NDArray

from tests.bench.subjects import CORES, MODEL
from tests.bench.venvs import REPOSITORY, python_with

SERVERS_FOLDER = REPOSITORY / "tests/bench/servers"
Image = NDArray[np.uint8]
Body = tuple[bytes, dict[str, str]]
_JSON = {"Content-Type": "application/json"}
_OCTETS = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Form:
    """One way of asking: where, with what body, and where the probabilities are in the answer."""

    name: str
    path: str
    body: Callable[[Image], Body]
    probabilities: Callable[[httpx.Response], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Server:
    """A program that serves the graph.

    `requirements` empty = ours, run by this interpreter. `explaining` = explanations run all
    the while it is measured. `group` is what --only selects by, besides the name.
    """

    name: str
    group: str
    forms: tuple[Form, ...]
    arguments: tuple[str, ...]
    requirements: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    explaining: bool = False
    least_cores: int = 1

    def interpreter(self) -> Path:
        """The Python that runs it.

        Raises:
            NotInstalled: its environment cannot be made.
        """
        if not self.requirements:
            return Path(sys.executable)
        return python_with(self.group, self.requirements)

    @property
    def folder(self) -> Path:
        """Where it runs."""
        return SERVERS_FOLDER if self.requirements else REPOSITORY


def _tensor(image: Image, **more: Any) -> dict[str, Any]:
    return {"name": "image", "shape": list(image.shape), "datatype": "UINT8", **more}


def _v2_json(image: Image) -> Body:
    document = {
        "inputs": [_tensor(image, data=image.reshape(-1))],
        "outputs": [{"name": "probabilities"}],
    }
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), _JSON


def _v2_binary(image: Image) -> Body:
    document = {
        "inputs": [_tensor(image, parameters={"binary_data_size": image.nbytes})],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
    }
    head = orjson.dumps(document)
    return head + image.tobytes(), {**_OCTETS, "Inference-Header-Content-Length": str(len(head))}


def _raw(image: Image) -> Body:
    return image.tobytes(), _OCTETS


def _nested(image: Image) -> Body:
    return orjson.dumps({"image": image}, option=orjson.OPT_SERIALIZE_NUMPY), _JSON


def _from_v2_json(response: httpx.Response) -> NDArray[Any]:
    return np.array(response.json()["outputs"][0]["data"], np.float32).reshape(-1)


def _from_v2_binary(response: httpx.Response) -> NDArray[Any]:
    size = int(response.headers["inference-header-content-length"])
    return np.frombuffer(response.content[size:], "<f4")


def _from_raw(response: httpx.Response) -> NDArray[Any]:
    return np.frombuffer(response.content, "<f4")


def _from_nested(response: httpx.Response) -> NDArray[Any]:
    return np.array(response.json(), np.float32).reshape(-1)


_INFER = f"/v2/models/{MODEL}/infer"
_OURS = (
    Form("binary", _INFER, _v2_binary, _from_v2_binary),
    Form("json", _INFER, _v2_json, _from_v2_json),
)
_V2 = (Form("json", "/json", _v2_json, _from_v2_json),)
_RUN = ("-c", "from service.cli import main; main()", "serve")
_UVICORN = ("uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0")
#: The very runtime that ours has, so that only the servers differ.
_RUNTIME = (f"onnxruntime=={ort.__version__}", f"numpy=={np.__version__}")


def ours(recording: str) -> list[Server]:
    """Our variants.

    Args:
        recording: `off`, `on` or `both`: whether each prediction is made durable first.
    """
    off = {"GLASSLINE_RECORD_PREDICTIONS": "none", "GLASSLINE_WORKERS": "1"}
    on = {**off, "GLASSLINE_RECORD_PREDICTIONS": "all"}
    two = {**off, "GLASSLINE_WORKERS": "2"}
    found = []
    if recording in ("off", "both"):
        found.append(Server("ours", "ours", _OURS, _RUN, environment=off))
        found.append(
            Server("ours-explaining", "ours", _OURS[:1], _RUN, environment=off, explaining=True)
        )
        found.append(
            Server("ours-2-workers", "ours", _OURS[:1], _RUN, environment=two, least_cores=4)
        )
    if recording in ("on", "both"):
        found.append(Server("ours-recording", "ours", _OURS, _RUN, environment=on))
    return found


COMPETITORS = (
    Server(
        "starlette", "starlette",
        (Form("binary", "/bytes", _raw, _from_raw), *_V2),
        ("starlette_plain.py",),
        ("starlette==1.10.0", "orjson==3.13.0", *_UVICORN, *_RUNTIME),
    ),
    Server(
        "fastapi", "fastapi", _V2, ("fastapi_json.py",),
        ("fastapi==0.165.0", *_UVICORN, *_RUNTIME),
    ),
    Server(
        "bentoml", "bentoml",
        (Form("json", "/infer", _nested, _from_nested),),
        ("-m", "bentoml", "serve", "bentoml_native:Native", "--port", "{port}"),
        # As installed: BentoML does not pull uvloop or httptools.
        ("bentoml==1.4.39", *_RUNTIME),
    ),
    Server(
        "litserve", "litserve", _V2, ("litserve_json.py",), ("litserve==0.2.19", *_RUNTIME)
    ),
    Server(
        "mlserver", "mlserver",
        (Form("json", f"/v2/models/{MODEL}/infer", _v2_json, _from_v2_json),),
        ("mlserver_v2.py",),
        ("mlserver==1.7.1", *_RUNTIME),
    ),
)  # fmt: skip

#: No server at all: the ceiling. It lives in Starlette's environment.
RAW = Server("onnxruntime", "onnxruntime", (), ("raw_onnxruntime.py",), COMPETITORS[0].requirements)


def environment(server: Server, graph: Path, threads: int, port: int, home: Path) -> dict[str, str]:
    """Every variable that a server is started with; nothing of the caller's settings."""
    dropped = ("GLASSLINE_", "BENTOML", "PYTHONDONTWRITEBYTECODE")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    return {
        **inherited,
        "BENCH_GRAPH": str(graph),
        "BENCH_THREADS": str(threads),
        "BENCH_PORT": str(port),
        "BENTOML_HOME": str(home / "bentoml-native"),
        "BENTOML_DO_NOT_TRACK": "True",
        "GLASSLINE_HOME": str(home),
        "GLASSLINE_PORT": str(port),
        "PYTHONUNBUFFERED": "1",
        **server.environment,
    }


def chosen(names: list[str], recording: str) -> list[Server]:
    """The servers to measure, in the order of measuring.

    Args:
        names: of servers or groups; empty = all that this machine has cores for.
        recording: see `ours`.

    Raises:
        ValueError: a name is nobody's.
    """
    known = [*ours(recording), *COMPETITORS, RAW]
    both = {name for server in known for name in (server.name, server.group)}
    if unknown := set(names) - both:
        raise ValueError(f"--only: got {sorted(unknown)}, wanted some of {sorted(both)}.")
    if not names:
        return [server for server in known if server.least_cores <= CORES]
    return [
        server
        for server in known
        if server.name in names or (server.group in names and server.least_cores <= CORES)
    ]
