"""PyTorch's files without PyTorch: hostile and damaged ones construct nothing and say what is wrong with them."""

import contextlib
import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import pickle_check
from dlcompare.core.graph.checkpoint import Records, Unread, dictionaries, read_state_dict

STATE_DICTS = Path(__file__).parents[2] / "golden" / "state_dicts"  # written by a real PyTorch
MIXED, LEGACY = STATE_DICTS / "mixed.pt", STATE_DICTS / "legacy.pt"


def test_reading_imports_no_torch() -> None:
    code = f"import sys; from dlcompare.core.graph import checkpoint as t; t.read_state_dict(t.Path({str(MIXED)!r}))"
    subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=True)


def archive(path: Path, pickled: bytes, records: dict[str, bytes] | None = None, *,
            compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        for name, content in (records or {}).items():
            file.writestr(f"archive/{name}", content)
    return path


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


@pytest.mark.parametrize("function", [os.system, eval, getattr, Path], ids=lambda f: f.__name__)
def test_no_call_in_a_pickle_is_made(tmp_path: Path, function: Any) -> None:
    witness = tmp_path / "witness"
    command = f"__import__('pathlib').Path({str(witness)!r}).touch()" if function is eval else f"touch {witness}"
    for protocol in (0, 2, 5):
        pickled = pickle.dumps({"x": Call(function, command)}, protocol)
        path = archive(tmp_path / "w.pt", pickled)
        with pytest.raises(UsageError, match=rf"holds a \w+\.{function.__name__}, and only tensors are read"):
            read_state_dict(path)
    assert not witness.exists()


def ops(value: Any) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def one_tensor(*, offset: int, size: tuple[int, ...], stride: tuple[int, ...], count: int) -> bytes:
    """Return the pickle of {"x": a float32 tensor over record 0}, as PyTorch spells it."""
    storage = b"(" + ops("storage") + b"ctorch\nFloatStorage\n" + ops("0") + ops("cpu") + ops(count) + b"tQ"
    view = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + ops(offset) + ops(size) + ops(stride) + b"tR"
    return b"\x80\x02}" + ops("x") + view + b"s."


SIX = np.arange(6, dtype="<f4").tobytes()
SMALL = st.integers(-1, 7)


@settings(deadline=None)
@given(offset=SMALL, sides=st.lists(st.tuples(SMALL, SMALL), max_size=3))
def test_a_view_is_right_or_refused(tmp_path_factory: pytest.TempPathFactory, offset: int,
                                    sides: list[tuple[int, int]]) -> None:
    size, stride = tuple(n for n, _ in sides), tuple(step for _, step in sides)
    path = archive(tmp_path_factory.getbasetemp() / "view.pt",
                   one_tensor(offset=offset, size=size, stride=stride, count=6), {"data/0": SIX})
    if min((offset, *size, *stride)) < 0:
        with pytest.raises(UsageError, match="negative"):
            read_state_dict(path)
        return
    places = [offset + sum(i * step for i, step in zip(index, stride, strict=True)) for index in np.ndindex(*size)]
    if max(places, default=0) > 5:
        with pytest.raises(UsageError, match="outside its record"):
            read_state_dict(path)
    else:
        found = read_state_dict(path)["x"]
        assert found.shape == size
        assert found.ravel().tolist() == places


def test_a_big_endian_file_is_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "w.pt", one_tensor(offset=0, size=(6,), stride=(1,), count=6),
                   {"data/0": np.arange(6, dtype=">f4").tobytes(), "byteorder": b"big"})
    assert read_state_dict(path)["x"].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("pickled", "records", "match"), [
    (one_tensor(offset=0, size=(6,), stride=(1,), count=7), {"data/0": SIX}, "6 elements of 7"),
    (one_tensor(offset=0, size=(6,), stride=(1,), count=6), {}, "archive/data/0"),
    (one_tensor(offset=0, size=(2**40, 2**40), stride=(0, 0), count=6), {"data/0": SIX}, "too big"),
    (pickle.dumps([1, 2]), {}, "holds no tensors by name"),
    (pickle.dumps({}), {}, "holds no tensors by name"),
    (pickle.dumps({"lr": 0.1}), {}, "a float named 'lr', not a tensor"),
    (b"", {}, "exhausted before seeing STOP"),
    (b"\x80\x02}X\x01\x00\x00\x00a\x82\x01s.", {}, "unregistered extension code"),
])
def test_malformed_archives_are_refused(tmp_path: Path, pickled: bytes, records: dict[str, bytes], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        read_state_dict(archive(tmp_path / "w.pt", pickled, records))


def test_a_compressed_record_is_refused_unread(tmp_path: Path) -> None:
    path = archive(tmp_path / "w.pt", b"\x00" * 1000, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UsageError, match=r"record .data\.pkl. is compressed"):
        read_state_dict(path)


@pytest.mark.parametrize("function", [os.system, eval], ids=lambda f: f.__name__)
def test_tensors_are_read_beside_what_is_never_called(tmp_path: Path, function: Any) -> None:
    witness = tmp_path / "witness"
    command = f"__import__('pathlib').Path({str(witness)!r}).touch()" if function is eval else f"touch {witness}"
    call = pickle.dumps(Call(function, command), 2)[2:-1]
    pickled = one_tensor(offset=0, size=(6,), stride=(1,), count=6)[:-2] + ops("y") + call + b"u."
    pickled = pickled.replace(b"}", b"}(", 1)
    found = read_state_dict(archive(tmp_path / "w.pt", pickled, {"data/0": SIX}))
    assert found["x"].tolist() == [0, 1, 2, 3, 4, 5]
    assert isinstance(found["y"], Unread) and found["y"].what.endswith(f".{function.__name__}")
    assert not witness.exists()


def test_a_dictionary_that_holds_itself_ends() -> None:
    tree: dict[str, Any] = {}
    tree.update({str(number): tree for number in range(9)})
    assert list(dictionaries(tree)) == [((), tree)]


@pytest.mark.parametrize("file", [MIXED, LEGACY], ids=lambda file: file.stem)
@given(share=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_damaged_byte_gives_tensors_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, file: Path,
                                                       share: float, value: int) -> None:
    content = bytearray(file.read_bytes())
    content[int(share * len(content))] = value
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(content)
    with contextlib.suppress(UsageError):
        assert any(isinstance(array, np.ndarray) for array in read_state_dict(path).values())


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


BOMBS = {
    "a place of the memo": (b"\x80\x02}r\xff\xff\xff\x7f.", "in place 2147483647, and only 0 were taken"),
    "bytes": (b"\x80\x04\x8e" + number(1 << 36, 8) + b".", "68719476736 bytes follow"),
    "a bytearray": (b"\x80\x05\x96" + number(1 << 36, 8) + b".", "68719476736 bytes follow"),
    "a frame": (b"\x80\x04\x95" + number(1 << 36, 8) + b"}.", "68719476736 bytes follow"),
    "a whole number": (b"\x80\x02\x8b" + number(0x7FFFFFFF, 4) + b".", "2147483647 bytes follow"),
    "digits": (b"\x80\x02}X\x01\x00\x00\x00a\x8a\xff" + b"\x7f" * 255 + b"s.", "beyond 256 bits"),
    "a hash that takes for ever": (b"\x80\x02})" + b"\x32\x86" * 60 + b"K\x01s.", "a tuple of more than 10000 items"),
    "tuples within tuples": (b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s.", "a tuple of more than 10000 items"),
    "an array without end as pairs": (
        b"\x80\x02ccollections\nOrderedDict\n" +
        one_tensor(offset=0, size=(2**50, 2), stride=(0, 0), count=6).removeprefix(b"\x80\x02}" + ops("x"))[:-2] +
        b"\x85R.", "an ordered dictionary is malformed"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_few_bytes_cannot_ask_for_memory_or_time(tmp_path: Path, name: str) -> None:
    """In a process of its own: what is not refused there takes it down."""
    pickled, told = BOMBS[name]
    path = archive(tmp_path / "w.pt", pickled, {"data/0": SIX})
    code = ("import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (5, 5))\n"
            "from dlcompare.core.errors import UsageError\n"
            "from dlcompare.core.graph import checkpoint as t\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "try:\n    t.read_state_dict(t.Path(sys.argv[1]))\nexcept UsageError as error:\n    print(error)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000)")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert told in done.stdout and done.stdout.endswith("True\n")


def test_records_that_overlap_are_not_read_over_and_over(tmp_path: Path) -> None:
    path = archive(tmp_path / "w.pt", pickle.dumps({}), {"data/0": b"\0" * 100})
    with zipfile.ZipFile(path) as file:
        records = Records(file, 150)
        assert len(records.array("0", "f4", 25)) == 25
        with pytest.raises(ValueError, match="more than the file has for it"):
            records.array("0", "i4", 25)


@pytest.mark.parametrize("place", [0, 1])
def test_places_of_values_are_counted_from_0_or_as_python_2_does_from_1(place: int) -> None:
    pickled = b"\x80\x02}q" + bytes([place]) + b"0h" + bytes([place]) + b"."  # a dictionary, put, dropped, got again
    pickle_check.check(io.BytesIO(pickled), len(pickled))
    with pytest.raises(ValueError, match="it remembers a value in place 2"):
        pickle_check.check(io.BytesIO(b"\x80\x02}q\x02."), 6)
