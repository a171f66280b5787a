"""What TensorRT's engine inspector says of a built engine, read for one thing: in which precision each layer runs.

The JSON names the network's layers in ``Name``, joined by plus signs where they were fused, and from 8.6 on in
``Metadata`` too. With a batch of any size it keeps back the types of tensors ("N/A due to dynamic shapes"), so the type
of a layer's weights is asked first, then the name of its kernel, which holds the types it computes in.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from dlcompare.core.plugins.engine import Ran

Json = dict[str, Any]
TYPES = re.compile(r"int8|bfloat16|bf16|half|float16|fp16|float|fp32", re.IGNORECASE)
# NVIDIA's names of kernels have pairs of types: what is read and written, then what is multiplied and summed.
COMPUTED = re.compile(r"_(i8|bf16|tf32|f16|f32)(?:i32|f32|f16)(?=_|$)")
ONNX_NAME = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
NAMES = {"int8": "int8", "i8": "int8", "half": "fp16", "float16": "fp16", "fp16": "fp16", "f16": "fp16",
         "bfloat16": "bf16", "bf16": "bf16", "tf32": "tf32", "float": "fp32", "fp32": "fp32", "f32": "fp32"}
MOVING = {"Reformat", "Constant", "NoOp", "Shuffle", "Quantize", "Dequantize"}  # layers that multiply nothing
UNTOLD = "not told"


def executed(information: str, layers: Sequence[str], asked: str) -> Ran:
    """Return in which precision the named layers run, from the inspector's JSON of the whole engine."""
    told = dict.fromkeys(layers, UNTOLD)
    for layer in json.loads(information)["Layers"]:
        if isinstance(layer, dict) and layer.get("LayerType") not in MOVING and (found := precision(layer)):
            told.update(dict.fromkeys(told.keys() & set(names(layer)), found))
    known = Counter(found for found in told.values() if found != UNTOLD)
    if not known:
        return Ran(asked, layers=0)
    left = (name if found != UNTOLD else f"{name} ({UNTOLD})" for name, found in told.items() if found != asked)
    return Ran(known.most_common(1)[0][0], len(told), tuple(left))


def names(layer: Json) -> Iterator[str]:
    """Yield the network's layers that went into one of the engine's."""
    yield from str(layer.get("Name", "")).split(" + ")
    yield from ONNX_NAME.findall(str(layer.get("Metadata", "")))


def precision(layer: Json) -> str | None:
    """Return what an engine's layer computes in; None if that cannot be told."""
    weights = layer.get("Weights")
    kernel = COMPUTED.findall(str(layer.get("TacticName", "")))
    kind = TYPES.search(str(weights.get("Type", ""))) if isinstance(weights, dict) else None
    if kind and not (kernel and kernel[-1] == "tf32"):  # tf32 reads float weights
        return NAMES[kind[0].lower()]
    if kernel:
        return NAMES[kernel[-1]]
    kind = next(filter(None, (TYPES.search(str(one.get("Format/Datatype", ""))) for one in layer.get("Inputs", ())
                              if isinstance(one, dict))), None)
    return NAMES[kind[0].lower()] if kind else None
