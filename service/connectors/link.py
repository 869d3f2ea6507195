"""One connection to an MQTT broker, with acknowledgements that we give ourselves.

aiomqtt acknowledges a message as soon as it has read it. A bridge must not: what it has
acknowledged and not yet kept is lost with the process. The client below is told to leave
acknowledging to us (paho-mqtt 2: `manual_ack_set`), and says what the broker answered to a
publication, which aiomqtt passes over.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from typing import Any

import aiomqtt
import orjson
from aiomqtt import ProtocolVersion
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from service.connectors.config import Broker, Config
from service.errors import InvalidParameter, Unavailable

_FAILURE = 0x80
_PARTING_S = 10.0
#: A session that outlives it is gone: seconds, MQTT 5.0 section 3.1.2.11.2.
_LONGEST_SESSION = 0xFFFF_FFFE


class Link(aiomqtt.Client):
    """A client of the broker; see `open_link`."""

    def __init__(self, hostname: str, port: int, in_flight: int, **options: Any) -> None:
        super().__init__(hostname, port, max_inflight_messages=in_flight, **options)
        self._in_flight = in_flight
        self._room = asyncio.Semaphore(max(1, in_flight - 1))
        self._client.manual_ack_set(True)
        self._refused: dict[int, str] = {}
        self.pending_calls_threshold = 10_000

    def acknowledge(self, message: aiomqtt.Message) -> None:
        """Tell the broker that a message is kept; in the order in which they came (4.6)."""
        self._client.ack(message.mid, message.qos)

    async def tell(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait for the broker's acknowledgement.

        Raises:
            MqttError: the connection was lost; whether it was published is not known.
            Unavailable: the broker refuses the topic.
        """
        async with self._room:
            await self._told(topic, payload, retain)

    async def part(self, topic: str, payload: bytes) -> None:
        """Last words before the connection is closed, retained; the place for them is kept free.

        They are waited for: a socket that is closed while acknowledgements are on their way is
        reset, and the broker throws away what it had not read yet.

        Raises:
            MqttError, TimeoutError: nobody knows whether they arrived.
        """
        async with asyncio.timeout(_PARTING_S):
            await self._told(topic, payload, retain=True)

    async def _told(self, topic: str, payload: bytes, retain: bool) -> None:
        info = self._client.publish(topic, payload, 1, retain)
        if info.rc != 0:
            raise aiomqtt.MqttCodeError(info.rc, "Could not publish message")
        await self._acknowledged(info.mid, topic)

    async def _acknowledged(self, number: int, topic: str) -> None:
        told = asyncio.Event()
        with self._pending_call(number, told, self._pending_publishes):
            await self._wait_for(told.wait(), timeout=math.inf)
        if reason := self._refused.pop(number, ""):
            raise Unavailable(f"broker: refuses to publish on '{topic}' ({reason}).")

    def _on_connect(
        self,
        client: Any,
        userdata: Any,
        flags: Any,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        """Keep to what the broker takes at a time (3.3.4): paho does not look."""
        most = getattr(properties, "ReceiveMaximum", None)
        if most is not None:
            self._room = asyncio.Semaphore(max(1, min(most, self._in_flight) - 1))
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Any
    ) -> None:
        if reason_code.value >= _FAILURE:
            self._refused[mid] = str(reason_code)
        super()._on_publish(client, userdata, mid, reason_code, properties)

    async def listen(self, filters: tuple[str, ...]) -> None:
        """Subscribe at QoS 1.

        Raises:
            MqttError: the connection was lost.
            Unavailable: the broker refuses a filter.
        """
        for text in filters:
            granted = await self.subscribe(text, qos=1)
            value = granted[0]
            code = value.value if isinstance(value, ReasonCode) else int(value)
            if code >= _FAILURE:
                raise Unavailable(f"broker: refuses the subscription to '{text}' ({value}).")


def open_link(config: Config, *, client_id: str = "", lasting: bool = True) -> Link:
    """A client for one connection, not yet connected.

    Args:
        config: of the bridge.
        client_id: another than the configured one.
        lasting: keep the session, and with it what comes while nobody is connected.

    Raises:
        InvalidParameter: a certificate or a password cannot be read.
    """
    broker = config.broker
    five = broker.protocol == "5"
    options: dict[str, Any] = {
        "identifier": client_id or broker.client_id,
        "username": broker.username or None,
        "password": config.password() if broker.username else None,
        "keepalive": broker.keepalive_s,
        "tls_context": _tls(broker) if broker.tls else None,
        "protocol": ProtocolVersion.V5 if five else ProtocolVersion.V311,
    }
    if lasting:
        gone = orjson.dumps({"state": "lost", "client_id": broker.client_id})
        options["will"] = aiomqtt.Will(config.status_topic, gone, qos=1, retain=True)
    if five:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        seconds = min(int(broker.session_days * 86_400), _LONGEST_SESSION)
        properties.SessionExpiryInterval = seconds if lasting else 0
        properties.ReceiveMaximum = broker.in_flight
        options |= {"properties": properties, "clean_start": not lasting}
    else:
        options |= {"clean_session": not lasting, "clean_start": MQTT_CLEAN_START_FIRST_ONLY}
    return Link(broker.host, broker.port, broker.in_flight, **options)


def _tls(broker: Broker) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
        if broker.cert_file:
            context.load_cert_chain(broker.cert_file, broker.key_file)
    except (OSError, ssl.SSLError) as error:
        raise InvalidParameter(f"broker: certificates cannot be used ({error}).") from None
    return context
