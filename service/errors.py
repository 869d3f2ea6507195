"""The one error tree of Glassline.

No HTTP here: `service/app.py` maps each class to a status. A message reads
*where, got, wanted, remedy*, because the caller sees it word for word.
"""

from __future__ import annotations


class GlasslineError(Exception):
    """Base of everything Glassline raises on purpose."""


class InvalidRequest(GlasslineError):
    """The caller sent something that no retry will make right."""


class MalformedBody(InvalidRequest):
    """The bytes do not parse as what they claim to be."""


class TensorMismatch(InvalidRequest):
    """A request tensor does not fit the manifest: name, datatype, shape, element count or range."""


class InvalidParameter(InvalidRequest):
    """A request parameter is unknown, of the wrong type, or outside its range."""


class ExplanationError(InvalidRequest):
    """This input cannot be explained in the way that was asked for."""


class CalibrationError(InvalidRequest):
    """A false-alarm budget cannot be kept with these scores."""


class GalleryError(InvalidRequest):
    """Vectors cannot be compared as they stand: of another model, dimension or kind."""


class UnsupportedMediaType(InvalidRequest):
    """The body's media type is not one that the model's manifest can decode."""


class NotAcceptable(InvalidRequest):
    """None of the media types in `Accept` can be produced here."""


class TooLarge(InvalidRequest):
    """A body, an image or a batch exceeds its configured limit."""


class SlowBody(InvalidRequest):
    """The body did not arrive in time."""


class TooManyHeaders(InvalidRequest):
    """The request has more header fields than are accepted."""


class EvidenceError(InvalidRequest):
    """A proof, a signature or a signed document does not parse, or does not hold."""


class StreamRefused(InvalidRequest):
    """Rows of a stream, or its model, cannot be what they are said to be."""


class NotFound(GlasslineError):
    """Nothing has this name or id."""


class UnknownModel(NotFound):
    """No model of this name or version is in the store."""


class UnknownRecord(NotFound):
    """No record or explanation has this id."""


class UnknownStream(NotFound):
    """No rows of this stream have come yet, or it was forgotten."""


class UnknownAlarm(NotFound):
    """No alarm has this id."""


class Unauthenticated(GlasslineError):
    """Nobody knows who is asking: no API key, or none that is known."""


class Forbidden(GlasslineError):
    """The one who asks is known, and may not."""


class Conflict(GlasslineError):
    """The request is sound, but the present state of the thing it names forbids it."""


class Unavailable(GlasslineError):
    """Glassline cannot answer now; a later try may succeed."""


class NoOwner(Unavailable):
    """No process owns the streams at this moment; nothing of the request was done."""


class Overloaded(Unavailable):
    """A bounded queue is full. `retry_after_s` says when a retry is worth it."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(Unavailable):
    """The work was not done within its time budget."""


class StoreError(GlasslineError):
    """A model cannot be stored as it stands: bad name, taken version, missing file."""


class CorruptModel(Unavailable):
    """A stored model does not match its digests and is refused."""


class CorruptLog(Unavailable):
    """The stored log is not what it must be: a node of its tree is missing or damaged."""


class CorruptStream(Conflict):
    """The saved state of a stream is damaged, or belongs to another model."""


class KeyRefused(GlasslineError):
    """A signing key cannot be used as it stands: readable by others, malformed, retired."""


class ReleaseRefused(GlasslineError):
    """The release gate found a difference between the trained and the exported model."""
