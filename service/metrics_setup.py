"""How metrics are kept, settled before the first is made: in files for several processes, or not.

With PROMETHEUS_MULTIPROC_DIR set (BentoML's supervisor sets it), each process keeps its
values in files there; without it there is one process. prometheus_client settles which of the
two when it is first imported, and so do we: a variable that is set later changes nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import values
from prometheus_client.values import MultiProcessValue

#: Where the processes keep their values; None when there is one process.
DIRECTORY = (
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) if values.ValueClass._multiprocess else None
)
if DIRECTORY:
    DIRECTORY.mkdir(parents=True, exist_ok=True)  # the first metric opens a file there
    # The client asks the kernel for the process id at every increment, eleven times a request,
    # and where system calls are dear that costs more than a small model. It changes by fork alone.
    _process = [os.getpid()]
    os.register_at_fork(after_in_child=lambda: _process.__setitem__(0, os.getpid()))
    values.ValueClass = MultiProcessValue(  # type: ignore[no-untyped-call]
        process_identifier=lambda: _process[0]
    )

PREDICT_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
EXPLAIN_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
MODEL = ("model", "version")
