"""Which stream a message belongs to, by its topic."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from service.connectors.config import SENSOR, Config, Subscription
from service.connectors.topics import Pattern, filled
from service.errors import InvalidParameter

#: Whose turn it is: feedback waits in a row of its own.
FEEDBACK = "feedback"


@dataclass(frozen=True)
class Destination:
    """A stream of a model, and how its messages are to be read.

    Attributes:
        model, stream: as the topic fills them in.
        form: of the subscription.
        sensor: whose values come on this topic alone, by the plant's name; empty for whole rows.
        rows_topic: what stands for the topics of all sensors; the topic itself for whole rows.
    """

    model: str
    stream: str
    form: Subscription
    sensor: str = ""
    rows_topic: str = ""

    @property
    def key(self) -> str:
        """In which row its messages wait: one for each stream."""
        return f"{self.model}/{self.stream}"

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

    def feeds_back(self, topic: str) -> bool:
        """Whether operators say there what an alarm was."""
        return self._feedback is not None and self._feedback.match(topic) is not None

    def destination(self, topic: str) -> Destination:
        """The stream of a topic.

        Raises:
            InvalidParameter: no subscription has it, or a level cannot be part of a name.
        """
        for pattern, form in self._forms:
            if (names := pattern.match(topic)) is not None:
                model, stream = filled(form.model, names), filled(form.stream, names)
                levels = topic.split("/")
                if SENSOR in names:
                    levels[pattern.text.split("/").index(f"{{{SENSOR}}}")] = "+"
                return Destination(model, stream, form, names.get(SENSOR, ""), "/".join(levels))
        raise InvalidParameter(
            f"topic '{topic[:200]}': no subscription of the bridge has it. Publish on one of "
            f"{', '.join(pattern.text for pattern, _ in self._forms)}."
        )
