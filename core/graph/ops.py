"""The neutral ops: one method each. Signature = attributes, body = shape rule and parameters, docstring = meaning.

Shapes exclude the batch axis. The arithmetic that the docstrings pin is spelt out, with the traps, in
docs/semantics.md; ``frameworks/reference`` implements it in float64 and ``core/conformance/oracle.py`` tests it.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec

from . import Graph, Input, Node, Param, Shape

P = ParamSpec("P")


@dataclass(frozen=True)
class Out:
    """What an op's method returns: the shape of the result and the parameters the op needs."""

    shape: Shape
    params: Mapping[str, Param] = field(default_factory=dict)
    dtype: str = "float32"


@dataclass
class Recorder:
    """Collects nodes while a model function runs; names must be unique."""

    nodes: list[Node] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def name(self, wanted: str | None, op: str) -> str:
        if wanted is None:
            count = sum(n.op == op for n in self.nodes)
            wanted = f"{op}_{count}"
        if wanted in self.names:
            raise ValueError(f"two nodes are named {wanted!r}; give each layer a name of its own")
        self.names.add(wanted)
        return wanted


def op(rule: Callable[Concatenate[Tensor, P], Out]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """Turn a shape rule into a recording method; tensor arguments become inputs, the others attributes."""
    signature = inspect.signature(rule)

    @functools.wraps(rule)
    def record(self: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        wanted = given.pop("name", None)
        tensors = {k: [v] if isinstance(v, Tensor) else list(v) for k, v in given.items() if holds_tensors(v)}
        inputs = tuple(tensor.name for several in tensors.values() for tensor in several)
        attrs = {k: v for k, v in given.items() if k not in tensors}
        out = rule(self, *args, **kwargs)
        name = self.recorder.name(wanted, rule.__name__)
        if any(size < 1 for size in out.shape):
            raise ValueError(f"{rule.__name__} {name!r} makes an empty tensor {out.shape} of {self.shape}; "
                             "the input is too small for this network")
        self.recorder.nodes.append(Node(name, rule.__name__, inputs, attrs, out.shape, out.dtype, dict(out.params)))
        return Tensor(name, out.shape, out.dtype, self.recorder)

    OPS[rule.__name__] = rule
    return record


OPS: dict[str, Callable[..., Out]] = {}


def holds_tensors(value: object) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, tuple) and any(isinstance(v, Tensor) for v in value))


