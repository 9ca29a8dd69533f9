"""What the makers of samples share: a folder with random numbers of its own for each file, and safetensors files."""

import json
import struct
import zlib

import numpy as np

from . import codes

DTYPES = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "int32": "I32", "int16": "I16",
          "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "bool": "BOOL"}


class SampleSet:
    """A set that is being written. The same seed gives the same bytes."""

    def __init__(self, folder, seed):
        self.folder = folder
        self.seed = seed
        self.written = set()
        self.changes = {}  # what differs from the index that gives the layout, by file

    def rng(self, name):
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def write(self, name, data, **changes):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.written.add(name)
        if changes:
            self.changes[name] = changes

    def safetensors(self, name, tensors, metadata=None, **changes):
        self.write(name, safetensors_bytes(self.rng(name + " order"), tensors, metadata), **changes)


class Coded:
    """Bytes with a dtype that numpy lacks: uint8 for the 8-bit floats, uint16 for BF16."""

    def __init__(self, dtype, data):
        self.dtype = dtype
        self.data = np.asarray(data)


def bf16(values):
    return Coded("BF16", codes.bf16_bits(values).reshape(np.shape(values)))


def as_floats(tensor):
    """The exact float32 values of an array or of Coded BF16 or float8."""
    if not isinstance(tensor, Coded):
        return np.asarray(tensor, np.float32)
    if tensor.dtype == "BF16":
        return codes.bf16_values(tensor.data).reshape(tensor.data.shape)
    return codes.FLOAT8[tensor.dtype][tensor.data].astype(np.float32)


def header_entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": [int(size) for size in shape], "data_offsets": [begin, end]}


def with_header(header, data):
    """A safetensors file of a header (text or bytes) and its data."""
    encoded = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def safetensors_bytes(rng, tensors, metadata=None):
    """Tensors in random order, of data and of header, with or without padding: a reader must rely on none of these."""
    header, data = {}, b""
    for name in rng.permutation(sorted(tensors)) if tensors else []:
        tensor = tensors[name]
        array = tensor.data if isinstance(tensor, Coded) else np.asarray(tensor)
        dtype = tensor.dtype if isinstance(tensor, Coded) else DTYPES[array.dtype.name]
        raw = np.ascontiguousarray(array).tobytes()
        header[str(name)] = header_entry(dtype, array.shape, len(data), len(data) + len(raw))
        data += raw
    shuffled = {str(name): header[str(name)] for name in rng.permutation(sorted(header))} if header else {}
    text = json.dumps(({"__metadata__": metadata} if metadata else {}) | shuffled, separators=(",", ":"))
    return with_header(text + " " * (int(rng.integers(2)) * (-len(text.encode()) % 8)), data)


def normal(rng, shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)
