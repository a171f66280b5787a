"""Where eight bits go: which layers compute in INT8, and which readers of which tensors get quantised values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlcompare.inference.onnx.wiring import Wiring, attribute

if TYPE_CHECKING:
    import onnx

Read = tuple["onnx.NodeProto", int, str]
Where = tuple[tuple["onnx.NodeProto", ...], tuple[Read, ...], tuple[str, ...]]

LAYERS = ("Conv", "Gemm", "MatMul")
# What stands between layers and has INT8 kernels on CPUs. With it left in float the network is 6 to 20 % slower than
# with all of it (seen with onnxruntime 1.31 on ResNet-18 and 50): every layer would convert twice.
BETWEEN = ("Add", "AveragePool", "GlobalAveragePool", "Concat")
POOLS = ("AveragePool", "GlobalAveragePool")
PIXELWISE = ("Identity", "Cast", "Add", "Sub", "Mul", "Div")
MOVING = ("MaxPool", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze")  # values go through as they are


@dataclass(frozen=True)
class Placement:
    """``layers`` have quantised weights; ``reads`` are readers, their input's index and the tensor, which read it
    through a Q/DQ pair; ``outputs`` are outputs of the network that do. ``sources`` maps every tensor to the one whose
    range it has."""

    layers: tuple[onnx.NodeProto, ...]
    reads: tuple[Read, ...]
    outputs: tuple[str, ...]
    sources: Mapping[str, str]

    @property
    def tensors(self) -> list[str]:
        """Return the tensors that get a pair."""
        return list(dict.fromkeys([*(tensor for _, _, tensor in self.reads), *self.outputs]))

    @classmethod
    def of(cls, wiring: Wiring, scheme: str, exclude: frozenset[str]) -> Placement:
        """Return where pairs go under a scheme if some tensors stay float."""
        chain = integers(wiring)
        found = sources(wiring, chain)
        kept = {name for name, source in found.items() if source in exclude}
        return cls(*(for_cpus if scheme == "u8s8" else for_tensorrt)(wiring, chain, kept), found)


def is_layer(wiring: Wiring, node: onnx.NodeProto) -> bool:
    """Return whether a node has weights that can be quantised by output channel, and a bias that fits, if one."""
    if node.op_type not in LAYERS or node.input[0] in wiring.constants:
        return False
    rank = wiring.rank(node.input[1])
    if rank is None or (node.op_type != "Conv" and rank != 2):
        return False
    bias = node.input[2] if len(node.input) > 2 else ""
    plain = attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0 and not attribute(node, "transA", 0)
    return plain and (not bias or wiring.rank(bias) == 1)


def integers(wiring: Wiring) -> set[str]:
    """Return the tensors that engines can keep in eight bits from one node to the next: what convolutions make, and
    what is made of nothing else by additions, poolings and moves."""
    found: set[str] = set()
    for node in wiring.nodes:
        through = node.op_type in BETWEEN and all(name in found for name in node.input)
        if (node.op_type == "Conv" and is_layer(wiring, node)) or through:
            found.add(wiring.after_activation(node))
        elif node.op_type in MOVING and node.input[0] in found:
            found.add(node.output[0])
    return found


def sources(wiring: Wiring, chain: set[str]) -> dict[str, str]:
    """Return for every tensor the one whose range it has: in a chain of integers the one before poolings of maxima and
    changes of shape, so that these need no arithmetic; else itself."""
    found = {name: name for name in wiring.readers}
    for node in wiring.nodes:
        moved = node.op_type in MOVING and node.input[0] in chain
        for name in node.output:
            found[name] = found[node.input[0]] if moved else name
    return found


def of_inputs(wiring: Wiring, inputs: Iterable[str]) -> list[str]:
    """Return the inputs and what is made of one alone by moves, casts and arithmetic with constants: an image whose
    axes or pixels the network itself puts in order is an image still."""
    found = dict.fromkeys(inputs)
    for node in wiring.nodes:
        if node.op_type in (*MOVING, *PIXELWISE) and len(moving := wiring.moving(node)) == 1 and moving[0] in found:
            found |= dict.fromkeys(node.output)
    return list(found)


def for_cpus(wiring: Wiring, chain: set[str], kept: set[str]) -> Where:
    """All of what is integer is stored so: each reader gets it through the pair, also one that computes in float."""
    layers, reads, stored = [], dict[tuple[str, int], Read](), set[str]()
    for node in wiring.nodes:
        makes, moving = wiring.after_activation(node), wiring.moving(node)
        if is_layer(wiring, node):
            moving = moving[:1]
            fits = node.op_type != "Conv" or makes not in kept
            layers += [node] if fits and not kept.intersection(moving) else []
        else:
            fits = node.op_type in (*BETWEEN, *MOVING) and makes in chain - kept and set(moving) <= chain
        if fits and not kept.intersection(moving):
            stored |= {makes} & chain
            reads |= reads_of(node, moving)
    for node in wiring.nodes:
        reads |= reads_of(node, stored)
    return tuple(layers), tuple(reads.values()), tuple(name for name in wiring.outputs if name in stored)


def for_tensorrt(wiring: Wiring, chain: set[str], kept: set[str]) -> Where:
    """Pairs stand before what computes in INT8; a convolution, the addition and the activation after it are one."""
    layers, reads = [], dict[tuple[str, int], Read]()
    for node in wiring.nodes:
        wanted: Iterable[str] = ()
        if is_layer(wiring, node) and node.input[0] not in kept:
            layers.append(node)
            wanted = node.input[:1]
        elif node.op_type in POOLS and node.input[0] in chain:
            wanted = node.input[:1]
        elif node.op_type == "Add" and wiring.after_activation(node) in chain:
            fused = next((name for name in node.input if fuses(wiring, name)), None)
            wanted = [name for name in node.input if name != fused]
        reads |= reads_of(node, set(wanted) - kept)
    return tuple(layers), tuple(reads.values()), ()


def fuses(wiring: Wiring, tensor: str) -> bool:
    """Return whether a tensor is made by a convolution and read by one node alone, which can be fused into it."""
    made = wiring.producers.get(tensor)
    return made is not None and made.op_type == "Conv" and wiring.only_reader(tensor) is not None


def reads_of(node: onnx.NodeProto, tensors: Iterable[str]) -> dict[tuple[str, int], Read]:
    """Return by what the node makes and the input's index where it reads some tensors."""
    names = set(tensors)
    return {(node.output[0], index): (node, index, name) for index, name in enumerate(node.input) if name in names}
