"""The folder pickle: state dicts as torch.save writes them, in both containers, made without torch."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np

from .common import bf16, normal

STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage",
            "int32": "IntStorage", "int16": "ShortStorage", "int8": "CharStorage", "uint8": "ByteStorage",
            "bool": "BoolStorage", "uint16": "BFloat16Storage"}  # numpy has no BF16: its bits
MAGIC = 0x1950A86A20F9469CFC6C


class Global:
    """A name that is written as one, without the module that it names."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    def __init__(self, function, arguments):
        self.function, self.arguments = function, arguments


class Storage:
    def __init__(self, array, untyped=False):
        self.array, self.key = np.ascontiguousarray(array).reshape(-1), ""
        self.type = Global("torch", STORAGES[self.array.dtype.name])
        if untyped:
            self.array, self.type = self.array.view(np.uint8), Global("torch.storage", "UntypedStorage")


REBUILD_TENSOR = Global("torch._utils", "_rebuild_tensor_v2")
REBUILD_TENSOR_FIRST = Global("torch._utils", "_rebuild_tensor")
REBUILD_TENSOR_UNTYPED = Global("torch._utils", "_rebuild_tensor_v3")
REBUILD_PARAMETER = Global("torch._utils", "_rebuild_parameter")


class Pickler(pickle._Pickler):
    """The writer of Python itself (its memo, frames and tuples), which also knows the three above."""

    dispatch = dict(pickle._Pickler.dispatch)

    def __init__(self, stream, protocol, legacy):
        super().__init__(stream, protocol)
        self.legacy = legacy
        self.types = {}

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        kind = self.types.setdefault(value.type.name, value.type)  # one object for each type, so that the memo serves
        return ("storage", kind, value.key, "cpu", len(value.array)) + ((None,) if self.legacy else ())

    def save_global_name(self, value):
        if self.proto >= 4:
            self.save(value.module)
            self.save(value.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        self.memoize(value)

    def save_call(self, value):
        self.save(value.function)
        self.save(value.arguments)
        self.write(pickle.REDUCE)
        self.memoize(value)

    dispatch[Global] = save_global_name
    dispatch[Call] = save_call


def dumps(value, protocol=2, legacy=False):
    stream = io.BytesIO()
    Pickler(stream, protocol, legacy).dump(value)
    return stream.getvalue()


def view(storage, offset, shape, strides):
    return Call(REBUILD_TENSOR, (storage, offset, shape, strides, False, OrderedDict()))


def contiguous(shape):
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * max(size, 1))
    return tuple(reversed(strides)) if shape else ()


def whole(array):
    shape = tuple(int(size) for size in array.shape)
    return view(Storage(array), 0, shape, contiguous(shape))


def untyped(array, dtype):
    """As newer versions of torch write types that have no storage class: bytes, and the type beside them."""
    shape = tuple(int(size) for size in array.shape)
    return Call(REBUILD_TENSOR_UNTYPED, (Storage(array, untyped=True), 0, shape, contiguous(shape), False, OrderedDict(),
                                         Global("torch", dtype)))


def parameter(tensor):
    return Call(REBUILD_PARAMETER, (tensor, True, OrderedDict()))


def storages_of(value):
    """The storages in the order in which they are met, each once."""
    found = []

    def walk(item):
        if isinstance(item, Storage):
            if not any(item is other for other in found):
                found.append(item)
        elif isinstance(item, Call):
            walk(item.arguments)
        elif isinstance(item, dict):
            for part in item.values():
                walk(part)
        elif isinstance(item, (tuple, list)):
            for part in item:
                walk(part)

    walk(value)
    return found


