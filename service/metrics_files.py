"""What dead processes counted, kept in one file a kind instead of a few for each of them.

prometheus_client's processes keep their values in files named by kind and process id, and
whoever exposes them reads all. A worker that crashes again and again would leave more with
each life, and a scrape would take longer and longer. Here the files of dead processes are
merged: counters and histograms are summed, gauges go by their mode, live gauges go.

The values stand in prometheus_client's own format (see its mmap_dict.py), so that its
collector reads them. What was merged is named behind the values, where the collector does
not look: replacing that one file is all it takes to commit, and a merge that is killed in
its middle counts nothing twice.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from operator import add
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client.mmap_dict import MmapedDict

#: How two values of one series become one, by the beginning of the file's name. Other kinds
#: (gauges that are shown for each process) are left as they are.
_JOINED: Final[dict[str, Callable[[float, float], float]]] = {
    "counter": add,
    "histogram": add,
    "summary": add,
    "gauge_sum": add,
    "gauge_max": max,
    "gauge_min": min,
}
_FILE: Final = re.compile(r"(counter|histogram|summary|gauge_[a-z]+)_(\d+)\.db")
_LOCK: Final = "merge.lock"
_log = logging.getLogger("glassline.metrics")


class _Merged(NamedTuple):
    """Values by series, and the names of the files that they came from last."""

    values: dict[str, float]
    sources: list[str]


@contextmanager
def steady(directory: Path) -> Iterator[None]:
    """Merge what is to be merged, then hold off merges by other processes while reading.

    Args:
        directory: where the processes keep their values.
    """
    with (directory / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _bury(directory)
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _bury(directory: Path) -> None:
    """Merge the files of dead processes; the caller holds the lock."""
    dead: dict[str, list[Path]] = {}
    for file in directory.glob("*.db"):
        match = _FILE.fullmatch(file.name)
        if match and not _is_alive(int(match[2])):
            dead.setdefault(match[1], []).append(file)
    for kind, files in dead.items():
        if kind.startswith("gauge_live"):
            for file in files:
                file.unlink(missing_ok=True)
        elif kind in _JOINED:
            _merge(directory / f"{kind}_dead.db", files, _JOINED[kind])


def _merge(target: Path, files: list[Path], joined: Callable[[float, float], float]) -> None:
    merged = _read_merged(target)
    left_over = set(merged.sources)  # of a merge that was killed before it could remove them
    values = merged.values
    for file in files:
        if file.name in left_over:
            continue
        for key, value in _read(file).items():
            values[key] = joined(values[key], value) if key in values else value
    fresh = target.with_suffix(".new")
    fresh.write_bytes(_encoded(_Merged(values, [file.name for file in files])))
    fresh.replace(target)
    for file in files:
        file.unlink(missing_ok=True)
    # A process may get the id of a dead one: what is named here must be gone for good.
    fresh.write_bytes(_encoded(_Merged(values, [])))
    fresh.replace(target)


def _read(file: Path) -> dict[str, float]:
    """Values by series; none if the process was killed before it could write any."""
    try:
        entries = MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]
        return {key: value for key, value, _, _ in entries}
    except (struct.error, RuntimeError, ValueError) as error:
        _log.warning("%s is not readable, what its process counted is lost: %s", file.name, error)
        return {}


def _read_merged(target: Path) -> _Merged:
    if not target.exists():
        return _Merged({}, [])
    data = target.read_bytes()
    (used,) = struct.unpack_from("i", data)
    return _Merged(_read(target), json.loads(data[used:]))


def _encoded(merged: _Merged) -> bytes:
    """In the format of prometheus_client's mmap_dict.py, the sources behind its end."""
    entries = []
    for key, value in merged.values.items():
        name = key.encode()
        padded = name + b" " * (8 - (len(name) + 4) % 8)
        entries.append(struct.pack(f"=i{len(padded)}sdd", len(name), padded, value, 0.0))
    body = b"".join(entries)
    return struct.pack("ii", 8 + len(body), 0) + body + json.dumps(merged.sources).encode()


def _is_alive(pid: int) -> bool:
    with suppress(PermissionError):  # it is somebody else's, but it is there
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
