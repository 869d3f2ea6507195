"""API keys: shown once, kept as hashes, good for what they were made for."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.access import Keyring, Scope, is_loopback
from service.errors import Forbidden, InvalidParameter, Unauthenticated
from tests.running_server import Server, a_server, glassline

HERE, ELSEWHERE = "127.0.0.1", "192.0.2.7"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys.json"


def test_a_key_is_never_written_down(file: Path) -> None:
    token = Keyring(file).create("line-7", [Scope.PREDICT])
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len({Keyring(file).create(str(n), [Scope.PREDICT]) for n in range(20)}) == 20


def test_without_keys_only_this_machine_is_answered(file: Path) -> None:
    keyring = Keyring(file)
    assert keyring.caller(None, Scope.ADMIN, HERE) == HERE
    with pytest.raises(Unauthenticated, match="glassline keys create"):
        keyring.caller(None, Scope.PREDICT, ELSEWHERE)
    assert Keyring(file, "open").caller(None, Scope.PREDICT, ELSEWHERE) == ELSEWHERE
    with pytest.raises(Unauthenticated, match="no API key"):
        Keyring(file, "keys").caller(None, Scope.PREDICT, HERE)


def test_a_key_names_its_caller_and_has_only_its_scopes(file: Path) -> None:
    keyring = Keyring(file)
    token = keyring.create("line-7", [Scope.PREDICT, Scope.EXPLAIN])
    assert keyring.caller(token, Scope.EXPLAIN, ELSEWHERE) == "line-7"
    with pytest.raises(Forbidden, match="needs 'audit'"):
        keyring.caller(token, Scope.AUDIT, HERE)
    for wrong in (None, "", token[:-1], token + "x", token.upper(), "ß"):
        with pytest.raises(Unauthenticated):
            keyring.caller(wrong, Scope.PREDICT, HERE)


def test_a_revoked_key_is_no_longer_known(file: Path) -> None:
    keyring = Keyring(file)
    token, other = (keyring.create(name, [Scope.AUDIT]) for name in ("gone", "stays"))
    keyring.revoke("gone")
    with pytest.raises(Unauthenticated, match="revoked"):
        keyring.caller(token, Scope.AUDIT, HERE)
    assert keyring.caller(other, Scope.AUDIT, HERE) == "stays"
    with pytest.raises(InvalidParameter, match="none named 'gone'"):
        keyring.revoke("gone")


@pytest.mark.parametrize(
    ("name", "scopes"),
    [("", [Scope.AUDIT]), ("x" * 65, [Scope.AUDIT]), ("a\nb", [Scope.AUDIT]), ("a", [])],
)
def test_a_key_without_name_or_scope_is_refused(file: Path, name: str, scopes: list[Scope]) -> None:
    with pytest.raises(InvalidParameter):
        Keyring(file).create(name, scopes)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.org", False)],
)  # fmt: skip
def test_what_counts_as_this_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.fixture
def locked_server(home: Path, tmp_path: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server that wants keys, and one key for each scope."""
    own = tmp_path / "home"
    own.mkdir()
    (own / "bentoml").symlink_to(home / "bentoml")
    tokens = {}
    for scope in Scope:
        made = glassline("keys", "create", f"{scope}-only", "--scope", scope, home=own)
        assert made.returncode == 0, made.stderr
        tokens[scope.value] = made.stdout.strip()
    with a_server(own, tmp_path / "log", GLASSLINE_ACCESS="keys") as running:
        yield running, tokens


