"""`glassline bridge mqtt --check`: what a configuration means, and whether both ends answer."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import aiomqtt
import httpx
from rich.console import Console
from rich.table import Table

from service.connectors.config import Config, Subscription
from service.connectors.link import open_link
from service.connectors.routes import Destination
from service.connectors.topics import Pattern, filled, slots
from service.errors import GlasslineError

_PATIENCE_S = 15.0
_HEALTH = "/v2/health/live"


async def look(config: Config, console: Console) -> int:
    """Say what the configuration means and try both ends.

    Args:
        config: as read.
        console: where to say it.

    Returns:
        Exit code: 0 where all is well, else 1.
    """
    table = Table("broker is asked for", "for example", "becomes")
    for one in config.subscribe:
        topic, to = _example(one)
        joined = f", of {len(one.join.sensors)} sensors" if one.join else ""
        table.add_row(Pattern(one.topic).filter, topic, f"POST {to.path}{joined}")
    if config.feedback:
        table.add_row(Pattern(config.feedback.topic).filter, "", "feedback on alarms")
    console.print(table)
    said = await _server(config)
    said.append(("broker", await _broker(config)))
    for what, trouble in said:
        mark = f"[red]{'no'}[/red]" if trouble else "[green]ok[/green]"
        console.print(f"{mark} {what}{': ' if trouble else ''}", end="")
        console.print(trouble, markup=False, highlight=False, soft_wrap=True)
    return 1 if any(trouble for _, trouble in said) else 0


def _example(form: Subscription) -> tuple[str, Destination]:
    """A topic, each named level called by its name, and where it leads."""
    pattern = Pattern(form.topic)
    names = {name: name.upper() for name in pattern.names}
    topic = pattern.text
    for name, word in names.items():
        topic = topic.replace(f"{{{name}}}", word)
    return topic, Destination(filled(form.model, names), filled(form.stream, names), form)


async def _broker(config: Config) -> str:
    """What is wrong with the broker; a session of its own, so that a running bridge stays."""
    try:
        name = f"{config.broker.client_id}-check-{secrets.token_hex(4)}"
        async with asyncio.timeout(_PATIENCE_S):
            async with open_link(config, client_id=name, lasting=False) as link:
                await link.listen(config.filters)
    except (aiomqtt.MqttError, GlasslineError, TimeoutError) as error:
        return f"{config.broker.host}:{config.broker.port}: {str(error) or 'no answer'}"
    return ""


async def _server(config: Config) -> list[tuple[str, str]]:
    """What is wrong with the server, and with each model that a subscription names outright."""
    models: dict[str, set[str]] = {}
    for one in config.subscribe:
        if not slots(one.model):
            models.setdefault(one.model, set()).update(one.join.sensors if one.join else ())
    said = []
    try:
        key = config.api_key()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        url = config.server.url.rstrip("/")
        async with (
            asyncio.timeout(_PATIENCE_S),
            httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as http,
        ):
            said.append(("server", _trouble(await http.get(_HEALTH))))
            for model, sensors in sorted(models.items()):
                name, at, version = model.partition("@")
                path = f"/v2/models/{name}" + (f"/versions/{version}" if at else "")
                answer = await http.get(path)
                trouble = _trouble(answer) or _strangers(answer, sensors)
                said.append((f"model {model}", trouble))
    except (httpx.HTTPError, GlasslineError, TimeoutError) as error:
        said.append(("server", f"{config.server.url}: {str(error) or 'no answer'}"))
    return said


def _strangers(response: httpx.Response, sensors: set[str]) -> str:
    """What is wrong with the sensors of joins, by the metadata of their model."""
    try:
        model: Any = response.json()
    except ValueError:
        model = None
    if not isinstance(model, dict):
        return "the answer is no JSON object; is this Glassline?"
    tensors = model.get("inputs", ())
    known = [name for one in tensors for name in one.get("parameters", {}).get("features", ())]
    if not known or sensors <= set(known):
        return ""
    return (
        f"join.sensors: {', '.join(sorted(sensors - set(known)))}: no such sensor; there are "
        f"{', '.join(known)}"
    )


def _trouble(response: httpx.Response) -> str:
    return "" if response.is_success else f"status {response.status_code}: {response.text[:200]}"
