"""The time of a checkpoint, by somebody who has no part in it: RFC 3161.

The text of the signed note is stamped. Whoever trusts the authority checks it with
`openssl ts -verify`; that the answer is about this text is checked here.
"""

from __future__ import annotations

import hashlib
from typing import Final

import httpx

from service.audit.checkpoint import SignedNote
from service.errors import Unavailable

_TYPE: Final = "application/timestamp-query"
#: Answers are some kilobytes: a signature and its certificates.
_LARGEST: Final = 1 << 20


def stamped(note: SignedNote, url: str, timeout_s: float = 10.0) -> bytes:
    """Ask a time-stamp authority about a checkpoint.

    Args:
        note: the checkpoint.
        url: of the authority.
        timeout_s: how long it may take.

    Returns:
        Its TimeStampResp, DER.

    Raises:
        Unavailable: it does not answer, refuses, or answers another question.
    """
    try:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response
    except ImportError:
        raise Unavailable(
            "time-stamp: needs the extra `timestamp`: pip install 'glassline[timestamp]'."
        ) from None
    text = note.text.encode()
    asked = TimestampRequestBuilder().data(text).hash_algorithm(HashAlgorithm.SHA256).build()
    try:
        answer = httpx.post(
            url, content=asked.as_bytes(), headers={"content-type": _TYPE}, timeout=timeout_s
        )
        answer.raise_for_status()
        said = decode_timestamp_response(answer.content[:_LARGEST])
        granted, info = said.status in (0, 1), said.tst_info
    except (httpx.HTTPError, ValueError) as error:
        raise Unavailable(f"time-stamp: {url} gives none ({error}).") from None
    if not granted or info.message_imprint.message != hashlib.sha256(text).digest():
        raise Unavailable(f"time-stamp: {url} refuses (status {said.status}), or stamps another.")
    if info.nonce != asked.nonce:
        raise Unavailable(f"time-stamp: {url} gives an old answer: its nonce is another.")
    return answer.content
