"""The record store of a process, and its way to write to it."""

from __future__ import annotations

import logging
import os

from service.audit.channel import RecordChannel
from service.audit.log_writer import LogWriter
from service.audit.recorder import Writer
from service.audit.sequencer import socket_path
from service.audit.store import RecordStore
from service.audit.writer import RecordWriter
from service.settings import Settings

#: Unix sockets have paths of 104 bytes or more, the closing NUL counted.
LONGEST_SOCKET = 103
_log = logging.getLogger("glassline.records")


def open_records(settings: Settings, *, starts: bool = True) -> tuple[RecordStore, Writer]:
    """The record store and the way to write to it, as the settings say.

    Args:
        settings: where the store is.
        starts: whether this process may start the one that writes; see `RecordChannel`.

    Raises:
        Unavailable: the database cannot be opened.
        StoreError: it was written by a newer Glassline.
    """
    store = RecordStore(settings.database)
    path = socket_path(settings)
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        _log.warning(
            "%s is too long for a socket: every process writes records itself, which is slower. "
            "Choose a shorter GLASSLINE_HOME.",
            path,
        )
        return store, RecordWriter(LogWriter.of(settings))
    return store, RecordChannel(path, settings.environment(), starts=starts)
