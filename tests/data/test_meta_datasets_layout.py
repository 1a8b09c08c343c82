"""Tiny folders in exactly the layout of Meta-Dataset's records."""

import json
import struct

import numpy as np
import pytest
from picture_files import classes_of, picture
from PIL import Image

from tl_jax import data
from tl_jax.data import tfrecords


def message(number, value):
    return bytes([number << 3 | 2, *varint(len(value))]) + value


def varint(value):
    found = []
    while True:
        value, low = value >> 7, value & 0x7F
        found.append(low | (0x80 if value else 0))
        if not value:
            return found


def tfrecord(image, label, packed):
    numbers = bytes(varint(label))
    numbers = message(1, numbers) if packed else b"\x08" + numbers
    features = b""
    for name, value in (
        ("image", message(1, message(1, image))),
        ("label", message(3, numbers)),
    ):
        features += message(1, message(1, name.encode()) + message(2, value))
    raw, table = message(1, features), tfrecords.crc_table()
    head = struct.pack("<Q", len(raw))
    crc = [struct.pack("<I", tfrecords.masked_crc(part, table)) for part in (head, raw)]
    return head + crc[0] + raw + crc[1]


def test_checksums_are_those_of_the_standard():
    """CRC-32C of nine digits is E3069283 (RFC 3720's polynomial)."""
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert tfrecords.masked_crc(b"123456789", tfrecords.crc_table()) == masked


@pytest.fixture(params=["classes", "superclasses"])
def meta(request, tmp_path):
    """Five classes: three to train on, one each to validate and test on."""
    spec = {"name": "tiny", "class_names": {str(i): f"c{i}" for i in range(5)}}
    spec |= {"file_pattern": "{}.tfrecords", "images_per_class": {}}
    if request.param == "classes":
        spec["classes_per_split"] = {"TRAIN": 3, "VALID": 1, "TEST": 1}
    else:
        spec["superclasses_per_split"] = {"TRAIN": 2, "VALID": 1, "TEST": 1}
        spec["classes_per_superclass"] = {"0": 2, "1": 1, "2": 1, "3": 1}
    (tmp_path / "dataset_spec.json").write_text(json.dumps(spec))
    for number in range(5):
        raw = b""
        for row in range(2):
            picture(tmp_path / "one.png", 10 * number + row)
            image = (tmp_path / "one.png").read_bytes()
            raw += tfrecord(image, number, packed=row == 0)
        (tmp_path / f"{number}.tfrecords").write_bytes(raw)
    (tmp_path / "one.png").unlink()
    return tmp_path


def test_meta_datasets_records(meta):
    found = data.meta_dataset(meta, check=True)
    assert found.name == "tiny"
    assert classes_of(found, "train") == {"0/c0", "1/c1", "2/c2"}
    assert classes_of(found, "validation") == {"3/c3"}
    assert classes_of(found, "test") == {"4/c4"}
    picture(meta / "again.png", 41)
    again = np.asarray(Image.open(meta / "again.png"))
    np.testing.assert_array_equal(np.asarray(found.inputs["image"].at(9)), again)
    assert data.meta_dataset(meta, most=1).inputs["image"].rows == 5


def test_damaged_records_are_named(meta):
    file = meta / "1.tfrecords"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    with pytest.raises(ValueError, match=r"1\.tfrecords: record 1 is cut short"):
        data.meta_dataset(meta)
    file.write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
    with pytest.raises(ValueError, match="record 0: the checksum is wrong"):
        data.meta_dataset(meta, check=True)
    file.write_bytes(b"\x01" + whole[1:])
    with pytest.raises(ValueError, match="the length's checksum is wrong"):
        data.meta_dataset(meta)
    file.write_bytes((meta / "2.tfrecords").read_bytes())
    with pytest.raises(ValueError, match=r"record 0 has label \[2\], not 1"):
        data.meta_dataset(meta)
    (meta / "dataset_spec.json").write_text('{"split_subgraphs": {}}')
    with pytest.raises(ValueError, match="only split_subgraphs; specs of a graph"):
        data.meta_dataset(meta)