def zip_bytes(entries, root, aligned=True, method=zipfile.ZIP_STORED, zip64=False):
    """A zip of (name, data). `aligned`: payloads of storages begin at multiples of 64, by an extra field of the local
    header that the central directory does not repeat."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in entries:
            info = zipfile.ZipInfo(f"{root}/{name}")
            info.compress_type = method
            if aligned and method == zipfile.ZIP_STORED:
                begin = stream.tell() + 30 + len(info.filename) + (20 if zip64 else 0) + 4
                filler = -begin % 64
                info.extra = struct.pack("<2sH", b"FB", filler) + b"Z" * filler
            with archive.open(info, "w", force_zip64=zip64) as entry:
                entry.write(data)
            info.extra = b""
    return stream.getvalue()


def archive_entries(value, protocol=2, extras=True):
    """The entries of a torch archive; `extras` are those of newer versions of torch."""
    storages = storages_of(value)
    for number, storage in enumerate(storages):
        storage.key = str(number)
    entries = [("data.pkl", dumps(value, protocol))]
    if extras:
        entries += [(".format_version", b"1"), (".storage_alignment", b"64"), ("byteorder", b"little")]
    entries += [("data/" + storage.key, storage.array.tobytes()) for storage in storages]
    return entries + [("version", b"3\n")] + ([(".data/serialization_id", b"0" * 40)] if extras else [])


def legacy_head():
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    return dumps(MAGIC) + dumps(1001) + dumps(system)


def legacy_bytes(value, rng):
    """Five pickles, then the storages in the order of the list of keys, which is not that of their use."""
    storages = storages_of(value)
    for storage in storages:
        storage.key = str(int(rng.integers(10**13, 10**15)))
    listed = [storages[at] for at in rng.permutation(len(storages))]
    data = b"".join(struct.pack("<q", len(storage.array)) + storage.array.tobytes() for storage in listed)
    return legacy_head() + dumps(value, legacy=True) + dumps([storage.key for storage in listed]) + data


def state(rng):
    """(name to tensor for the pickle, name to values): views of one storage, a transposed one, other shapes and types."""
    rows, columns, skipped = int(rng.integers(2, 30)), int(rng.integers(2, 9)), int(rng.integers(1, 40))
    shared = normal(rng, skipped + 2 * rows * columns + int(rng.integers(0, 7)))
    storage = Storage(shared)
    matrix = normal(rng, (rows, columns))
    arrays = {"a.weight": bf16(normal(rng, (rows, columns))).data, "a.bias": normal(rng, rows),
              "half": normal(rng, (columns, 3)).astype(np.float16), "ids": rng.integers(-(2**60), 2**60, rows),
              "scalar": normal(rng, 1).reshape(()), "u8": rng.integers(0, 256, rows + 300).astype(np.uint8),
              "empty": np.zeros([(0, 4), (2, 0), (0,)][rng.integers(3)], np.float32), "bool": rng.integers(0, 2, rows) > 0}
    tensors = {name: whole(array) for name, array in arrays.items()}
    tensors["view_offset"] = view(storage, skipped, (rows, columns), (columns, 1))
    tensors["view_same_storage"] = view(storage, 1, (rows, columns), (1, rows))
    tensors["transposed"] = view(Storage(matrix), 0, (columns, rows), (1, columns))
    values = dict(arrays)
    values["a.weight"] = bf16((arrays["a.weight"].astype(np.uint32) << 16).view(np.float32))
    values["view_offset"] = shared[skipped:skipped + rows * columns].reshape(rows, columns)
    values["view_same_storage"] = shared[1:1 + rows * columns].reshape(columns, rows).T
    values["transposed"] = matrix.T
    if rng.integers(2):
        tensors["half"] = untyped(arrays["half"], "float16")
        tensors["a.bias"] = Call(REBUILD_TENSOR_FIRST, tensors["a.bias"].arguments[:4])
    order = list(rng.permutation(sorted(tensors)))
    return OrderedDict((str(name), tensors[name]) for name in order), values


def write(samples):
    rng = samples.rng("pickle")
    tensors, values = state(rng)
    samples.safetensors("pickle/expected.safetensors", values)

    def put(name, value, protocol=2, suffix=".pth", **changes):
        zip64, extras = bool(rng.integers(2)), bool(rng.integers(2))
        root = str(rng.choice(["archive", name, "a b", "model.v1"]))
        data = zip_bytes(archive_entries(value, protocol, extras), root, bool(rng.integers(2)), zip64=zip64)
        samples.write("pickle/" + name + suffix, data, **changes)

    described = OrderedDict(tensors)
    described._metadata = OrderedDict([("", {"version": 1})])  # what Module.state_dict() adds: BUILD on an OrderedDict
    put("zip_state_dict", described)
    plain = {"epoch": 3, "best": 0.25, "big": 2**40, "none": None, "names": ["a", ("b", True)]}
    key = str(rng.choice(["state_dict", "model", "params_ema", "generator"]))
    put("zip_nested_state_dict", plain | {key: tensors}, what=f"tensors under key {key} beside plain values")
    put("zip_module_prefix", OrderedDict(("module." + name, tensor) for name, tensor in tensors.items()), suffix=".pkl")
    floats = OrderedDict((name, parameter(tensor)) for name, tensor in tensors.items() if name not in ("ids", "u8", "bool"))
    put("zip_parameters", floats)
    put("zip_protocol4", tensors, protocol=4)
    samples.write("pickle/legacy_state_dict.pth", legacy_bytes(tensors, rng))
    deflated = zip_bytes(archive_entries(tensors), "zip_state_dict", method=zipfile.ZIP_DEFLATED)
    samples.write("pickle_bad/deflated.pth", deflated)
