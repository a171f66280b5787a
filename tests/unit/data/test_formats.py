"""Records of shards: written and read again, held against published check values, and damaged in every way."""

import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from dlcompare.core.data.records import example, recordio, tfrecord, webdataset
from dlcompare.core.data.records.crc import crc32c, masked, plain
from dlcompare.core.data.records.formats import FORMATS, encoded
from dlcompare.core.data.records.sample import Damage, Found, Sample

CHANCE = np.random.default_rng(0)
SAMPLES = [Sample(f"train/ant/{row}.jpg", row % 3, row, CHANCE.bytes(40 + 97 * row)) for row in range(20)]


@pytest.mark.parametrize("data, crc", [  # RFC 3720, B.4
    (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C), (b"", 0)])
def test_the_checksum_is_the_published_one(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc


@pytest.mark.parametrize("size", [511, 512, 4095, 4096, 4097, 8192, 50_001])
def test_folded_blocks_give_what_single_bytes_give(size: int) -> None:
    data = CHANCE.bytes(size)
    assert crc32c(data) == plain(data, 0xFFFFFFFF) ^ 0xFFFFFFFF
    assert crc32c(data[:-1] + bytes([data[-1] ^ 1])) != crc32c(data)


def test_an_example_holds_what_it_was_given_and_numbers_of_others_unpacked() -> None:
    given = {"a": [b"", b"x" * 300], "b": [0, 1, 127, 128, 2**40], "é": [b"\x00"]}
    assert example.decode(example.encode(given)) == given
    unpacked = example.field(1, example.field(1, example.field(1, b"n") + example.field(2, example.field(
        3, example.varint(1 << 3) + example.varint(7) + example.varint(1 << 3) + example.varint(2**64 - 1)))))
    floats = example.field(1, example.field(1, example.field(1, b"f") + example.field(2, example.field(
        2, example.field(1, struct.pack("<2f", 0.5, -2))))))
    assert example.decode(unpacked + floats) == {"n": [7, -1], "f": [0.5, -2.0]}


@pytest.mark.parametrize("data", [b"\x0a\x7f", b"\xff" * 12, b"\x0f", b"\x08"])
def test_what_is_no_message_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="no message of protocol buffers"):
        list(example.fields(data))


def written(folder: Path, name: str) -> Path:
    path = folder / f"train-0{FORMATS[name].suffix}"
    with path.open("wb") as file:
        rows = []
        for sample in SAMPLES:
            rows.append((file.tell(), sample))
            FORMATS[name].put(file, sample)
        file.write(FORMATS[name].end)
    if beside := FORMATS[name].beside:
        beside(path, rows)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_found_and_read_at_its_place(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, name)
    found = list(FORMATS[name].walk(path))
    assert [(one.name, one.label, one.damage) for one in found] == [(s.name, s.label, None) for s in SAMPLES]
    assert [encoded([name, str(path), one.offset, None]) for one in found] == [s.image for s in SAMPLES]


@pytest.mark.parametrize("name", FORMATS)
def test_a_cut_anywhere_is_named_with_file_and_byte_and_costs_no_record_before_it(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, name)
    whole, found = path.read_bytes(), list(FORMATS[name].walk(path))
    ends = [*(one.offset for one in found[1:]), len(whole)]
    for cut in range(1, len(whole), 607):
        path.write_bytes(whole[:cut])
        before = [one for one, end in zip(found, ends, strict=True) if end <= cut]
        again = list(FORMATS[name].walk(path))
        assert again[:len(before)] == before
        if cut not in ends and cut < len(whole) - len(FORMATS[name].end) // 2:
            assert len(again) - len(before) in ((1, 2) if name == "webdataset" else (1,))  # image and label are enough
            assert f"{path}, record at byte " in str(again[-1].damage) and "is cut" in str(again[-1].damage)


def test_a_wrong_crc_of_data_loses_one_record_and_one_of_a_length_the_rest(tmp_path: Path) -> None:
    path = written(tmp_path, "tfrecord")
    whole, found = path.read_bytes(), list(tfrecord.walk(path))
    at = found[5].offset
    path.write_bytes(whole[:at + 40] + bytes([whole[at + 40] ^ 1]) + whole[at + 41:])
    again = list(tfrecord.walk(path))
    assert [one.damage is None for one in again] == [number != 5 for number in range(20)]
    assert f"{path}, record at byte {at}: the CRC of its data is 0x" in str(again[5].damage)
    assert again[5].name == f"{path.name}@{at}"
    with pytest.raises(Damage, match=f"record at byte {at}: the CRC of its data"):
        tfrecord.take(str(path), at)
    path.write_bytes(whole[:at] + b"\x01" + whole[at + 1:])
    again = list(tfrecord.walk(path))
    assert len(again) == 6 and "the CRC of its length" in str(again[5].damage)


