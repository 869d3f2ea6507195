"""What is put into the ledger, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.connectors.letters import Letter

#: Key, topic, payload.
Message = tuple[str, str, bytes]


@dataclass(frozen=True)
class Arrival:
    """A message that came.

    Attributes:
        id: in the order of arrival.
        topic: it came on.
        payload: as it came.
        done: rows of it that are worked off already.
    """

    id: int
    topic: str
    payload: bytes
    done: int = 0


@dataclass(frozen=True)
class Posted:
    """What became of letters: new ones, such as stood there already, and contradictions."""

    new: int
    again: int
    conflicts: tuple[str, ...]


@dataclass(frozen=True)
class Joined:
    """What single values became.

    Attributes:
        state: of those that wait for others.
        messages: rows that are whole, for the inbox: key, topic, payload.
        letters: about values that cannot be taken.
    """

    state: bytes
    messages: Sequence[Message]
    letters: Sequence[Letter]


#: From the state that a stream's values had, None at first. It is called in the ledger's thread.
Fold = Callable[["bytes | None"], Joined]


@dataclass(frozen=True)
class Kept:
    """What became of messages that came.

    Attributes:
        keys: for which the inbox has new ones.
        letters: all about what cannot be taken, those of single values among them.
        posted: what became of the letters.
    """

    keys: frozenset[str]
    letters: Sequence[Letter]
    posted: Posted
