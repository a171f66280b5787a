"""Parameters by name: drawn once in NumPy for every framework, hashed, and read from and written to files."""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from dlcompare.core.errors import UsageError, unknown
from dlcompare.core.files import whole

from . import Graph, Shape, checkpoint

Initialiser = Callable[[np.random.Generator, Shape], np.ndarray]

# Buffers that published checkpoints carry beside their parameters: a batch counter, and the constant 0, 1, 2, ...
IGNORED = ("num_batches_tracked", "position_ids")
SHOWN = 3  # misfits named in an error before the rest are only counted


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


def read_weights(path: str | Path, graph: Graph) -> dict[str, np.ndarray]:
    """Return a graph's parameters from a ``.safetensors`` file or a PyTorch zip-format state_dict, float32.

    PyTorch's files are pickles; they are read without PyTorch by a reader that can construct tensors and nothing
    else (see ``torchfile``). ``{"state_dict": ...}`` around the tensors and ``module.`` before every name are
    accepted; buffers that are no parameters (``num_batches_tracked``, ``position_ids``) are passed over. A parameter
    that the loss does not reach may be missing (checkpoints of BERT with a span head have no pooler): it is drawn.

    Raises:
        UsageError: the file cannot be read, or a tensor is missing, unexpected or of another shape; names them.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"there is no weights file {str(path)!r}; give a .safetensors file or a PyTorch state_dict")
    read = _read_safetensors if path.suffix == ".safetensors" else checkpoint.read_state_dict
    found = _plain_names(read(path))
    misfits = [*_misnamed(found, graph), *_misshapen(found, graph)]
    if misfits:
        more = f"; and {len(misfits) - SHOWN} more" if len(misfits) > SHOWN else ""
        raise UsageError(f"weights file {str(path)!r} does not fit model {graph.name!r}: "
                         f"{'; '.join(misfits[:SHOWN])}{more}")
    return {name: np.array(found[name], dtype=np.float32, order="C") if name in found
            else _draw(name, param.shape, init=param.init, seed=0) for name, param in graph.params().items()}


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, deserialize

    types = {"F32": "f4", "F16": "f2", "F64": "f8", "BF16": "bf16", "I64": "i8"}
    arrays = {}
    try:
        for name, view in deserialize(path.read_bytes()):
            if view["dtype"] not in types:
                raise UsageError(f"tensor {name!r} of {str(path)!r} holds {view['dtype']}; read are {', '.join(types)}")
            arrays[name] = checkpoint.numbers(view["data"], types[view["dtype"]]).reshape(view["shape"])
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{str(path)!r} is not a whole safetensors file: {error}") from error
    return arrays


def _plain_names(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    prefix = "module." if all(name.startswith("module.") for name in found) else ""
    return {name[len(prefix):]: array for name, array in found.items() if name.rpartition(".")[2] not in IGNORED}


def _misnamed(found: Mapping[str, np.ndarray], graph: Graph) -> Iterable[str]:
    wanted = graph.params()
    missing = [node.param_name(k) for node in graph.needed("loss") for k in node.params
               if node.param_name(k) not in found]
    for name in found:
        if name not in wanted:
            near = difflib.get_close_matches(name, missing or wanted, n=1)
            yield f"unexpected tensor {name!r}" + (f" (nearest parameter: {near[0]!r})" if near else "")
    for name in missing:
        yield f"missing tensor {name!r}, shape {wanted[name].shape}"


def _misshapen(found: Mapping[str, np.ndarray], graph: Graph) -> Iterable[str]:
    for name, param in graph.params().items():
        if name in found and found[name].shape != param.shape:
            yield f"tensor {name!r} has shape {found[name].shape}, wanted {param.shape}"


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
        raise UsageError(f"cannot write parameters to {str(path)!r}: {error}") from error