def test_a_length_beyond_any_image_is_no_reason_to_ask_for_memory(tmp_path: Path) -> None:
    path, length = tmp_path / "x.tfrecord", struct.pack("<Q", 1 << 50)
    path.write_bytes(length + struct.pack("<I", masked(length)) + bytes(100))
    [found] = tfrecord.walk(path)
    assert "none is above" in str(found.damage)


@pytest.mark.parametrize("features, missing", [({"image/encoded": [b"x"]}, "image/class/label"),
                                               ({"image/class/label": [1]}, "image/encoded")])
def test_an_example_of_something_else_says_what_it_lacks(features: dict[str, list[bytes] | list[int]], missing: str,
                                                         tmp_path: Path) -> None:
    path = tmp_path / "x.tfrecord"
    with path.open("wb") as file:
        tfrecord.write(file, example.encode(features))
        tfrecord.put(file, SAMPLES[1])
    first, second = tfrecord.walk(path)
    assert missing in str(first.damage) and (second.name, second.damage) == (SAMPLES[1].name, None)


@pytest.mark.parametrize("data", [
    recordio.MAGIC, b"ab" + recordio.MAGIC, b"abcd" + recordio.MAGIC + b"x", recordio.MAGIC * 3 + b"end",
    b"1234" + recordio.MAGIC + b"12345678" + recordio.MAGIC, b""])
def test_data_that_hold_the_magic_are_split_and_joined(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    with path.open("wb") as file:
        recordio.write(file, data)
        recordio.write(file, b"next")
    written_ = path.read_bytes()
    assert len(written_) % 4 == 0
    with path.open("rb") as file:
        assert recordio.record(file, path, 0) == data
        assert recordio.record(file, path, file.tell()) == b"next"


def test_recordio_says_what_is_wrong(tmp_path: Path) -> None:
    path = written(tmp_path, "recordio")
    whole, found = path.read_bytes(), list(recordio.walk(path))
    at = found[3].offset
    for place, byte, words in ((at, 0, "does not begin with the magic"), (at + 7, 0xFF, "its part 0 has the flag 7"),
                               (at + 8, 200, "200 labels follow")):
        path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1:])
        again = list(recordio.walk(path))
        assert len(again) == 4 and again[3].offset == at and words in str(again[3].damage)


def test_several_labels_and_records_without_a_list_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    with path.open("wb") as file:
        recordio.write(file, recordio.HEADER.pack(2, 0, 7, 0) + struct.pack("<2f", 4, 9) + b"image")
    assert list(recordio.walk(path)) == [Found(0, "x.rec@0", 4)]
    assert recordio.take(str(path), 0) == b"image"


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_others_are_read_with_long_names_folders_and_further_files(kind: int, tmp_path: Path) -> None:
    path, long = tmp_path / "x.tar", "é" * 60 + "long/" + "n" * 90
    if kind == tarfile.USTAR_FORMAT:
        long = "long"
    with tarfile.open(path, "w", format=kind) as archive:
        for name, data in ((f"{long}/a.seg.png", b"mask"), (f"{long}/a.jpg", b"one"), (f"{long}/a.cls", b"3\n"),
                           (f"{long}/readme.txt", b"none"), (f"{long}/b.JPEG", b"two"), (f"{long}/c.png", b"three"),
                           (f"{long}/c.cls", b"0")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    first, second, third = webdataset.walk(path)
    assert (first.name, first.label) == (f"x.tar/{long}/a.jpg", 3)
    assert webdataset.take(str(path), first.offset) == b"one"
    assert "no .cls file with a whole number from 0 goes with" in str(second.damage)
    assert (third.label, webdataset.take(str(path), third.offset)) == (0, b"three")


def test_a_damaged_tar_header_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "webdataset")
    whole, found = path.read_bytes(), list(webdataset.walk(path))
    at = found[2].offset
    path.write_bytes(whole[:at + 2] + b"X" + whole[at + 3:])
    again = list(webdataset.walk(path))
    assert again[:2] == found[:2] and f"record at byte {at}: its tar header is damaged" in str(again[2].damage)


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_that_was_altered_is_found_by_its_crc(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, name)
    whole, found = path.read_bytes(), list(FORMATS[name].walk(path))
    at = whole.index(SAMPLES[4].image[-20:])
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1:])
    with pytest.raises(Damage, match=rf"record at byte {found[4].offset}: .*CRC"):
        encoded([name, str(path), found[4].offset, crc32c(SAMPLES[4].image)])


def test_walks_do_not_keep_files_open(tmp_path: Path) -> None:
    for name in FORMATS:
        list(FORMATS[name].walk(written(tmp_path, name)))
    assert not [link for link in Path("/proc/self/fd").iterdir()
                if link.is_symlink() and str(link.readlink()).startswith(str(tmp_path))]
