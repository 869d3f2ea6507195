"""`glassline bridge mqtt`: its options, its check, and an example of its configuration."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from service.errors import InvalidParameter, Unavailable
from service.logs import configure_logging

if TYPE_CHECKING:
    from service.connectors.config import Config

out = Console()
err = Console(stderr=True)
app = typer.Typer(
    help="Messages of a plant to streams, verdicts and alarms back.", no_args_is_help=True
)

EXAMPLE = """\
# glassline bridge mqtt bridge.toml

[broker]
host = "127.0.0.1"
port = 1883                     # 8883 with tls
client_id = "glassline-line-7"  # fixed: the broker keeps messages for it while it is away
# username = "bridge"
# password_file = "mqtt.secret" # or GLASSLINE_MQTT_PASSWORD
# tls = true
# ca_file = "ca.pem"            # cert_file and key_file, where the broker wants them

[server]
url = "http://127.0.0.1:3000"
# api_key_file = "api.key"      # or GLASSLINE_API_KEY

[store]
file = "bridge.db"              # inbox and outbox; on a disk that stays

[publish]
prefix = "glassline"            # PREFIX/MODEL/STREAM/verdicts and /alarms, PREFIX/dead-letter
verdicts = true
alarms = true

[metrics]
# port = 9464                   # http://127.0.0.1:9464/metrics
# textfile = "/var/lib/node_exporter/glassline.prom"

[[subscribe]]
topic = "plant/{line}/{group}/rows"
model = "skab"                  # or "skab@3"
stream = "{line}.{group}"
# is_historical = true          # told of later: no live alarm comes of it
# time_field = "ts"
# time_unit = "ms"              # rfc3339, s, ms, us, ns
# values_field = "values"       # where sensors stand in an object of their own
# rename = { temp = "Temperature" }

# One sensor a topic: 3.2, or {"value": 3.2, "time": "2026-11-26T08:00:00Z"}
# [[subscribe]]
# topic = "plant/{line}/{group}/{sensor}"
# model = "skab"
# stream = "{line}.{group}"
# join = { sensors = ["Pressure", "Temperature"], wait_s = 2 }  # values of one time are a row
# join = { sensors = ["Pressure", "Temperature"], period_s = 1, hold_s = 60 }  # or: last values

[feedback]
topic = "plant/feedback"        # {"alarm": ID, "verdict": "false", "by": NAME, "comment": ...}
"""


@app.callback()
def _group() -> None:
    """Messages of a plant to streams, verdicts and alarms back."""


@app.command()
def mqtt(
    config: Annotated[
        Path | None, typer.Argument(help="TOML file; --example shows one.", dir_okay=False)
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read it, try broker and server, say what it means.")
    ] = False,
    example: Annotated[bool, typer.Option("--example", help="Print a configuration.")] = False,
    broker: Annotated[
        str | None, typer.Option(help="host or host:port, instead of the file's.")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="Server, instead of the file's.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Metrics, instead of the file's.")
    ] = None,
) -> None:
    """Bring MQTT messages into streams, and verdicts and alarms back to MQTT.

    QoS 1 both ways. A message is acknowledged once it is on disk here, so neither a kill of this
    process nor of the server loses one; rows may be sent twice and are answered as duplicates.
    What cannot be read goes to the dead-letter topic with the reason. A retained topic says how
    the bridge is, and the broker says `lost` there when it dies. Ends with Ctrl+C or SIGTERM.

    The broker must keep what it has acknowledged: Mosquitto wants `persistence true`,
    `autosave_interval 1`, `autosave_on_changes true` and a large `max_queued_messages`.

    [dim]glassline bridge mqtt --example > bridge.toml[/dim]

    [dim]glassline bridge mqtt --check bridge.toml[/dim]

    [dim]glassline bridge mqtt bridge.toml[/dim]
    """
    if example:
        out.print(EXAMPLE, end="", markup=False, highlight=False, soft_wrap=True)
        return
    if config is None:
        _fail("bridge: wanted a configuration file; `glassline bridge mqtt --example` shows one.")
    _check_installed()
    from service.connectors.config import read

    chosen = _overridden(read(config), broker, url, metrics_port)
    if check:
        from service.connectors.check import look

        raise typer.Exit(asyncio.run(look(chosen, out)))
    _run(chosen)


def _run(config: Config) -> None:
    from service.connectors.bridge import Bridge, first

    configure_logging("INFO")

    async def work() -> None:
        await Bridge(config).run()

    try:
        asyncio.run(work())
    except BaseExceptionGroup as errors:
        raise first(errors) from None


def _overridden(
    config: Config, broker: str | None, url: str | None, metrics_port: int | None
) -> Config:
    """The same with what the command line says."""
    said = config.model_dump()
    if broker is not None:
        host, colon, port = broker.rpartition(":")
        said["broker"] |= {"host": host, "port": port} if colon else {"host": broker}
    if url is not None:
        said["server"]["url"] = url
    if metrics_port is not None:
        said["metrics"]["port"] = metrics_port
    from pydantic import ValidationError

    try:
        return type(config).model_validate(said)
    except ValidationError as error:
        one = error.errors(include_url=False)[0]
        raise InvalidParameter(f"{one['loc'][0]}: {one['msg']}, got {one['input']!r}.") from None


def _check_installed() -> None:
    if find_spec("aiomqtt") is None:
        raise Unavailable(
            "glassline bridge mqtt needs aiomqtt, which is not installed. "
            "Install it: pip install 'glassline[mqtt]'."
        )


def _fail(message: str) -> NoReturn:
    err.print(f"[red]error:[/red] {escape(message)}", soft_wrap=True, highlight=False)
    raise typer.Exit(1)
