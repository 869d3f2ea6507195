"""What people say of a stream's alarms, and which false ones may teach its calibration.

A false alarm says that scores like those belong to the process as it is. They may join the rolling
buffer that p-values are taken from, and then such rows are less rare and alarm less. That is also
how somebody could teach a detector to be blind, so there are rules:

1. Only alarms that a named person has called false; nothing enters by itself.
2. Only the first `TAUGHT` scores of such an alarm.
3. Never while an alarm is on or a run is open that may become one: they wait.
4. At most `SHARE` of the buffer at a time; more wait until those that entered have aged out of it.
5. The last word counts: an alarm that is called true after all takes back what still waits.
   What has entered stays until it ages out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

Verdict = Literal["true", "false"]
#: Scores of one alarm that may teach; alarms that are remembered; share of the buffer.
TAUGHT: Final = 60
REMEMBERED: Final = 16
SHARE: Final = 0.1


@dataclass(slots=True)
class Feedback:
    """Of one stream; numbers are those of its alarms.

    Attributes:
        scores: first scores of the last alarms.
        verdicts: the last word on each of the last alarms.
        waiting: scores of false ones that have not entered yet.
        entered: how many rows had been judged when each score entered, as long as that matters.
        said: words that came, by verdict; an alarm whose verdict was changed counts as its last.
    """

    scores: dict[int, list[float]] = field(default_factory=dict)
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    waiting: dict[int, list[float]] = field(default_factory=dict)
    entered: list[int] = field(default_factory=list)
    said: dict[str, int] = field(default_factory=lambda: {"true": 0, "false": 0})

    def note(self, number: int, score: float) -> None:
        """A row of an alarm that is on."""
        kept = self.scores.setdefault(number, [])
        if len(kept) < TAUGHT:
            kept.append(score)
        for old in sorted(self.scores)[:-REMEMBERED]:
            del self.scores[old]

    def say(self, number: int, verdict: Verdict) -> str:
        """Somebody has said what an alarm was; what follows, in words."""
        before = self.verdicts.get(number)
        if before:
            self.said[before] -= 1
        self.said[verdict] += 1
        self.verdicts[number] = verdict
        for old in sorted(self.verdicts)[:-64]:
            del self.verdicts[old]
        if verdict == "true":
            taken = len(self.waiting.pop(number, ()))
            if before == "false" and not taken:
                return "its scores had entered the calibration, and stay until they age out"
            return f"{taken} scores that waited are taken back" if taken else "nothing is learnt"
        if before == "false":
            return "it was called false before; nothing more is learnt"
        scores = self.scores.get(number)
        if not scores:
            return "its scores are not known any more; nothing is learnt"
        self.waiting[number] = list(scores)
        return (
            f"{len(scores)} of its scores enter the calibration when no alarm is on, at most "
            f"{SHARE:.0%} of its buffer at a time"
        )

    def due(self, rows: int, buffer: int) -> list[float]:
        """Scores that enter now; the caller sees to it that no alarm is on.

        Args:
            rows: that were judged so far.
            buffer: scores that the calibration holds at most.
        """
        self.entered = [one for one in self.entered if rows - one < buffer]
        room = int(SHARE * buffer) - len(self.entered)
        taken: list[float] = []
        while self.waiting and room > 0:
            number = min(self.waiting)
            scores = self.waiting[number]
            some, rest = scores[:room], scores[room:]
            taken += some
            room -= len(some)
            if rest:
                self.waiting[number] = rest
            else:
                del self.waiting[number]
        self.entered += [rows] * len(taken)
        return taken

    @property
    def precision(self) -> float | None:
        """Share of the judged alarms that were true; None before the first."""
        total = sum(self.said.values())
        return self.said["true"] / total if total else None

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values; see `of_json`."""
        return {
            "scores": {str(n): list(one) for n, one in self.scores.items()},
            "verdicts": {str(n): one for n, one in self.verdicts.items()},
            "waiting": {str(n): list(one) for n, one in self.waiting.items()},
            "entered": self.entered,
            "said": self.said,
        }

    @classmethod
    def of_json(cls, said: dict[str, Any]) -> Feedback:
        """What `to_json` was taken of."""
        numbered = {
            name: {int(n): one for n, one in said[name].items()}
            for name in ("scores", "verdicts", "waiting")
        }
        return cls(**numbered, entered=said["entered"], said=said["said"])
