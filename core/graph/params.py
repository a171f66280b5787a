"""Parameters by name: drawn once in NumPy for every framework, hashed, and read from and written to files."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlcompare.core.errors import UsageError, unknown
from dlcompare.core.files import whole

from . import Graph, Shape, fit, naming, weights_file

Initialiser = Callable[[np.random.Generator, Shape], np.ndarray]


def _normal(std: Callable[[Shape], float]) -> Initialiser:
    def draw(generator: np.random.Generator, shape: Shape) -> np.ndarray:
        values = generator.standard_normal(shape, dtype=np.float32)
        values *= np.float32(std(shape))
        return values

    return draw


INITIALISERS: dict[str, Initialiser] = {
    "zeros": lambda generator, shape: np.zeros(shape, np.float32),
    "ones": lambda generator, shape: np.ones(shape, np.float32),
    # Normal, variance 2 / (filters * kernel area): He et al. 2015 by fan-out, torchvision's ResNet convolutions.
    "he_fan_out": _normal(lambda shape: math.sqrt(2 / (shape[0] * math.prod(shape[2:])))),
    # Normal, variance 1 / inputs: LeCun et al. 1998.
    "lecun": _normal(lambda shape: math.sqrt(1 / math.prod(shape[1:]))),
    # Normal, standard deviation 0.02: BERT. Not truncated.
    "normal_0.02": _normal(lambda shape: 0.02),
}


def initial_params(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    """Return every parameter of the graph by its full name, float32, canonical layout.

    Each is drawn from a generator keyed by (seed, its name) alone: neither order, other parameters, process nor
    framework has a say. The stream is NumPy's SFC64 and ziggurat, the same from NumPy 1.23 on (a test holds it).
    """
    return {name: _draw(name, param.shape, init=param.init, seed=seed) for name, param in graph.params().items()}


def _draw(name: str, shape: Shape, *, init: str, seed: int) -> np.ndarray:
    if init not in INITIALISERS:
        raise unknown("initialiser", init, INITIALISERS)
    key = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest(), "little")
    return INITIALISERS[init](np.random.Generator(np.random.SFC64(key)), shape)


def params_sha256(params: Mapping[str, np.ndarray]) -> str:
    """Return the hash of a set of parameters: by sorted name, the name, the shape, the little-endian float32 bytes."""
    digest = hashlib.sha256()
    for name in sorted(params):
        array = np.asarray(params[name], dtype="<f4", order="C")
        digest.update(f"{name} {'x'.join(map(str, array.shape))}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Weights:
    """A graph's parameters out of a file; ``unread`` names what else it holds, ``drawn`` what it does not."""

    params: dict[str, np.ndarray]
    unread: tuple[str, ...]
    drawn: tuple[str, ...]


def read_weights(path: str | Path, graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a graph's parameters from a file, float32; see :func:`load_weights`."""
    return load_weights(path, graph, seed).params


def load_weights(path: str | Path, graph: Graph, seed: int = 0) -> Weights:
    """Return a graph's parameters from a ``.safetensors`` file, a PyTorch checkpoint, or the index of several files.

    PyTorch's files are pickles; they are read without PyTorch by a reader that can construct tensors and nothing else
    (see ``checkpoint``). Dictionaries around the tensors, prefixes before their names and old spellings of them are
    seen through (``naming``). Drawn from the seed, where they are missing, are a head, auxiliary classifiers, and what
    the loss does not reach (``fit``).

    Raises:
        UsageError: the file cannot be read; a tensor is missing or of another shape; a number is not finite.
    """
    path, wanted = Path(path).expanduser(), graph.params()
    found = naming.find(weights_file.read_file(path, graph), graph)
    drawn = fit.check_fit(path, found, graph)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is then refused
        params = {name: _draw(name, param.shape, init=param.init, seed=seed) if name in drawn
                  else np.array(found.arrays[name], dtype=np.float32, order="C") for name, param in wanted.items()}
    fit.check_finite(path, params)
    return Weights(params, found.unread, drawn)


def classes_in(path: str | Path, graph: Graph) -> int | None:
    """Return how many classes the last layer in a file of weights tells apart; None if it holds none."""
    return fit.classes_of(naming.find(weights_file.read_file(Path(path).expanduser(), graph), graph), graph)


def write_params(path: str | Path, params: Mapping[str, np.ndarray]) -> None:
    """Write parameters as float32 safetensors under a temporary name and rename: never a half-written file.

    Raises:
        UsageError: the folder cannot be written or the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    path = Path(path)
    try:
        with whole(path) as part:
            save_file({name: np.asarray(array, dtype="<f4", order="C") for name, array in params.items()}, part)
    except (SafetensorError, OSError) as error:
        told = re.search(r'message: "(.+?)"', str(error))  # as Rust words what the system says
        raise UsageError(f"cannot write parameters to {str(path)!r}: {told[1] if told else error}; make room for them, "
                         "or name another folder") from error
