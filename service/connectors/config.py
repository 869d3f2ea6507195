"""The bridge's configuration: one TOML file, read once and then frozen."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.connectors.topics import Pattern, slots
from service.errors import InvalidParameter

PASSWORD = "GLASSLINE_MQTT_PASSWORD"
API_KEY = "GLASSLINE_API_KEY"
#: The level of a topic that names a sensor.
SENSOR = "sensor"


def _pattern(text: str) -> str:
    try:
        Pattern(text)
    except InvalidParameter as error:
        raise ValueError(str(error)) from None
    return text


def _prefix(text: str) -> str:
    if not text or set(text) & set("+#\0") or text.startswith(("/", "$")) or text.endswith("/"):
        raise ValueError("wanted a topic without +, #, and without / at its ends")
    return text


Topic = Annotated[str, AfterValidator(_pattern)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Broker(_Part):
    """The MQTT broker and how to be known to it."""

    host: str = Field(min_length=1)
    port: int = Field(1883, ge=1, le=65535)
    protocol: Literal["5", "3.1.1"] = "5"
    client_id: str = Field(
        "glassline-bridge", min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.-]+$"
    )
    username: str = ""
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    keepalive_s: int = Field(30, ge=5, le=3600)
    session_days: float = Field(7.0, gt=0, le=365)
    in_flight: int = Field(200, ge=1, le=65_535)
    #: A broker that dies has acknowledged what it had not saved; that is published again.
    resend_s: float = Field(5.0, ge=0, le=60)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        if (self.ca_file or self.cert_file) and not self.tls:
            raise ValueError("ca_file and cert_file want tls = true")
        if self.password_file and not self.username:
            raise ValueError("password_file wants a username")
        return self


class Server(_Part):
    """The running Glassline."""

    url: str = Field("http://127.0.0.1:3000", pattern=r"^https?://[^/\s]+[^\s]*$")
    api_key_file: Path | None = None
    timeout_s: float = Field(30.0, gt=0, le=600)
    concurrency: int = Field(8, ge=1, le=64)
    #: A stream knows so many of its last rows again, and answers them as it did: beyond, rows
    #: whose answer was lost would come back as late.
    batch_rows: int = Field(64, ge=1, le=64)


class Store(_Part):
    """Inbox and outbox on disk."""

    file: Path = Path("bridge.db")
    inbox: int = Field(200_000, ge=1, description="Messages kept; beyond, the broker keeps them.")
    payload_bytes: int = Field(1_048_576, ge=64, le=64 * 1024 * 1024)
    remember_days: float = Field(7.0, gt=0, le=365)


class Publish(_Part):
    """What goes back to the broker."""

    prefix: Annotated[str, AfterValidator(_prefix)] = "glassline"
    verdicts: bool = True
    alarms: bool = True
    status_s: float = Field(10.0, ge=0.5, le=3600)


class Meters(_Part):
    """Where the bridge's own metrics are."""

    port: int = Field(0, ge=0, le=65535)
    host: str = "127.0.0.1"
    textfile: Path | None = None


class Join(_Part):
    """How single values, each on the topic of its sensor, become rows."""

    #: By the model's names; a row with all of them is whole.
    sensors: tuple[str, ...] = Field(min_length=1, max_length=1000)
    value_field: str = Field("value", min_length=1)
    #: So long, by the times of the values, is waited for what lacks.
    wait_s: float = Field(2.0, ge=0, le=3600)
    #: 0: values of one time are a row. Else a row at every multiple, of the last values.
    period_s: float = Field(0.0, ge=0, le=86_400)
    #: A last value that is older is no value any more.
    hold_s: float = Field(60.0, ge=0)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if len(set(self.sensors)) != len(self.sensors) or {"", "time"} & set(self.sensors):
            raise ValueError("sensors: wanted names, each once, and none called 'time'")
        if self.period_s and not 0.001 <= self.period_s:
            raise ValueError("period_s: wanted 0.001 or more, or 0")
        if self.period_s and max(self.hold_s, self.wait_s) > 1000 * self.period_s:
            raise ValueError("hold_s and wait_s: wanted at most 1000 times period_s")
        return self


