"""The page on which operators see alarms as they come, and deal with them.

One file without data: what it shows it asks the API for, with the key of whoever looks at it.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


@cache
def page() -> tuple[str, str]:
    """HTML that needs nothing else, and the policy that holds it to that.

    Returns:
        The page, and the value of `Content-Security-Policy`: no script runs but its own, and it
        talks to its own server alone. Pages that it opens (explanations) inherit the policy: their
        styles and pictures are in them, and they have no script.
    """
    style, script, frame = (
        (_HERE / f"alarm_page.{kind}").read_text("utf-8") for kind in ("css", "js", "html")
    )
    text = frame.replace("{{ style }}", style).replace("{{ script }}", script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return text, policy
