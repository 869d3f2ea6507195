"""The body of `act`: states in words and numbers, and what to do in each.

    {"state": {"wear": 7, "hard steel": 1}, "legal": ["run", "slow down"]}

`state` is one state, `states` a list of them: numbers in the manifest's order, or an object of
feature name to number. `legal` names the legal actions, `noise` has a number an action; of several
states either one for all of them or a list with one each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import numpy as np
import orjson
from numpy.typing import NDArray

from service.errors import InvalidRequest, MalformedBody
from service.manifest import Manifest
from service.policy import (
    ACTION_NUMBER,
    LEGAL,
    NOISE,
    OBSERVATION,
    OUTSIDE,
    PREFERENCE,
    SAFE,
    Policy,
)
from service.protocol import envelope
from service.protocol.json_codec import check_finite, take_json
from service.protocol.request import InferRequest
from service.protocol.signature import Slot, listed, shown, signature_of

#: Members that a body may have.
MEMBERS: Final = frozenset({"id", "state", "states", "legal", "noise"})
#: Says in a decoded request that one state was asked about, not a list of one.
SINGLE: Final = "single"


def decode(body: bytes, manifest: Manifest, max_rows: int) -> InferRequest:
    """Decode the body of `act`.

    Args:
        body: UTF-8 JSON.
        manifest: of the model that is asked.
        max_rows: most states.

    Raises:
        InvalidRequest: the model does not act.
        MalformedBody: not JSON, or a member of the wrong JSON type, or one that nobody knows.
        TensorMismatch: features, actions or values are not the policy's.
        TooLarge: more than `max_rows` states.
    """
    where = manifest.reference
    policy = manifest.policy
    if policy is None:
        raise InvalidRequest(
            f"{where}: this model can {manifest.task}, not act. "
            f"POST /v2/models/{manifest.name}/infer."
        )
    document = envelope.parse(body, where)
    if unknown := sorted(set(document) - MEMBERS):
        _refuse(where, listed(unknown), f"some of {', '.join(sorted(MEMBERS))}")
    single = "state" in document
    if single == ("states" in document):
        _refuse(where, "both or none of 'state' and 'states'", "one of them")
    states = [document["state"]] if single else document["states"]
    if type(states) is not list or not states:
        _refuse(where, f"states {shown(states)}", "a list of one state or more")
    slots = signature_of(manifest).inputs
    rows = len(states)
    slot = slots[OBSERVATION]
    shape = slot.concrete([rows, len(policy.features)], max_rows)
    inputs = {OBSERVATION: _taken(slot, [_numbers(slot, one) for one in states], shape)}
    for name, read in ((LEGAL, _legal), (NOISE, _noise)):
        if (given := document.get(name)) is not None:
            inputs[name] = read(slots[name], policy, given, rows)
    identity = document.get("id")
    if identity is not None and type(identity) is not str:
        envelope.refuse_field(where, "id", identity, "a string, or no id")
    return InferRequest(identity, inputs, None, {SINGLE: single})


def _numbers(slot: Slot, state: Any) -> list[Any]:
    """A state's numbers in the manifest's order."""
    if type(state) is dict:
        names = list(state)
        if tuple(names) == slot.features:
            return list(state.values())
        values = list(state.values())
        return [values[at] for at in slot.order_of(names)]
    if type(state) is not list or len(state) != len(slot.features):
        slot.refuse(
            f"has a state {shown(state)}",
            f"{len(slot.features)} numbers, or an object with each of {listed(slot.features)}",
        )
    return state


def _taken(slot: Slot, rows: Sequence[list[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    """Numbers as an array, checked as those of `infer` are."""
    flat = rows[0] if len(rows) == 1 else [value for row in rows for value in row]
    return take_json(True, slot, {"data": flat}, shape)


def _legal(slot: Slot, policy: Policy, given: Any, rows: int) -> NDArray[Any]:
    each = _each(slot, given, rows)
    legal = np.zeros((rows, len(policy.actions)), np.bool_)
    for row, names in enumerate(each):
        for name in names:
            if name not in policy.actions:
                slot.refuse(f"has {shown(name)}", f"some of {listed(policy.actions)}")
            legal[row, policy.actions.index(name)] = True
    return legal


def _noise(slot: Slot, policy: Policy, given: Any, rows: int) -> NDArray[Any]:
    each = _each(slot, given, rows)
    for one in each:
        if len(one) != len(policy.actions):
            slot.refuse(f"has {shown(one)}", f"{len(policy.actions)} numbers, one an action")
    return _taken(slot, each, (rows, len(policy.actions)))


def _each(slot: Slot, given: Any, rows: int) -> list[list[Any]]:
    """One list for each state."""
    if type(given) is not list:
        slot.refuse(f"has {shown(given)}", "a list")
    if not given or type(given[0]) is not list:
        return [given] * rows
    if len(given) != rows or any(type(one) is not list for one in given):
        slot.refuse(f"has {shown(given)}", f"a list for each of the {rows} states, or one for all")
    return given


def encode(
    manifest: Manifest,
    outputs: Mapping[str, NDArray[Any]],
    request: InferRequest,
    parameters: Mapping[str, Any],
) -> bytes:
    """What to do: an object for one state; a list of them, `actions`, for several.

    Args:
        manifest: of a model with a policy.
        outputs: of the task.
        request: as `decode` gave it.
        parameters: the answer's own, JSON values.

    Raises:
        TensorMismatch: a preference is NaN or Infinity.
    """
    policy = manifest.policy
    assert policy is not None  # whoever decoded has looked
    document: dict[str, Any] = {
        "model_name": manifest.name,
        "model_version": manifest.version,
        "parameters": dict(parameters),
    }
    if request.id is not None:
        document["id"] = request.id
    acts = _acts(policy, outputs)
    if request.parameters[SINGLE]:
        document.update(acts[0])
    else:
        document["actions"] = acts
    body = orjson.dumps(document)
    if b"null" in body:
        check_finite(outputs)
    return body


def _acts(policy: Policy, outputs: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """What to do in each state; of a fail-safe, which no graph has preferred, nothing more."""
    if PREFERENCE not in outputs:
        unknown = dict.fromkeys(("preference", "safe_default", "outside", "outside_feature"))
        numbers = outputs[ACTION_NUMBER].tolist()
        return [
            {"action": action, "action_number": number, **unknown}
            for action, number in zip(outputs["action"], numbers, strict=True)
        ]
    columns = zip(
        outputs["action"], outputs[ACTION_NUMBER].tolist(), outputs[PREFERENCE].tolist(),
        outputs[SAFE].tolist(), outputs[OUTSIDE].tolist(), outputs["outside_feature"],
        strict=True,
    )  # fmt: skip
    return [
        {
            "action": action,
            "action_number": number,
            "preference": dict(zip(policy.actions, preference, strict=True)),
            "safe_default": safe,
            "outside": outside,
            "outside_feature": feature or None,
        }
        for action, number, preference, safe, outside, feature in columns
    ]


def _refuse(where: str, got: str, wanted: str) -> NoReturn:
    raise MalformedBody(f'{where}: got {got}, wanted {wanted}. Send {{"state": [...]}}, say.')
