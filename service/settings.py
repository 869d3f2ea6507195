"""Configuration, read once and then frozen.

Every setting is an environment variable `GLASSLINE_<NAME>`, or a key of the TOML file
that `GLASSLINE_CONFIG` names; the environment wins.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from service.errors import GlasslineError


class InvalidSettings(GlasslineError):
    """A setting is missing, misspelt or out of range."""


def _share(value: Any) -> Any:
    said = {"all": 1.0, "true": 1.0, "none": 0.0, "false": 0.0}
    return said.get(value.lower(), value) if isinstance(value, str) else value


#: From 0 to 1; `all` and `none` are said for 1 and 0.
Share = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1)]


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
#: A verdict, a label, an action, or the values of a regression.
FailSafeValue = StrictStr | Number | tuple[Number, ...]


class Deadline(BaseModel):
    """A model's latency budget, and what is answered when it is over.

    Without a fail-safe it hangs on the model what becomes of a late answer (see `LatencyBudget`);
    with `refuse` it becomes an error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ms: float = Field(gt=0, le=600_000)
    fail_safe: FailSafeValue | None = None
    refuse: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Deadline:
        if self.refuse and self.fail_safe is not None:
            raise ValueError("a late answer is refused or has a fail-safe, not both")
        return self


class Settings(BaseSettings):
    """All settings; the field descriptions are the documentation."""

    model_config = SettingsConfigDict(env_prefix="GLASSLINE_", frozen=True, extra="forbid")

    home: Path = Field(Path(".glassline"), description="Folder of models, database and keys.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(3000, ge=1, le=65535, description="TCP port to listen on.")
    access: Literal["auto", "keys", "open"] = Field(
        "auto", description="Who needs an API key: everybody (keys), nobody (open), or auto."
    )
    workers: int = Field(1, ge=1, le=64, description="Predicting processes.")
    explain_workers: int = Field(1, ge=1, le=64, description="Explaining processes.")
    explain_queue: int = Field(
        16, ge=1, le=4096, description="Explanations waiting per predicting process; more get 429."
    )
    explain_timeout_s: float = Field(
        120.0, gt=0, le=3600, description="Seconds before a synchronous explanation gets 504."
    )
    explain_max_samples: int = Field(
        20_000, ge=10, description="Largest num_samples a request may ask for."
    )
    explain_jobs: int = Field(
        1000, ge=1, description="Explanations accepted for later; more get 429."
    )
    explain_job_timeout_s: float = Field(
        3600.0, gt=0, description="Seconds that an explanation accepted for later may take."
    )
    predict_timeout_s: float = Field(
        30.0, gt=0, le=3600, description="Seconds before a prediction gets 504."
    )
    queue_size: int = Field(
        512, ge=1, le=65536, description="Requests waiting per model and process; more get 429."
    )
    batch_rows: int = Field(
        32, ge=1, le=4096, description="Rows that waiting requests are joined to, at most."
    )
    device: Literal["cpu", "cuda", "auto"] = Field("auto", description="Where graphs run.")
    model_memory_bytes: int = Field(
        0, ge=0, description="Memory of loaded models per process, by estimate; 0 = no limit."
    )
    threads: int = Field(
        0, ge=0, le=256, description="ONNX Runtime threads a graph; 0 = what suits it."
    )
    max_body_bytes: int = Field(32 * 1024 * 1024, ge=1024, description="Largest request body.")
    body_timeout_s: float = Field(
        20.0, gt=0, le=3600, description="Seconds in which a request body must have arrived."
    )
    max_headers: int = Field(100, ge=10, description="Most header fields in one request.")
    max_concurrency: int = Field(
        1024, ge=1, description="Requests in flight per predicting process; more get 429."
    )
    max_image_pixels: int = Field(
        40_000_000, ge=1, description="Largest image, width x height, checked before decoding."
    )
    max_batch_rows: int = Field(1024, ge=1, description="Largest batch in one request.")
    database_url: str = Field(
        "", description="SQLAlchemy URL of the record store; empty = SQLite in the home folder."
    )
    record_predictions: Share = Field(
        1.0, description="Share of predictions that are recorded: all, none, or from 0 to 1."
    )
    record_models: dict[str, Share] = Field(
        {}, description="The same for single models, as JSON; the others go by the share above."
    )
    record_failure: Literal["closed", "open"] = Field(
        "closed", description="Answer a prediction whose record cannot be written? closed = no."
    )
    deadlines: dict[str, Deadline] = Field(
        {}, description="Latency budgets of models, as JSON, and what is answered when one is over."
    )
    stream_future_s: float = Field(
        60.0,
        ge=0,
        description="Seconds that a row of a stream may be ahead of this server's clock.",
    )
    stream_age_s: float = Field(
        86_400.0, gt=0, description="Seconds that a live row may be old; older ones are history."
    )
    payload_days: int = Field(
        0, ge=0, description="Days after which recorded inputs are erased; 0 = they are kept."
    )
    log_origin: str = Field(
        "",
        max_length=255,
        description="Name of a new log, a URL without its scheme; empty = one made up at random.",
    )
    signing_key_file: str = Field(
        "", description="The log's Ed25519 private key, PEM, 0600; empty = one made in the home."
    )
    timestamp_url: str = Field(
        "", description="RFC 3161 authority that stamps checkpoints; empty = none."
    )
    timestamp_minutes: float = Field(
        60.0, gt=0, description="Minutes between two time-stamps of a log that has grown."
    )
    drain_s: float = Field(
        0.0, ge=0, le=600, description="Seconds of saying 'not ready' before a stop begins."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe log line written."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Constructor arguments, then the environment, then the TOML file."""
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if path := os.environ.get("GLASSLINE_CONFIG"):
            if not Path(path).is_file():
                raise InvalidSettings(f"GLASSLINE_CONFIG: no file at {path}; unset it or fix it.")
            sources.append(TomlConfigSettingsSource(settings_cls, toml_file=path))
        return tuple(sources)

    @property
    def root(self) -> Path:
        """`home`, absolute."""
        return self.home.expanduser().resolve()

    @property
    def bentoml_home(self) -> Path:
        """BentoML's own folder, one a server: at its start BentoML empties what it finds there."""
        return self.root / "run" / f"bentoml-{self.port}"

    def recorded_share(self, model: str) -> float:
        """Share of a model's predictions that are recorded, from 0 to 1."""
        return self.record_models.get(model, self.record_predictions)

    @property
    def keys_file(self) -> Path:
        """Where API keys are kept, as hashes."""
        return self.root / "keys.json"

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the record store."""
        return self.database_url or f"sqlite:///{self.root / 'records.db'}"

    def environment(self) -> dict[str, str]:
        """What a child process needs so that it sees the same settings and BentoML home."""
        said = self.model_dump(mode="json")
        values = {
            f"GLASSLINE_{k.upper()}": json.dumps(v) if isinstance(v, dict) else str(v)
            for k, v in said.items()
        }
        values["GLASSLINE_HOME"] = str(self.root)
        values["BENTOML_HOME"] = str(self.bentoml_home)
        values["BENTOML_DO_NOT_TRACK"] = "True"
        values["ORT_DISABLE_TELEMETRY"] = "1"
        return values


@lru_cache(maxsize=1)
def load() -> Settings:
    """The settings of this process.

    Raises:
        InvalidSettings: a value is out of range or unknown; the message names each.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"GLASSLINE_{str(e['loc'][0]).upper()}: {e['msg']}, got {e['input']!r}"
            for e in error.errors()
        ]
        raise InvalidSettings("; ".join(lines)) from None
