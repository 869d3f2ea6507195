"""Start `bentoml serve` on our service, wait until it is ready, and say what to ask it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from rich.console import Console

from service import tracing
from service.access import Keyring, is_loopback
from service.client import Client, media_type_of
from service.crew import Crew
from service.errors import GlasslineError, Unavailable
from service.settings import Settings
from service.store import ModelStore, StoredModel

SERVICE = "service.app:Glassline"
START_SECONDS = 120
#: What leaving takes beyond the longest request.
LEAVE_SECONDS = 5
LONGEST_TEMPORARY = 50


def serve(settings: Settings, console: Console) -> int:
    """Run the server until it ends or a signal stops it.

    Returns:
        The exit code: 0 after a signal, else the server's own.

    Raises:
        Unavailable: no model is released, or the port is taken.
    """
    tracing.check()
    models = _models(settings)
    _check_access(settings)
    _check_port(settings)
    command = [
        sys.executable, "-m", "bentoml", "serve", SERVICE,
        "--host", settings.host, "--port", str(settings.port),
    ]  # fmt: skip
    # A Unix socket's path has at most 107 bytes, and BentoML puts some in the temporary folder.
    if len(tempfile.gettempdir()) > LONGEST_TEMPORARY and Path("/tmp").is_dir():
        os.environ["TMPDIR"] = "/tmp"
    # matplotlib keeps its list of fonts; a container's user has no home for it.
    os.environ.setdefault("MPLCONFIGDIR", str(settings.root / "matplotlib"))
    # BentoML takes this variable, which its images set, as a reason not to restart dead workers.
    inherited = {k: v for k, v in os.environ.items() if k != "BENTOML_CONTAINERIZED"}
    server = subprocess.Popen(command, env={**inherited, **settings.environment()})
    crew = Crew(settings.root, server.pid, settings.workers)
    stopped = False

    def stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's shape
        nonlocal stopped
        politely = not stopped and signum == signal.SIGTERM
        stopped = True
        if politely:
            crew.drain()
            time.sleep(settings.drain_s)
            _call_off(crew, settings)
        server.send_signal(signal.SIGTERM)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)
    url = f"http://{_reachable(settings.host)}:{settings.port}"
    if _wait(server, url):
        _say(console, url, settings, models)
    code = server.wait()
    crew.disband()
    return 0 if stopped else code


def _call_off(crew: Crew, settings: Settings) -> None:
    """Have the predicting processes close the door and finish what they have begun."""
    longest = max(settings.predict_timeout_s, settings.explain_timeout_s) + LEAVE_SECONDS
    begun = time.monotonic()
    crew.call_off()
    while not crew.gone and (waited := time.monotonic() - begun) < longest:
        if waited > LEAVE_SECONDS and not crew.all_shut:
            return  # they serve through BentoML's mount, and do not listen to their crew
        time.sleep(0.02)


def _models(settings: Settings) -> list[StoredModel]:
    """The newest version of each model that its digests let through."""
    store = ModelStore(settings.root)
    models = []
    for name in store.names():
        try:
            models.append(store.get(name))
        except GlasslineError:
            continue  # the server says why, for it goes on with the others
    if not store.names():
        raise Unavailable(
            f"no models in {settings.root}. Train one first: "
            "glassline train cnn --arch lenet5 --data digits"
        )
    return models


def _check_access(settings: Settings) -> None:
    """Refuse to be open to a network by accident."""
    if settings.access != "auto" or is_loopback(settings.host):
        return
    if not Keyring(settings.keys_file).list():
        raise Unavailable(
            f"GLASSLINE_HOST={settings.host} opens the server to the network, and there are no API "
            "keys. Make one: glassline keys create NAME --scope predict. Or say that anybody may "
            "ask: GLASSLINE_ACCESS=open"
        )


def _check_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise Unavailable(
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror}). Stop what "
                "listens there, or choose another port: GLASSLINE_PORT=3001 glassline serve"
            ) from None


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _wait(server: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + START_SECONDS
    with Client(url) as client:
        while server.poll() is None and time.monotonic() < deadline:
            if client.ready():
                return True
            time.sleep(0.1)
    return False


def _say(console: Console, url: str, settings: Settings, models: list[StoredModel]) -> None:
    """The address and three calls that work when pasted."""
    names = ", ".join(m.manifest.reference for m in models)
    lines = [f"\n[bold green]Glassline is ready at {url}[/]  ({names}; docs at {url}/docs)\n"]
    examples = {
        model.manifest.name: example
        for model in sorted(models, key=lambda model: model.size)
        if (example := _example(settings, model))
    }
    for name, example in list(examples.items())[:1]:
        lines += _calls(url, name, example)
    lines += [
        f"[dim]# more to try: {name} with {path}[/]" for name, path in list(examples.items())[1:]
    ]
    console.print("\n".join(lines), soft_wrap=True, highlight=False)


def _calls(url: str, name: str, example: Path) -> list[str]:
    why = f"why-{name}.png"
    post = f"curl -s -H 'Content-Type: {media_type_of(example)}' --data-binary @{example}"
    return [
        "[dim]# predict the model's own example[/]",
        f"{post} {url}/v2/models/{name}/infer\n",
        "[dim]# explain it to a picture[/]",
        f"{post} -H 'Accept: image/png' -o {why} {url}/v2/models/{name}/explain && echo {why}\n",
        "[dim]# show the record of a prediction[/]",
        f"RECORD=$({post} {url}/v2/models/{name}/infer | "
        'grep -o \'"record_id":"[^"]*\' | cut -d\'"\' -f4)\n'
        f"curl -s {url}/audit/records/$RECORD\n",
    ]


def _example(settings: Settings, model: StoredModel) -> Path | None:
    """The model's own example input, where a person can find it."""
    asset = model.manifest.assets.get("example")
    if asset is None:
        return None
    folder = settings.root / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{model.manifest.name}{Path(asset.file).suffix}"
    shutil.copyfile(model.folder / asset.file, target)
    return target.relative_to(Path.cwd()) if target.is_relative_to(Path.cwd()) else target