def both(value: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of an attribute that is one number where the two are equal."""
    return (value, value) if isinstance(value, int) else value


def slide(size: int, kernel: int, stride: int, pad: int, *, ceil: bool = False) -> int:
    """Return how often a window fits, rounding down unless ``ceil``; 0 if not even one whole window does."""
    if size + 2 * pad < kernel:
        return 0
    return (size + sum(borders(size, kernel, stride, pad, ceil=ceil)) - kernel) // stride + 1


def borders(size: int, kernel: int, stride: int, pad: int, *, ceil: bool) -> tuple[int, int]:
    """Return the pixels before and after an axis: ``pad``, and with ``ceil`` what the last window sticks out by.

    For backends that cannot round up by themselves; the reference has its own, so that it can tell when this is wrong.
    """
    return pad, pad + (-(size + 2 * pad - kernel) % stride if ceil else 0)


def bin_weights(pixels: int, size: int) -> list[list[float]]:
    """Return the (size, pixels) matrix whose rows take the mean over the bins of an adaptive mean pooling.

    For backends without such a kernel; the reference has its own, so that it can tell when this one is wrong.
    """
    spans = [(i * pixels // size, -(-(i + 1) * pixels // size)) for i in range(size)]
    return [[1 / (end - begin) if begin <= x < end else 0.0 for x in range(pixels)] for begin, end in spans]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value that a model function is written over; holds a name and a shape, never numbers."""

    name: str
    shape: Shape
    dtype: str
    recorder: Recorder

    @op
    def conv(self, filters: int, kernel: int | tuple[int, int], stride: int = 1, pad: int | tuple[int, int] = 0,
             bias: bool = True, name: str | None = None) -> Out:
        """2-D cross-correlation with symmetric zero padding; weight (filters, channels, height, width).

        ``kernel`` and ``pad`` are one number, or (along the height, along the width).
        """
        channels, *pixels = self.shape
        fits = (slide(n, k, stride, p) for n, k, p in zip(pixels, both(kernel), both(pad), strict=True))
        params = {"weight": Param((filters, channels, *both(kernel)), "he_fan_out")}
        return Out((filters, *fits), params | ({"bias": Param((filters,))} if bias else {}))

    @op
    def batch_norm(self, eps: float = 1e-5, momentum: float = 0.1, name: str | None = None) -> Out:
        """Normalise each channel over batch and space with the biased variance; scale, shift.

        Training: running = (1 - momentum) * running + momentum * batch, where the running variance takes the
        *unbiased* batch variance (n / (n - 1)). Evaluation uses the running statistics. Statistics are per process;
        rank 0's are kept.
        """
        one = (self.shape[0],)
        return Out(self.shape, {"weight": Param(one, "ones"), "bias": Param(one),
                                "running_mean": Param(one, trained=False),
                                "running_var": Param(one, "ones", trained=False)})

    @op
    def relu(self, name: str | None = None) -> Out:
        """max(x, 0); the gradient at 0 is 0."""
        return Out(self.shape)

    @op
    def gelu(self, name: str | None = None) -> Out:
        """x * Phi(x) with the error function, not the tanh approximation."""
        return Out(self.shape)

    @op
    def tanh(self, name: str | None = None) -> Out:
        """Hyperbolic tangent."""
        return Out(self.shape)

    @op
    def max_pool(self, kernel: int, stride: int, pad: int = 0, ceil: bool = False, name: str | None = None) -> Out:
        """Maximum over windows, padding counts as minus infinity; floor rule unless ``ceil``.

        With ``ceil`` a last window sticks out below or to the right where one remains, over minus infinity; that wants
        kernel >= stride + pad, for frameworks differ on windows that would begin beyond the image.
        """
        if ceil and kernel < stride + pad:
            raise ValueError(f"max_pool with ceil needs kernel >= stride + pad, not {kernel} < {stride} + {pad}")
        channels, *pixels = self.shape
        return Out((channels, *(slide(n, kernel, stride, pad, ceil=ceil) for n in pixels)))

    @op
    def avg_pool(self, kernel: int, stride: int, pad: int = 0, name: str | None = None) -> Out:
        """Mean over windows, floor rule; padded zeros count (the divisor is always kernel * kernel)."""
        channels, height, width = self.shape
        return Out((channels, slide(height, kernel, stride, pad), slide(width, kernel, stride, pad)))

    @op
    def adaptive_avg_pool(self, size: int, name: str | None = None) -> Out:
        """Mean over size x size bins; bin i of n pixels spans floor(i*n/size) to ceil((i+1)*n/size)."""
        return Out((self.shape[0], size, size))

    @op
    def flatten(self, name: str | None = None) -> Out:
        """All axes into one, channels slowest (C, H, W order)."""
        return Out((math.prod(self.shape),))

    @op
    def dense(self, features: int, bias: bool = True, init: str = "lecun", name: str | None = None) -> Out:
        """y = x W^T + b over the last axis; weight (features, inputs)."""
        params = {"weight": Param((features, self.shape[-1]), init)}
        return Out((*self.shape[:-1], features), params | ({"bias": Param((features,))} if bias else {}))

    @op
    def dropout(self, rate: float, name: str | None = None) -> Out:
        """In training zero each element with probability ``rate`` and scale the rest by 1 / (1 - rate)."""
        return Out(self.shape)

    @op
    def add(self, other: Tensor, name: str | None = None) -> Out:
        """Elementwise sum of two tensors of one shape."""
        if self.shape != other.shape:
            raise ValueError(f"add: {self.name!r} is {self.shape} but {other.name!r} is {other.shape}")
        return Out(self.shape)

    @op
    def concat(self, *others: Tensor, name: str | None = None) -> Out:
        """Join images of one height and width along their channels, in the order given."""
        shapes = [tensor.shape for tensor in (self, *others)]
        if len(self.shape) != 3 or len({shape[1:] for shape in shapes}) > 1:
            raise ValueError(f"concat joins images of one height and width, not {shapes}")
        return Out((sum(shape[0] for shape in shapes), *self.shape[1:]))

    @op
    def scale(self, factor: float, name: str | None = None) -> Out:
        """Multiply by a constant."""
        return Out(self.shape)

    @op
    def layer_scale(self, name: str | None = None) -> Out:
        """Multiply each channel of an image, or else each element of the last axis, by a learned factor."""
        return Out(self.shape, {"weight": Param((self.shape[0 if len(self.shape) == 3 else -1],), "ones")})

    @op
    def embedding(self, rows: int, features: int, init: str = "normal_0.02", name: str | None = None) -> Out:
        """Row lookup by integer ids; every row has a gradient (no padding row)."""
        return Out((*self.shape, features), {"weight": Param((rows, features), init)})

    @op
    def position_embedding(self, rows: int, init: str = "normal_0.02", name: str | None = None) -> Out:
        """Add the first S rows of a learned table to x of shape (S, features)."""
        length, features = self.shape
        if length > rows:
            raise ValueError(f"position_embedding has {rows} rows but the sequence has {length}")
        return Out(self.shape, {"weight": Param((rows, features), init)})

    @op
    def layer_norm(self, eps: float = 1e-12, name: str | None = None) -> Out:
        """Normalise the last axis with the biased variance; eps is inside the root; scale, shift."""
        one = (self.shape[-1],)
        return Out(self.shape, {"weight": Param(one, "ones"), "bias": Param(one)})

    @op
    def attention(self, key: Tensor, value: Tensor, mask: Tensor, heads: int, name: str | None = None) -> Out:
        """Multi-head softmax(q k^T / sqrt(d) + m) v over (S, features); self is the query.

        Heads are consecutive slices of the last axis, d = features / heads. ``mask`` is (S,) integers over the keys:
        where it is 0, m is the most negative float32; a sequence must keep at least one key.
        """
        if self.shape[-1] % heads:
            raise ValueError(f"attention: {self.shape[-1]} features do not divide into {heads} heads")
        return Out(self.shape)

    @op
    def select(self, index: int, axis: int, name: str | None = None) -> Out:
        """Take one index of an axis and drop the axis; axes count without the batch, negative from the end."""
        axis %= len(self.shape)
        return Out(self.shape[:axis] + self.shape[axis + 1:])

    @op
    def cross_entropy(self, label: Tensor, name: str | None = None) -> Out:
        """Mean over the *global* batch of -log softmax(x)[label]; x is (classes,), the result a scalar."""
        if len(self.shape) != 1 or label.shape:
            raise ValueError(f"cross_entropy wants (classes,) and a scalar label, not {self.shape} and {label.shape}")
        return Out(())

    @op
    def mean_square(self, name: str | None = None) -> Out:
        """Mean over the *global* batch, and over all elements of x, of x^2: a loss for x of any shape, a scalar."""
        return Out(())


def trace(name: str, build: Callable[..., Mapping[str, Tensor]], inputs: Mapping[str, Input]) -> Graph:
    """Run a model function over recording tensors and return its graph.

    ``build`` takes one tensor per input, by name, and returns named outputs, ``loss`` among them.

    Raises:
        ValueError: a shape does not fit, a name is used twice, or there is no scalar loss.
    """
    recorder = Recorder(names=set(inputs))
    outputs = build(**{k: Tensor(k, v.shape, v.dtype, recorder) for k, v in inputs.items()})
    loss = outputs.get("loss")
    if loss is None or loss.shape:
        raise ValueError(f"model {name!r} must return a scalar output named 'loss'")
    graph = Graph(name, dict(inputs), tuple(recorder.nodes), {k: v.name for k, v in outputs.items()})
    check(graph)
    return graph


def check(graph: Graph) -> None:
    """Raise ValueError naming the first node that no backend could run: unknown op, unknown or later input."""
    known = set(graph.inputs)
    for node in graph.nodes:
        if node.op not in OPS:
            raise ValueError(f"node {node.name!r} uses op {node.op!r}; there is: {', '.join(sorted(OPS))}")
        for name in node.inputs:
            if name not in known:
                raise ValueError(f"node {node.name!r} reads {name!r}, which no earlier node makes")
        known.add(node.name)
