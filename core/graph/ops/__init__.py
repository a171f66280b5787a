"""The neutral ops: one method each. Signature = attributes, body = shape rule and parameters, docstring = meaning.

How a call becomes a node is in ``recording``.

Shapes exclude the batch axis. The arithmetic that the docstrings pin is spelt out, with the traps, in
docs/semantics.md; ``frameworks/reference`` implements it in float64 and ``core/conformance/oracle.py`` tests it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from .. import Graph, Input, Param
from .recording import OPS, Out, Recorder, Value, op
from .recurrent import layer
from .windows import both, reach, slide


class Tensor(Value):
    """What a model function is written over: a value, with a method for each op."""

    @op
    def conv(self, filters: int, kernel: int | tuple[int, int], stride: int | tuple[int, int] = 1,
             pad: int | tuple[int, int] = 0, bias: bool = True, dilation: int = 1, share: Tensor | None = None,
             name: str | None = None) -> Out:
        """2-D cross-correlation with symmetric zero padding; weight (filters, channels, height, width).

        ``kernel``, ``stride`` and ``pad`` are one number, or (along the height, along the width). The taps of a kernel
        are ``dilation`` pixels apart. ``share``: use the parameters of the layer that made that tensor.
        """
        if dilation != 1 and both(stride) != (1, 1):
            raise ValueError(f"conv takes a dilation ({dilation}) or a stride ({stride}) of more than 1, not both: "
                             "Keras has no such layer")
        channels, *pixels = self.shape
        sides = zip(pixels, both(kernel), both(stride), both(pad), strict=True)
        params = {"weight": Param((filters, channels, *both(kernel)), "he_fan_out")}
        return Out((filters, *(slide(n, reach(k, dilation), s, p) for n, k, s, p in sides)),
                   params | ({"bias": Param((filters,))} if bias else {}))

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
    def dense(self, features: int, bias: bool = True, init: str = "lecun", share: Tensor | None = None,
              name: str | None = None) -> Out:
        """y = x W^T + b over the last axis; weight (features, inputs).

        ``share``: use the weight (and the bias, if it has one) of the layer that made that tensor: of a dense layer, or
        of an embedding, whose table of ``features`` rows is then W.
        """
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
    def embedding(self, rows: int, features: int, init: str = "normal_0.02", share: Tensor | None = None,
                  name: str | None = None) -> Out:
        """Row lookup by integer ids; every row has a gradient (no padding row). ``share``: another one's table."""
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
    def lstm(self, units: int, state: tuple[Tensor, Tensor] | None = None, lengths: Tensor | None = None,
             reverse: bool = False, init: str = "lecun", name: str | None = None) -> Out:
        """One layer of long short-term memory over (S, F): its outputs (S, units), and the states behind the last step.

        z = W x + b_ih + U h + b_hh, its quarters i, f, g, o; c = s(f) c + s(i) tanh(g); h = s(o) tanh(c), with s the
        logistic function; the output of a step is h. ``state`` is (h, c) to begin with, (units,) each, else zeros.
        ``lengths``, 1 to S for each sample: beyond them outputs are 0 and the state is held. ``reverse``: from the last
        step (of the sample's length) to the first; outputs stay where their inputs are. Further results are the states
        ``h`` and ``c``; of samples with lengths ``h`` alone. Weights are (4 units, F) and (4 units, units).
        """
        return layer(self, units, state=state or (), lengths=lengths, gates=4, states="hc", init=init)

    @op
    def gru(self, units: int, state: Tensor | None = None, lengths: Tensor | None = None, reverse: bool = False,
            init: str = "lecun", name: str | None = None) -> Out:
        """One layer of gated recurrent units over (S, F): its outputs (S, units), and the state behind the last step.

        a = W x + b_ih and b = U h + b_hh, their thirds r, z, n; r = s(a + b), z = s(a + b), n = tanh(a + r b); the
        state, and the output, is h = (1 - z) n + z h: the reset gate r stands behind the product with U. ``state`` is h
        to begin with, and the further result ``h`` that behind the last step; else as ``lstm``.
        """
        return layer(self, units, state=() if state is None else (state,), lengths=lengths, gates=3, states="h",
                     init=init)

    @op
    def select(self, index: int, axis: int, name: str | None = None) -> Out:
        """Take one index of an axis and drop the axis; axes count without the batch, negative from the end."""
        axis %= len(self.shape)
        return Out(self.shape[:axis] + self.shape[axis + 1:])

    @op
    def split(self, sizes: tuple[int, ...], axis: int, name: str | None = None) -> Out:
        """Cut an axis into stretches of those sizes, in order; axes count without the batch, negative from the end.

        The result is the first stretch; the others are further results, ``x.result("1")`` the second.
        """
        axis %= len(self.shape)
        if sum(sizes) != self.shape[axis]:
            raise ValueError(f"split: {sizes} are not the {self.shape[axis]} elements of axis {axis} of {self.shape}")
        first, *others = [(*self.shape[:axis], size, *self.shape[axis + 1:]) for size in sizes]
        return Out(first, more={str(number): shape for number, shape in enumerate(others, 1)})

    @op
    def fold(self, name: str | None = None) -> Out:
        """Move the first axis into the batch: (C, ...) of each sample become C rows one after the other."""
        if len(self.shape) < 2:
            raise ValueError(f"fold wants two axes or more, for a row needs one of its own; {self.shape} has fewer")
        return Out(self.shape[1:], dtype=self.dtype, rows=self.rows * self.shape[0])

    @op
    def unfold(self, size: int, name: str | None = None) -> Out:
        """Undo ``fold``: every ``size`` rows become the first axis of one, (...) -> (size, ...)."""
        if self.rows % size:
            raise ValueError(f"unfold: the {self.rows} rows a sample of {self.name!r} do not divide into {size}")
        return Out((size, *self.shape), dtype=self.dtype, rows=self.rows // size)

    @op
    def cross_entropy(self, label: Tensor, weight: Tensor | None = None, name: str | None = None) -> Out:
        """Mean over the *global* batch of -log softmax(x)[label]; x is (classes,), the result a scalar.

        With ``weight`` x is (..., classes), label and weight (...): the mean over the batch of the *sum* over a
        sample's places of weight * -log softmax(x)[label]. A loader gives weights that add up to the size of the global
        batch, over all of it (``core/data/weights.py``); then it is the weighted mean for any number of workers.
        """
        places = self.shape[:-1]
        if not self.shape or label.shape != places or (weight is None and places):
            raise ValueError("cross_entropy wants (classes,) and a scalar label, or with a weight for each place (..., "
                             f"classes) and labels (...), not {self.shape} and {label.shape}")
        if weight is not None and (weight.shape != places or not weight.dtype.startswith("float")):
            raise ValueError(f"cross_entropy wants a float weight for each of {places}, not {weight.dtype} "
                             f"{weight.shape}")
        return Out((), rows=1)

    @op
    def mean_square(self, name: str | None = None) -> Out:
        """Mean over the *global* batch, and over all elements of x, of x^2: a loss for x of any shape, a scalar."""
        return Out((), rows=1)


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
    if folded := [k for k, v in outputs.items() if v.rows != 1]:
        raise ValueError(f"output {folded[0]!r} of model {name!r} has several rows a sample; unfold it")
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
        known.update(node.results)
    check_carried(graph)


def check_carried(graph: Graph) -> None:
    """Raise ValueError for an input that no output of its shape can follow, or none that the loss needs."""
    for name, spec in graph.inputs.items():
        if spec.follows is not None and spec.follows not in graph.outputs:
            raise ValueError(f"input {name!r} follows output {spec.follows!r}; there is: {', '.join(graph.outputs)}")
    shapes, rows = graph.shapes(), graph.rows()
    for name, result in graph.carried().items():
        reached = any(result in node.results for node in graph.needed("loss"))
        if shapes[result] != shapes[name] or rows[result] != 1 or not reached:
            raise ValueError(f"input {name!r} {shapes[name]} cannot follow {result!r} {shapes[result]}: that must be "
                             "of its shape, one row a sample, and come of a layer that the loss needs")
