"""Which stream a message belongs to, by its topic."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from service.connectors.config import Config, Subscription
from service.connectors.topics import Pattern, filled
from service.errors import InvalidParameter

#: Whose turn it is: feedback waits in a row of its own.
FEEDBACK = "feedback"


@dataclass(frozen=True)
class Destination:
    """A stream of a model, and how its messages are to be read."""

    model: str
    stream: str
    form: Subscription

    @property
    def path(self) -> str:
        """Its route at the server."""
        name, at, version = self.model.partition("@")
        model = quote(name, safe="") + (f"/versions/{quote(version, safe='')}" if at else "")
        return f"/v2/models/{model}/streams/{quote(self.stream, safe='')}"


class Routes:
    """Topics to destinations, the first subscription that fits.

    Args:
        config: with all subscriptions.
    """

    def __init__(self, config: Config) -> None:
        self._forms = [(Pattern(one.topic), one) for one in config.subscribe]
        self._feedback = Pattern(config.feedback.topic) if config.feedback else None

    def key(self, topic: str) -> str:
        """In which row a message waits: one for each stream.

        Raises:
            InvalidParameter: the topic leads nowhere.
        """
        if self._feedback and self._feedback.match(topic) is not None:
            return FEEDBACK
        found = self.destination(topic)
        return f"{found.model}/{found.stream}"

    def destination(self, topic: str) -> Destination:
        """The stream of a topic.

        Raises:
            InvalidParameter: no subscription has it, or a level cannot be part of a name.
        """
        for pattern, form in self._forms:
            if (names := pattern.match(topic)) is not None:
                return Destination(filled(form.model, names), filled(form.stream, names), form)
        raise InvalidParameter(
            f"topic '{topic[:200]}': no subscription of the bridge has it. Publish on one of "
            f"{', '.join(pattern.text for pattern, _ in self._forms)}."
        )
