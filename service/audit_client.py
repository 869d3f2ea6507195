"""The client of an auditor: searches, replays, reviews, evidence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from service.client import Client, ClientError

#: Told how many bytes have come.
Told = Callable[[int], None]


class AuditClient(Client):
    """Asks one server about its records; see `Client`."""

    def find(self, filters: Mapping[str, Any], limit: int | None = None) -> Iterator[Any]:
        """Records that a search finds, page by page.

        Args:
            filters: of `GET /audit/records`; None values are left out.
            limit: at most so many; None = all.
        """
        asked = {name: value for name, value in filters.items() if value is not None}
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            size = 500 if left is None else min(left, 500)
            page = asked | {"limit": size} | ({"cursor": cursor} if cursor else {})
            said = self._json("GET", "/audit/records", params=page)
            yield from said["records"]
            cursor = said["next"]
            if cursor is None:
                return
            if left is not None:
                left -= len(said["records"])

    def download(self, path: str, params: Mapping[str, Any], target: Path, told: Told) -> None:
        """Write an answer into a file, whole or not at all.

        Raises:
            ClientError: the server refused, or the answer broke off, or the file cannot be written.
        """
        asked = {name: value for name, value in params.items() if value is not None}
        part = target.with_name(f"{target.name}.part")
        try:
            with self._stream(path, asked) as response, part.open("wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    told(len(chunk))
            os.replace(part, target)
        except OSError as error:
            raise ClientError(f"{target}: cannot be written ({error.strerror}).") from None
        finally:
            part.unlink(missing_ok=True)

    def replay(self, record_id: str) -> Any:
        """Do again what a record tells of; what came out."""
        return self._json("POST", f"/audit/records/{record_id}/replay")

    def review(self, record_id: str, said: Mapping[str, Any]) -> Any:
        """Put a review, override or correction beside a record."""
        return self._json("POST", f"/audit/records/{record_id}/reviews", json=dict(said))

    def erase(self, record_id: str, reason: str) -> Any:
        """Erase the payloads of a record."""
        path = f"/audit/records/{record_id}/payloads"
        return self._json("DELETE", path, params={"reason": reason})

    def checkpoint(self) -> str:
        """The log's newest signed checkpoint."""
        return self._response("GET", "/audit/checkpoint").text


def replayable(record: Mapping[str, Any]) -> bool:
    """Whether a found record is one that can be done again."""
    return record["kind"] in ("prediction", "explanation")
