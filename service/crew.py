"""The predicting processes of one server, who of them is up, and whether they are leaving.

Each process that answers leaves a file named by its process id in a folder named by the
supervisor's. Readiness is honest about processes that died: the kernel says who is alive.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from service.errors import Unavailable

_DRAINING = "draining"
_LEAVING = "leaving"
_SHUT = "shut-"


class Crew:
    """The processes under one supervisor.

    Args:
        home: the folder GLASSLINE_HOME names.
        supervisor: its process id.
        size: predicting processes that there should be.
    """

    def __init__(self, home: Path, supervisor: int, size: int) -> None:
        self._folder = home / "run" / str(supervisor)
        self._size = size

    def join(self) -> None:
        """This process answers from now on."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / str(os.getpid())).touch()

    def leave(self) -> None:
        """This process answers no more."""
        (self._folder / str(os.getpid())).unlink(missing_ok=True)

    def drain(self) -> None:
        """Tell all processes to say that they are not ready, and to keep no connection."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / _DRAINING).touch()

    @property
    def draining(self) -> bool:
        """Whether the server is about to stop."""
        return (self._folder / _DRAINING).exists()

    def call_off(self) -> None:
        """Tell all processes to accept no more connections, and to leave when theirs are done."""
        self.drain()
        (self._folder / _LEAVING).touch()

    @property
    def leaving(self) -> bool:
        """Whether no connection is to be accepted any more."""
        return (self._folder / _LEAVING).exists()

    def shut(self) -> None:
        """This process accepts no more."""
        (self._folder / f"{_SHUT}{os.getpid()}").touch()

    @property
    def all_shut(self) -> bool:
        """Whether no process that is up accepts any more."""
        return all((self._folder / f"{_SHUT}{pid}").exists() for pid in self._up())

    @property
    def gone(self) -> bool:
        """Whether no process answers any more."""
        return not any(self._up())

    def disband(self) -> None:
        """Forget the folder; the supervisor has ended."""
        for file in self._folder.glob("*"):
            file.unlink(missing_ok=True)
        if self._folder.is_dir():
            self._folder.rmdir()

    def check(self) -> None:
        """Raise unless every process is up and none is asked to leave.

        Raises:
            Unavailable: a process is dead or still starting, or the server is stopping.
        """
        if self.draining:
            raise Unavailable("stopping: requests in flight are finished, ask another replica.")
        up = sum(1 for _ in self._up())
        if up < self._size:
            raise Unavailable(f"{up} of {self._size} predicting processes are up.")

    def _up(self) -> Iterator[int]:
        """Ids of the processes that joined, have not left, and live."""
        names = [file.name for file in self._folder.glob("[0-9]*")]
        return (int(name) for name in names if _alive(int(name)))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:  # a killed process answers the kernel until its parent has taken note
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state != "Z"
