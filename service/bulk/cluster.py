"""Ray, quiet: a cluster of this machine alone for as long as it is needed, or one by address."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from service.errors import InvalidParameter, Unavailable

#: Read by Ray when it is imported or started: nobody is told that it runs, and workers without
#: a GPU of their own see the machine as it is.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # As an explaining process of a server: a server on this machine comes first.
    "RAY_worker_niceness": "10",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
_CONNECT_S = 5.0


def check_installed() -> None:
    """Refuse where the extra is missing.

    Raises:
        Unavailable: Ray or pyarrow is not installed.
    """
    if missing := [name for name in ("ray", "pyarrow", "pandas") if find_spec(name) is None]:
        raise Unavailable(
            f"glassline explain --batch needs {' and '.join(missing)}, which is not installed. "
            "Install it: pip install 'glassline[batch]'."
        )


@contextmanager
def joined(address: str | None, workers: int | None) -> Iterator[dict[str, float]]:
    """A cluster to work on, by Ray's names of what it offers (`CPU`, `GPU`).

    Args:
        address: host:port of a cluster; None = one of this machine, gone when this ends.
        workers: processes that will be wanted; None = as many as there are CPUs.

    Raises:
        InvalidParameter: no address, or more workers than the cluster has CPUs.
        Unavailable: there is no cluster at the address.
    """
    if address is not None:
        _answers(address)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address is None and "RAY_AUTH_MODE" not in os.environ:
        # Ray would make a key of its own and leave it in the home folder, for everybody to read.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray
    import ray.data

    folder = tempfile.mkdtemp(prefix="glassline-ray-", dir=_short())
    options: dict[str, Any] = {"address": address} if address else {
        "num_cpus": workers, "include_dashboard": False, "_temp_dir": folder,
    }  # fmt: skip
    with _hushed(Path(folder) / "messages"), _stoppable():
        try:
            try:
                ray.init(logging_level=logging.CRITICAL, log_to_driver=False, **options)
            except (ConnectionError, RuntimeError, ValueError) as error:
                said = str(error).partition("\n")[0]
                if address is None:
                    raise Unavailable(f"Ray does not start on this machine: {said}.") from None
                raise Unavailable(
                    f"--address: {said}. It must be of the same Ray and Python; if it wants a "
                    "token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH."
                ) from None
            signal.signal(signal.SIGTERM, _stop)  # Ray has put its own there
            ray.data.DataContext.get_current().enable_progress_bars = False
            offered = ray.cluster_resources()
            if workers is not None and workers > offered.get("CPU", 0):
                raise InvalidParameter(
                    f"--workers: got {workers}, but the cluster at {address} has "
                    f"{offered.get('CPU', 0):.0f} CPUs. Ask for fewer."
                )
            yield offered
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _hushed(log: Path) -> Iterator[None]:
    """Standard output and error to a file: Ray writes there whatever it is told."""
    streams = sys.stdout, sys.stderr
    for stream in streams:
        stream.flush()
    kept = os.dup(1), os.dup(2)
    try:
        with log.open("wb") as sink:
            for descriptor in (1, 2):
                os.dup2(sink.fileno(), descriptor)
        yield
    finally:
        for descriptor, (stream, own) in enumerate(zip(streams, kept, strict=True), start=1):
            stream.flush()
            os.dup2(own, descriptor)
            os.close(own)


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl+C does."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _answers(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself would wait for a minute."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal()) or "/" in address:
        raise InvalidParameter(
            f"--address: got '{address}', wanted host:port of a Ray cluster, 10.0.0.5:6379 say, "
            "or 'auto' for one that runs on this machine."
        )
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise Unavailable(
            f"--address: nobody answers at {address} ({error}). Start a cluster with "
            "`ray start --head`, or leave --address out to work on this machine."
        ) from None


def _short() -> str | None:
    """A folder for Ray's sockets, whose names may have 107 bytes; None = the usual one."""
    return "/tmp" if len(tempfile.gettempdir()) > 20 and os.path.isdir("/tmp") else None