class Subscription(_Part):
    """Topics whose messages are rows of streams."""

    topic: Topic
    model: str = Field(min_length=1, max_length=200)
    stream: str = Field(min_length=1, max_length=200)
    is_historical: bool = False
    historical_after_s: float = Field(0.0, ge=0)
    time_field: str = Field("time", min_length=1)
    time_unit: Literal["rfc3339", "s", "ms", "us", "ns"] = "rfc3339"
    values_field: str = ""
    rename: dict[str, str] = {}
    join: Join | None = None

    @property
    def made(self) -> Self:
        """How rows are read that the bridge itself made of single values."""
        if self.join is None:
            return self
        plain = {"time_field": "time", "time_unit": "rfc3339"}
        return self.model_copy(update={**plain, "rename": {}, "join": None})

    @model_validator(mode="after")
    def _joins(self) -> Self:
        if (SENSOR in Pattern(self.topic).names) != (self.join is not None):
            raise ValueError(
                "a topic with a level {sensor} wants join = { sensors = [...] }, and the other way "
                "round"
            )
        if self.join is not None and self.values_field:
            raise ValueError("values_field is of whole rows, and join of single values")
        return self

    @model_validator(mode="after")
    def _named(self) -> Self:
        known = set(Pattern(self.topic).names) - {SENSOR}
        for template in (self.model, self.stream):
            if missing := sorted(set(slots(template)) - known):
                raise ValueError(
                    f"'{template}' asks for {{{missing[0]}}}, and topic '{self.topic}' names no "
                    "such level"
                )
        return self


class Feedback(_Part):
    """Where operators say what an alarm was."""

    topic: Topic


class Config(_Part):
    """All of it."""

    broker: Broker
    server: Server = Server()
    store: Store = Store()
    publish: Publish = Publish()
    metrics: Meters = Meters()
    subscribe: tuple[Subscription, ...] = Field(min_length=1)
    feedback: Feedback | None = None

    @property
    def filters(self) -> tuple[str, ...]:
        """What the broker is asked for, each once."""
        texts = [one.topic for one in self.subscribe]
        texts += [self.feedback.topic] if self.feedback else []
        return tuple(dict.fromkeys(Pattern(text).filter for text in texts))

    @property
    def status_topic(self) -> str:
        """The retained topic of the bridge's own state."""
        return f"{self.publish.prefix}/bridge/{self.broker.client_id}/status"

    @property
    def dead_letter_topic(self) -> str:
        """Where messages go that cannot become rows, with the reason."""
        return f"{self.publish.prefix}/dead-letter"

    def password(self) -> str | None:
        """The broker's password: of its file, else of the environment."""
        return _secret(self.broker.password_file, PASSWORD)

    def api_key(self) -> str | None:
        """The server's API key: of its file, else of the environment."""
        return _secret(self.server.api_key_file, API_KEY)


def _secret(file: Path | None, variable: str) -> str | None:
    if file is None:
        return os.environ.get(variable)
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidParameter(
            f"{file}: cannot be read ({error}); it should hold one secret."
        ) from None


def read(path: Path) -> Config:
    """The configuration in a file; paths in it are beside the file.

    Raises:
        InvalidParameter: no file, no TOML, or a key that is missing, unknown or out of range.
    """
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text())
    except OSError as error:
        raise InvalidParameter(f"{path}: cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidParameter(f"{path}: no TOML ({error}).") from None
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in one['loc']) or 'file'}: {one['msg']}"
            for one in error.errors(include_url=False)
        ]
        raise InvalidParameter(f"{path}: {'; '.join(lines)}.") from None
    return _beside(config, path.resolve().parent)


def _beside(config: Config, folder: Path) -> Config:
    """The same with every path absolute."""
    parts: dict[str, _Part] = {}
    for name in ("broker", "server", "store", "metrics"):
        part: _Part = getattr(config, name)
        paths = {
            field: folder / value
            for field in type(part).model_fields
            if isinstance(value := getattr(part, field), Path)
        }
        parts[name] = part.model_copy(update=paths)
    return config.model_copy(update=parts)
