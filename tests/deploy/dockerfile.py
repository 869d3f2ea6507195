"""What a Dockerfile says, read without Docker."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """One FROM and the instructions below it, arguments filled in."""

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        """What follows each instruction of this name."""
        return [rest for word, rest in self.instructions if word == instruction]

    def one(self, instruction: str) -> str:
        """What follows the only instruction of this name."""
        (rest,) = self.all(instruction)
        return rest

    def pairs(self, instruction: str) -> dict[str, str]:
        """All `key=value` of ENV or LABEL."""
        words = [word for rest in self.all(instruction) for word in shlex.split(rest)]
        return dict(word.split("=", 1) for word in words)


def stages(path: Path) -> list[Stage]:
    """The stages of a Dockerfile, in order."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", " ", text)
    arguments: dict[str, str] = {}
    found: list[Stage] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, rest = line.split(None, 1)
        if word == "ARG":
            name, _, default = rest.partition("=")
            arguments[name] = default
        for name, value in arguments.items():
            rest = rest.replace(f"${{{name}}}", value)
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base, name))
        elif found:
            found[-1].instructions.append((word, rest))
    return found
