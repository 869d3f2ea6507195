"""The JSON object that JSON and binary bodies share: its fields, and what they mean.

Source: https://github.com/kserve/open-inference-protocol, "Inference Request JSON Object";
binary members: Triton's extension_binary_data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import orjson
from numpy.typing import NDArray

from service.errors import MalformedBody, TensorMismatch
from service.manifest import Manifest
from service.protocol.datatypes import BINARY_ONLY, datatype_of
from service.protocol.request import InferRequest, RequestedOutput
from service.protocol.signature import Signature, Slot, shown

#: Makes one input's array: its demands, its JSON object, its checked shape.
Take = Callable[[Slot, dict[str, Any], tuple[int, ...]], NDArray[Any]]

_EXAMPLE: Final = (
    '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1.5]}]}'
)


def parse(text: bytes | memoryview, where: str) -> dict[str, Any]:
    """The body's JSON object.

    Args:
        text: UTF-8 JSON, nested at most 1,024 deep.
        where: model reference, for the error message.

    Raises:
        MalformedBody: not JSON (NaN and Infinity are not either), or no object.
    """
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        got = "an empty body" if not text else f"no valid JSON ({error.msg} at byte {error.pos})"
        raise MalformedBody(
            f"{where}: request body: got {got}, wanted a JSON object. Send {_EXAMPLE}"
        ) from None
    if type(document) is not dict:
        refuse_field(where, "request body", document, f"a JSON object such as {_EXAMPLE}")
    return document


def refuse_field(where: str, field: str, value: Any, wanted: str) -> NoReturn:
    """Raise MalformedBody for a field of the wrong JSON type."""
    raise MalformedBody(f"{where}: {field}: got {shown(value)}, wanted {wanted}.")


def read(document: dict[str, Any], signature: Signature, max_rows: int, take: Take) -> InferRequest:
    """Turn the JSON object into a valid request.

    Raises:
        MalformedBody: a field has the wrong JSON type.
        TensorMismatch: inputs or outputs do not fit the manifest.
        TooLarge: more than `max_rows` rows.
    """
    where = signature.where
    identity = document.get("id")
    if identity is not None and type(identity) is not str:
        refuse_field(where, "id", identity, "a string, or no id")
    parameters = parameters_of(document, where, "parameters")
    binary = parameters.get("binary_data_output", False)
    if type(binary) is not bool:
        refuse_field(where, "parameters.binary_data_output", binary, "true or false")
    outputs = _outputs(document.get("outputs"), signature, binary)
    return InferRequest(
        id=identity,
        inputs=_inputs(document.get("inputs"), signature, max_rows, take),
        outputs=outputs,
        parameters=parameters,
    )


def parameters_of(holder: dict[str, Any], where: str, field: str) -> dict[str, Any]:
    """The `parameters` of a request, an input or an output; empty when there are none.

    Raises:
        MalformedBody: not a JSON object.
    """
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        refuse_field(where, field, parameters, "a JSON object")
    return parameters


def _inputs(
    tensors: Any, signature: Signature, max_rows: int, take: Take
) -> dict[str, NDArray[Any]]:
    if tensors is None and signature.takes_nothing:
        tensors = []
    if type(tensors) is not list:
        refuse_field(signature.where, "inputs", tensors, f"a list of tensors as in {_EXAMPLE}")
    inputs: dict[str, NDArray[Any]] = {}
    rows = 0
    for tensor in tensors:
        slot = _slot(tensor, signature, inputs)
        if tensor.get("datatype") != slot.datatype:
            slot.refuse(f"has datatype {shown(tensor.get('datatype'))}", repr(slot.datatype))
        named = parameters_of(tensor, slot.where, "parameters").get("features")
        order = None if named is None else slot.order_of(named)
        shape = slot.concrete(tensor.get("shape"), max_rows)
        if inputs and shape[0] != rows:
            slot.refuse(f"has {shape[0]} rows", f"{rows} as in input '{next(iter(inputs))}'")
        rows = shape[0]
        values = take(slot, tensor, shape)
        inputs[slot.name] = values if order is None else values[..., order]
    if len(inputs) != len(signature.inputs) and (lacking := signature.missing(inputs)):
        missing = ", ".join(f"'{name}'" for name in lacking)
        raise TensorMismatch(
            f"{signature.where}: got {len(inputs)} of {len(signature.inputs)} inputs, "
            f"wanted {missing} too. GET /v2/models/{signature.manifest.name} lists every input."
        )
    return inputs


def _slot(tensor: Any, signature: Signature, seen: Mapping[str, Any]) -> Slot:
    if type(tensor) is not dict:
        refuse_field(signature.where, f"inputs[{len(seen)}]", tensor, "a JSON object")
    name = tensor.get("name")
    if type(name) is not str:
        refuse_field(signature.where, f"inputs[{len(seen)}].name", name, "a string")
    slot = signature.inputs.get(name)
    if slot is None or name in seen:
        raise TensorMismatch(
            f"{signature.where}: got input {shown(name)}{' twice' if slot else ''}, "
            f"wanted each of {', '.join(signature.inputs)} once. "
            f"GET /v2/models/{signature.manifest.name} lists every input."
        )
    return slot


def _outputs(wanted: Any, signature: Signature, binary: bool) -> tuple[RequestedOutput, ...] | None:
    if wanted is not None and type(wanted) is not list:
        refuse_field(signature.where, "outputs", wanted, "a list of outputs, or none for all")
    if not wanted:
        if signature.binary_only and not binary:
            _refuse_half(signature.where, signature.binary_only[0])
        return None
    requested: dict[str, RequestedOutput] = {}
    for index, output in enumerate(wanted):
        if type(output) is not dict:
            refuse_field(signature.where, f"outputs[{index}]", output, "a JSON object")
        chosen = _output(output, index, signature, binary)
        if chosen.name in requested:
            raise TensorMismatch(
                f"{signature.where}: got output '{chosen.name}' twice, wanted it once. "
                "Send each name once."
            )
        requested[chosen.name] = chosen
    return tuple(requested.values())


def _output(
    output: dict[str, Any], index: int, signature: Signature, binary: bool
) -> RequestedOutput:
    name = output.get("name")
    if type(name) is not str:
        refuse_field(signature.where, f"outputs[{index}].name", name, "a string")
    datatype = signature.outputs.get(name)
    if datatype is None:
        raise TensorMismatch(
            f"{signature.where}: got a request for output {shown(name)}, wanted one of "
            f"{', '.join(signature.outputs)}. Leave 'outputs' away to get all of them."
        )
    field = f"outputs[{index}].parameters"
    parameters = parameters_of(output, signature.where, field)
    own = parameters.get("binary_data", binary)
    if type(own) is not bool:
        refuse_field(signature.where, f"{field}.binary_data", own, "true or false")
    if datatype in BINARY_ONLY and not own:
        _refuse_half(signature.where, name)
    return RequestedOutput(name, own, parameters)


def _refuse_half(where: str, name: str) -> NoReturn:
    raise TensorMismatch(
        f"{where}: output '{name}' is a 16-bit float: got a request for JSON, wanted binary data. "
        'Send "parameters": {"binary_data_output": true}.'
    )


def chosen(
    manifest: Manifest, outputs: Mapping[str, NDArray[Any]], request: InferRequest
) -> Sequence[str]:
    """Names of the outputs to send: as asked for, else all in the mapping's order.

    Outputs as large as the input are sent to those who name them alone.

    Raises:
        TensorMismatch: an output that was asked for is not there.
    """
    if request.outputs is None:
        large = manifest.on_request
        return [name for name in outputs if name not in large] if large else list(outputs)
    names = [output.name for output in request.outputs]
    for name in names:
        if name not in outputs:
            raise TensorMismatch(
                f"output '{name}': got {', '.join(outputs) or 'no outputs'} from the model, "
                "wanted this one too. Leave it out of 'outputs'."
            )
    return names


def describe(name: str, array: NDArray[Any]) -> dict[str, Any]:
    """The members that every response tensor has: name, datatype, shape."""
    return {"name": name, "datatype": datatype_of(name, array), "shape": array.shape}


def response(
    manifest: Manifest,
    tensors: list[dict[str, Any]],
    request: InferRequest,
    parameters: Mapping[str, Any],
) -> bytes:
    """The response's JSON object; arrays under `data` must be C-contiguous."""
    document: dict[str, Any] = {
        "model_name": manifest.name,
        "model_version": manifest.version,
    }
    if request.id is not None:
        document["id"] = request.id
    document["parameters"] = parameters if type(parameters) is dict else dict(parameters)
    document["outputs"] = tensors
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