ROUTES = [
    ("POST", "/v2/models/lenet-digits/infer", "predict"),
    ("POST", "/v2/models/lenet-digits/act", "predict"),
    ("GET", "/v2/models/lenet-digits", "predict"),
    ("GET", "/v2/models/stats", "predict"),
    ("POST", "/v1/models/lenet-digits:predict", "predict"),
    ("POST", "/v2/models/lenet-digits/explain", "explain"),
    ("POST", "/v2/records/x/explain", "explain"),
    ("GET", "/v2/explanations/x", "explain"),
    ("POST", "/v2/models/lenet-digits/similar", "predict"),
    ("POST", "/v2/models/lenet-digits/versions/1/similar", "predict"),
    ("POST", "/v2/models/lenet-digits/streams", "predict"),
    ("POST", "/v2/models/lenet-digits/streams/L1.a", "predict"),
    ("POST", "/v2/models/lenet-digits/versions/1/streams", "predict"),
    ("POST", "/v2/models/lenet-digits/versions/1/streams/L1.a", "predict"),
    ("GET", "/v2/models/lenet-digits/streams", "predict"),
    ("GET", "/v2/models/lenet-digits/streams/L1.a", "predict"),
    ("PUT", "/v2/models/lenet-digits/streams/L1.a", "admin"),
    ("PATCH", "/v2/models/lenet-digits/streams/L1.a", "admin"),
    ("DELETE", "/v2/models/lenet-digits/streams/L1.a", "admin"),
    ("GET", "/v2/models/lenet-digits/versions/1/streams/L1.a/state", "admin"),
    ("PUT", "/v2/models/lenet-digits/versions/1/streams/L1.a/state", "admin"),
    ("GET", "/v2/alarms", "predict"),
    ("GET", "/v2/alarms/x", "predict"),
    ("POST", "/v2/alarms/x/acknowledge", "review"),
    ("POST", "/v2/alarms/x/reset", "review"),
    ("POST", "/v2/alarms/x/feedback", "review"),
    ("GET", "/v2/models/lenet-digits/streams/L1.a/drift", "predict"),
    ("POST", "/v2/models/lenet-digits/streams/L1.a/drift", "review"),
    ("GET", "/audit/records", "audit"),
    ("GET", "/audit/records/x", "audit"),
    ("GET", "/audit/records/x/payloads/image", "audit"),
    ("GET", "/audit/records/x/report", "audit"),
    ("GET", "/audit/records/x/bundle", "audit"),
    ("GET", "/audit/checkpoint", "audit"),
    ("GET", "/audit/checkpoint/cosigned", "audit"),
    ("GET", "/audit/keys", "audit"),
    ("GET", "/audit/proof/inclusion", "audit"),
    ("GET", "/audit/proof/consistency", "audit"),
    ("POST", "/audit/cosignatures", "audit"),
    ("DELETE", "/audit/records/x/payloads", "admin"),
    ("POST", "/audit/records/x/replay", "audit"),
    ("POST", "/audit/records/x/reviews", "review"),
    ("POST", "/v2/repository/models/lenet-digits/load", "admin"),
    ("POST", "/v2/repository/models/lenet-digits/unload", "admin"),
]


def test_every_route_wants_its_scope_and_no_other(
    locked_server: tuple[Server, dict[str, str]],
) -> None:
    server, tokens = locked_server
    with server.client(30) as client:
        for open_route in (
            "/livez",
            "/readyz",
            "/metrics",
            "/alarms",
            "/docs",
            "/v2/health/ready",
            "/v2",
        ):
            assert client.get(open_route).status_code == 200
        for method, path, wanted in ROUTES:
            bare = client.request(method, path)
            assert bare.status_code == 401, path
            assert bare.headers["www-authenticate"].startswith("Bearer")
            assert list(bare.json()) == ["error"]
            for scope, token in tokens.items():
                if path.endswith("/unload") and scope == wanted:
                    continue  # it would
                answer = client.request(method, path, headers={"authorization": f"Bearer {token}"})
                if scope == wanted:
                    assert answer.status_code not in (401, 403), (path, scope)
                else:
                    assert answer.status_code == 403, (path, scope)
        same = client.get("/v2/models/stats", headers={"x-api-key": tokens["predict"]})
        assert same.status_code == 200


def test_a_public_address_without_keys_is_refused_at_start(home: Path, tmp_path: Path) -> None:
    own = tmp_path / "home"
    own.mkdir()
    (own / "bentoml").symlink_to(home / "bentoml")
    done = glassline("serve", home=own, GLASSLINE_HOST="0.0.0.0")
    assert done.returncode == 1
    assert "glassline keys create" in done.stderr
    assert "GLASSLINE_ACCESS=open" in done.stderr
