"""Log lines of our processes, on standard error."""

from __future__ import annotations

import logging


def configure_logging(level: str) -> None:
    """Write `glassline.*` log lines of at least this level, once each.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
    """
    logger = logging.getLogger("glassline")
    logger.setLevel(level)
    logger.propagate = False
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(name)s[%(process)d] %(message)s")
        )
        logger.addHandler(handler)
