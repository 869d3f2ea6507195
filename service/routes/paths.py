"""Which hot route a path is, and what a caller must be allowed to do for any path."""

from __future__ import annotations

from dataclasses import dataclass

from service.access import Scope

#: Operations, documentation, and a page without data: no key is asked for.
_OPEN = frozenset(
    {"/", "/livez", "/readyz", "/metrics", "/alarms", "/docs", "/openapi.json", "/v2", "/v2/"}
)
_OPEN_BELOW = ("/v2/health/", "/static-offline-docs/", "/docs/")


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A route that `data_plane.py` or `kserve_v1.py` answers.

    `template` is the path without its values, as metrics name it; `subject` is the model's
    name, or the record's id; `stream` that of a stream.
    """

    template: str
    subject: str
    version: str | None
    action: str
    scope: Scope
    stream: str | None = None

    @property
    def only_post(self) -> bool:
        """Whether nothing but a POST may be sent there."""
        return self.action != "streams"


def hot_route(path: str) -> HotRoute | None:
    """The hot route that a POST to `path` is, if it is one."""
    match path.split("/"):
        case ["", "v2", "models", model, ("infer" | "act" | "explain") as action]:
            scope = Scope.EXPLAIN if action == "explain" else Scope.PREDICT
            return HotRoute(f"/v2/models/{{model}}/{action}", model, None, action, scope)
        case [
            "", "v2", "models", model, "versions", version,
            ("infer" | "act" | "explain") as action,
        ]:  # fmt: skip
            scope = Scope.EXPLAIN if action == "explain" else Scope.PREDICT
            template = f"/v2/models/{{model}}/versions/{{version}}/{action}"
            return HotRoute(template, model, version, action, scope)
        case ["", "v2", "models", model, "similar"]:
            return HotRoute("/v2/models/{model}/similar", model, None, "similar", Scope.PREDICT)
        case ["", "v2", "models", model, "versions", version, "similar"]:
            template = "/v2/models/{model}/versions/{version}/similar"
            return HotRoute(template, model, version, "similar", Scope.PREDICT)
        case ["", "v2", "models", model, "streams", *stream] if len(stream) <= 1:
            template = "/v2/models/{model}/streams" + ("/{stream}" if stream else "")
            name = stream[0] if stream else None
            return HotRoute(template, model, None, "streams", Scope.PREDICT, name)
        case ["", "v2", "models", model, "versions", version, "streams", *stream] if (
            len(stream) <= 1
        ):
            template = "/v2/models/{model}/versions/{version}/streams"
            template += "/{stream}" if stream else ""
            name = stream[0] if stream else None
            return HotRoute(template, model, version, "streams", Scope.PREDICT, name)
        case ["", "v1", "models", tail] if tail.endswith((":predict", ":explain")):
            model, _, verb = tail.rpartition(":")
            scope = Scope.PREDICT if verb == "predict" else Scope.EXPLAIN
            return HotRoute(f"/v1/models/{{model}}:{verb}", model, None, f"v1:{verb}", scope)
        case ["", "v2", "records", record_id, "explain"]:
            template = "/v2/records/{id}/explain"
            return HotRoute(template, record_id, None, "explain-record", Scope.EXPLAIN)
    return None


def scope_of(path: str, method: str = "GET") -> Scope | None:
    """What a key must be good for to ask for a control route; None = no key is needed."""
    if path in _OPEN or path.startswith(_OPEN_BELOW):
        return None
    if path.startswith("/audit"):
        return _audit_scope(path, method)
    if path.startswith(("/v2/explanations", "/v2/jobs")):
        return Scope.EXPLAIN
    if path.startswith("/v2/repository/models/"):
        return Scope.ADMIN
    if path.startswith("/v2/alarms") and method == "POST":
        return Scope.REVIEW
    if "/streams/" in path and path.endswith("/drift") and method == "POST":
        return Scope.REVIEW
    if "/streams/" in path and method in ("PUT", "PATCH", "DELETE"):
        return Scope.ADMIN
    if "/streams/" in path and path.endswith("/state"):
        return Scope.ADMIN
    return Scope.PREDICT


def _audit_scope(path: str, method: str) -> Scope:
    """Reading and replaying is for auditors, signing for reviewers, erasing for the operator."""
    if method == "DELETE":
        return Scope.ADMIN
    return Scope.REVIEW if method == "POST" and path.endswith("/reviews") else Scope.AUDIT
