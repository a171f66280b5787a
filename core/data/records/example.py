"""``tf.train.Example`` as far as images need it: a map from names to lists of bytes, integers or floats.

Protocol buffers' wire format (https://protobuf.dev/programming-guides/encoding) of TensorFlow's ``example.proto`` and
``feature.proto``: Example {Features features = 1}, Features {map<string, Feature> feature = 1}, Feature {oneof:
BytesList = 1, FloatList = 2, Int64List = 3}, each list {repeated value = 1}, numbers packed or not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3  # fields of a Feature

Values = Sequence[bytes] | Sequence[int] | Sequence[float]


def encode(features: Mapping[str, Sequence[bytes] | Sequence[int]]) -> bytes:
    """Return an Example of lists of bytes or of integers from 0, names in sorted order as TensorFlow writes them."""
    entries = (field(1, field(1, name.encode()) + field(2, feature(features[name]))) for name in sorted(features))
    return field(1, b"".join(entries))


def feature(values: Sequence[bytes] | Sequence[int]) -> bytes:
    if values and isinstance(values[0], bytes):
        return field(BYTES_LIST, b"".join(field(1, value) for value in values if isinstance(value, bytes)))
    packed = b"".join(varint(value) for value in values if isinstance(value, int))
    return field(INT64_LIST, field(1, packed))


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """Return an integer from 0 to 2**64 - 1, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def decode(data: bytes) -> dict[str, Values]:
    """Return an Example's features by name; ValueError if it is none."""
    found: dict[str, Values] = {}
    for features in inside(data, 1):
        for entry in inside(features, 1):
            parts = dict(fields(entry))
            name, value = parts.get(1, b""), parts.get(2, b"")
            if not isinstance(name, bytes) or not isinstance(value, bytes):
                raise ValueError("an entry of its features is no pair of a name and a feature")
            found[name.decode(errors="surrogateescape")] = values_of(value)
    return found


def values_of(data: bytes) -> Values:
    """Return the values of a Feature; of several lists the last, as a oneof has it."""
    found: Values = ()
    for kind, content in fields(data):
        if not isinstance(content, bytes):
            raise ValueError("a feature is no list")
        listed = [value for number, value in fields(content) if number == 1]
        if kind == BYTES_LIST:
            found = [value for value in listed if isinstance(value, bytes)]
        elif kind == INT64_LIST:
            found = [one for value in listed for one in (varints(value) if isinstance(value, bytes) else (value,))]
        elif kind == FLOAT_LIST:
            found = [one for value in listed if isinstance(value, bytes) for one, in struct.iter_unpack("<f", value)]
    return found


def inside(data: bytes, number: int) -> Iterator[bytes]:
    """Yield the messages in a message that are its field of a number."""
    yield from (content for found, content in fields(data) if found == number and isinstance(content, bytes))


def fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield number and content of each field of a message; ValueError where it is not one."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind, size = key & 7, {FIXED64: 8, FIXED32: 4}.get(key & 7)
        if kind == VARINT:
            value, at = read_varint(data, at)
            yield key >> 3, value
            continue
        if kind == BYTES:
            size, at = read_varint(data, at)
        if size is None or at + size > len(data):
            raise ValueError(f"it is no message of protocol buffers (at byte {at})")
        yield key >> 3, data[at:at + size]
        at += size


def varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = read_varint(data, at)
        yield value


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer at a place, negative if its 64th bit is set, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            value &= (1 << 64) - 1
            return value - (value >> 63 << 64), at
    raise ValueError("it is no message of protocol buffers: a number has no end")
