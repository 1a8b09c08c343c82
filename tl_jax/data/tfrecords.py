"""TFRecord files of `tf.train.Example`, read without TensorFlow.

A record is its length (8 bytes), that number's checksum (4), the bytes, and theirs (4);
the checksums are CRC-32C, rotated and moved. A message of protocol buffers is a row of
fields, each with its number and its kind.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

POLYNOMIAL = 0x82F63B78
MASK = 0xA282EAD8
Field = tuple[int, int | bytes]


def records(file: Path, check: bool = True) -> Iterator[bytes]:
    """The bytes of each record; raises ValueError, naming the record, for damage.

    The checksum of the length is always compared, that of the bytes with `check`.
    """
    table = crc_table()
    with file.open("rb") as opened:
        number = 0
        while head := opened.read(12):
            where = f"{file}: record {number}"
            if len(head) < 12:
                raise ValueError(f"{where} is cut short")
            length, wanted = struct.unpack("<QI", head)
            if masked_crc(head[:8], table) != wanted:
                raise ValueError(f"{where}: the length's checksum is wrong")
            data, tail = opened.read(length), opened.read(4)
            if len(data) < length or len(tail) < 4:
                raise ValueError(f"{where} is cut short")
            if check and masked_crc(data, table) != struct.unpack("<I", tail)[0]:
                raise ValueError(f"{where}: the checksum is wrong, the file is damaged")
            yield data
            number += 1


def crc_table() -> list[int]:
    """CRC-32C of each byte."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


def masked_crc(data: bytes, table: list[int]) -> int:
    """CRC-32C, rotated by 15 bits and moved by a constant, as records hold it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF


def example(data: bytes) -> dict[str, Any]:
    """The features of a `tf.train.Example`: lists of bytes, or arrays of numbers."""
    found: dict[str, Any] = {}
    for _, features in _of(fields(data), 1):
        for _, entry in _of(fields(features), 1):
            pair = dict(fields(entry))
            name = pair.get(1, b"").decode("utf-8")
            found[name] = _feature(pair.get(2, b""))
    return found


def _feature(data: bytes) -> Any:
    for kind, values in fields(data):
        if kind == 1:
            return [value for _, value in fields(values)]
        if kind == 2:
            parts = [value for _, value in fields(values)]
            return np.frombuffer(b"".join(parts), "<f4")
        if kind == 3:
            numbers: list[int] = []
            for _, value in fields(values):
                numbers += _packed(value) if isinstance(value, bytes) else [value]
            return np.asarray(numbers, np.uint64).astype(np.int64)
    return []


def _packed(data: bytes) -> list[int]:
    found, place = [], 0
    while place < len(data):
        value, place = _varint(data, place)
        found.append(value)
    return found


def _of(found: Iterator[Field], number: int) -> list[Field]:
    return [field for field in found if field[0] == number]


def fields(data: bytes) -> Iterator[Field]:
    """(number, value) of each field of a message; raises ValueError for damage."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if kind == 2:
            length, place = _varint(data, place)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a message has a field of kind {kind}")
        if place + length > len(data):
            raise ValueError("a message is cut short")
        yield key >> 3, data[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """(number, where it ends)"""
    value, shift = 0, 0
    while place < len(data) and shift < 70:
        value |= (data[place] & 0x7F) << shift
        place += 1
        if data[place - 1] < 0x80:
            return value, place
        shift += 7
    raise ValueError("a message is cut short")
