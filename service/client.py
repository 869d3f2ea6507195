"""A small HTTP client of a running server, for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

_MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".json": "application/json",
    ".csv": "text/csv",
    ".txt": "text/plain",
}


class ClientError(Exception):
    """The server refused, or cannot be reached; the message is for people."""


def media_type_of(file: Path) -> str:
    """Media type of an input file, by its name.

    Raises:
        ClientError: an ending that no model takes.
    """
    try:
        return _MEDIA_TYPES[file.suffix.lower()]
    except KeyError:
        raise ClientError(
            f"{file}: the ending '{file.suffix}' is unknown; wanted {', '.join(_MEDIA_TYPES)}."
        ) from None


class Client:
    """Asks one server.

    Args:
        url: its address, such as http://127.0.0.1:3000.
        api_key: sent with every request, if the server wants one.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self._url = url.rstrip("/")
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        # A proxy from the environment has no business between a shell and its own server.
        self._http = httpx.Client(base_url=self._url, timeout=600, headers=headers, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let its connections go."""
        self._http.close()

    def choose(self, model: str | None) -> str:
        """The path of a model: `name`, `name@version`, or the only one if None.

        Raises:
            ClientError: None, and there is not exactly one model.
        """
        if model is not None:
            name, at, version = model.partition("@")
            return f"{name}/versions/{version}" if at else name
        index = self._json("POST", "/v2/repository/index")
        names: list[str] = sorted({entry["name"] for entry in index if entry["state"] == "READY"})
        if len(names) != 1:
            raise ClientError(
                f"the server has {len(names)} models ({', '.join(names)}); say which: --model NAME"
            )
        return names[0]

    def infer(self, model: str, body: bytes, media_type: str) -> Any:
        """Predict; the v2 response."""
        headers = {"content-type": media_type}
        return self._json("POST", f"/v2/models/{model}/infer", content=body, headers=headers)

    def act(self, model: str, body: dict[str, Any]) -> Any:
        """Ask a policy; what to do."""
        return self._json("POST", f"/v2/models/{model}/act", json=body)

    def policy(self, model: str) -> Any:
        """What a policy's numbers mean.

        Raises:
            ClientError: the model does not act.
        """
        said = self._json("GET", f"/v2/models/{model}")["parameters"]
        if "policy" not in said:
            raise ClientError(f"{model} can {said['task']}, not act. Name a policy.")
        return said["policy"]

    def explain(self, model: str, body: bytes, media_type: str, parameters: dict[str, Any]) -> Any:
        """Predict and explain; the explanation as JSON."""
        return self._json(
            "POST",
            f"/v2/models/{model}/explain",
            content=body,
            headers={"content-type": media_type},
            params=parameters,
        )

    def explanation(self, explanation_id: str, media_type: str) -> bytes:
        """A recorded explanation in the asked media type."""
        return self._bytes(
            "GET", f"/v2/explanations/{explanation_id}", headers={"accept": media_type}
        )

    def record(self, record_id: str) -> Any:
        """A record with its digest."""
        return self._json("GET", f"/audit/records/{record_id}")

    def ready(self) -> bool:
        """Whether the server says that it is ready."""
        try:
            return self._http.get("/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def _json(self, method: str, path: str, **options: Any) -> Any:
        return self._response(method, path, **options).json()

    def _bytes(self, method: str, path: str, **options: Any) -> bytes:
        return self._response(method, path, **options).content

    def _response(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._answering():
            response = self._http.request(method, path, **options)
        return _sound(response)

    @contextmanager
    def _stream(self, path: str, params: dict[str, Any]) -> Iterator[httpx.Response]:
        """An answer that is read while it comes."""
        with self._answering(), self._http.stream("GET", path, params=params) as response:
            if response.is_error:
                response.read()
            yield _sound(response)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise ClientError(
                f"{self._url} does not answer ({error}). Start it with `glassline serve`, or name "
                "another with --url."
            ) from None


def _sound(response: httpx.Response) -> httpx.Response:
    """The response, unless it is a refusal."""
    if response.is_error:
        try:
            message = response.json()["error"]
        except (ValueError, KeyError, TypeError):
            message = response.text[:500]
        raise ClientError(f"{message} (status {response.status_code})")
    return response
