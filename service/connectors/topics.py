"""Topic patterns with named levels: `plant/{line}/{group}/rows` finds a line and a group.

Source: MQTT 5.0 (OASIS), section 4.7: topic names and topic filters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from service.errors import InvalidParameter

_NAME = re.compile(r"^\{([a-z_][a-z0-9_]*)\}$")
_SLOT = re.compile(r"\{([^{}]*)\}")
#: What a level of a topic may hold to become part of a model's or a stream's name.
_WORD = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
#: Bytes of a topic, MQTT 5.0 section 1.5.4.
LONGEST_TOPIC = 65_535


@dataclass(frozen=True)
class Pattern:
    """A topic whose levels are words, `{names}` for one level each, or `+`; `#` may end it.

    Args:
        text: as the configuration has it, such as `plant/{line}/{group}/rows`.

    Raises:
        InvalidParameter: it is no pattern, or names a level twice.
    """

    text: str

    def __post_init__(self) -> None:
        levels = self.text.split("/")
        if not self.text or len(self.text.encode()) > LONGEST_TOPIC or "\0" in self.text:
            raise InvalidParameter("topic: empty, too long or with a zero byte; write a topic.")
        for place, level in enumerate(levels):
            if level == "#" and place == len(levels) - 1:
                continue
            if level != "+" and not _NAME.match(level) and set(level) & set("+#{}"):
                raise InvalidParameter(
                    f"topic '{self.text}': level '{level}': wanted a word, {{name}} or + as a "
                    "whole level, or # as the last one."
                )
        if len(set(self.names)) != len(self.names):
            raise InvalidParameter(f"topic '{self.text}': a name stands there twice.")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of levels, in order."""
        return tuple(m[1] for level in self.text.split("/") if (m := _NAME.match(level)))

    @cached_property
    def filter(self) -> str:
        """What the broker is asked for: every name is a `+`."""
        return "/".join("+" if _NAME.match(level) else level for level in self.text.split("/"))

    @cached_property
    def _levels(self) -> tuple[str, ...]:
        return tuple(self.text.split("/"))

    def match(self, topic: str) -> dict[str, str] | None:
        """What the names stand for in a topic; None where it is another topic."""
        wanted, got = self._levels, topic.split("/")
        open_end = wanted[-1] == "#"
        if open_end:
            # `a/#` means `a` as well (section 4.7.1.2).
            wanted, got = wanted[:-1], got[: len(wanted) - 1]
        if len(wanted) != len(got) or (topic.startswith("$") and not self.text.startswith("$")):
            return None
        found = {}
        for pattern, level in zip(wanted, got, strict=True):
            if name := _NAME.match(pattern):
                found[name[1]] = level
            elif pattern not in ("+", level):
                return None
        return found


def slots(template: str) -> tuple[str, ...]:
    """Names that a template such as `{line}.{group}` asks for."""
    return tuple(_SLOT.findall(template))


def filled(template: str, names: Mapping[str, str]) -> str:
    """A template with the words that a topic gave.

    Raises:
        InvalidParameter: a level cannot be part of a name.
    """
    for slot in slots(template):
        if not _WORD.match(names[slot]):
            raise InvalidParameter(
                f"topic: level {{{slot}}} is '{names[slot][:80]}', which cannot be part of the "
                "name of a model or stream. Wanted up to 64 letters, digits, '_' and '-', the "
                "first a letter or digit."
            )
    return _SLOT.sub(lambda found: names[found[1]], template)
