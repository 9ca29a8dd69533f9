"""The folders gguf and gguf_bad."""

import struct

import numpy as np

from . import gguf_blocks
from .common import normal

FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
ARCHITECTURE = ("general.architecture", 8, "wan")
METADATA = [ARCHITECTURE, ("general.quantization_version", 4, 2)]


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def encoded(kind, value):
    """A metadata value; an array is (type of its elements, list)."""
    if kind == 8:
        return text(value)
    if kind == 9:
        element, items = value
        return struct.pack("<IQ", element, len(items)) + b"".join(encoded(element, item) for item in items)
    return struct.pack("<" + FORMATS[kind], value)


def up(size, alignment):
    return -(-size // alignment) * alignment


class File:
    """A file that can be broken before it is made into bytes."""

    def __init__(self, metadata=METADATA, alignment=32):
        self.magic, self.version, self.alignment = b"GGUF", 3, alignment
        self.metadata = list(metadata)
        self.tensors = []  # name, ne, type, offset
        self.data = b""
        self.counts = {}  # "tensors" and "metadata", where they lie
        self.end = 32  # what the length of the data is a multiple of

    def add(self, name, kind, shape, data):
        """A tensor by its torch shape; `data` as its bytes."""
        offset = up(len(self.data), self.alignment)
        self.data = self.data.ljust(offset, b"\0") + data
        self.tensors.append([name, [int(size) for size in reversed(shape)], kind, offset])

    def header(self):
        counts = (self.counts.get("tensors", len(self.tensors)), self.counts.get("metadata", len(self.metadata)))
        head = self.magic + struct.pack("<IQQ", self.version, *counts)
        for key, kind, value in self.metadata:
            head += text(key) + struct.pack("<I", kind) + (value if isinstance(value, bytes) else encoded(kind, value))
        for name, sizes, kind, offset in self.tensors:
            head += text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)
        return head

    def bytes(self):
        head = self.header()
        return head.ljust(up(len(head), self.alignment), b"\0") + self.data.ljust(up(len(self.data), self.end), b"\0")


def put(samples, name, file, **changes):
    samples.write(f"gguf/{name}.gguf", file.bytes(), **changes)


def add_blocks(file, expected, rng, name, kind, shape, stored=None):
    """A tensor of random blocks. `stored`: the torch shape in the file, where that is another."""
    rows = stored or shape
    data = gguf_blocks.random_data(rng, kind, rows)
    file.add(name, gguf_blocks.TYPES[kind][0], rows, data.tobytes())
    expected[name] = gguf_blocks.values(kind, data, rows).reshape(shape)


def write(samples):
    for kind in gguf_blocks.TYPES:
        one_type(samples, kind)
    variants(samples)
    mixed(samples)
    write_bad(samples)


def one_type(samples, kind):
    rng = samples.rng("gguf/" + kind)
    block = gguf_blocks.TYPES[kind][1]
    unit = block if block > 1 else 7
    file, expected = File(), {}
    for name in [f"blocks.{rng.integers(3)}.self_attn.q.weight", f"blocks.{rng.integers(10, 40)}.ffn.2.weight"]:
        shape = (int(rng.integers(1, 40)), unit * int(rng.integers(1, 6)))
        add_blocks(file, expected, rng, name, kind, shape)
        file.data += b"\xff" * int(rng.choice([0, 32, 77]))  # holes are not forbidden
    file.tensors = [file.tensors[at] for at in rng.permutation(2)]  # in another order than the data
    put(samples, kind, file)
    samples.safetensors(f"gguf/{kind}.expected.safetensors", expected)


def all_metadata(rng):
    """Every type of value, and arrays of them, nested and empty."""
    extremes = {0: (0, 255), 1: (-128, 127), 2: (0, 65535), 3: (-32768, 32767), 4: (0, 2**32 - 1), 5: (-(2**31), 2**31 - 1),
                6: (-0.5, 1e30), 7: (0, 1), 8: ("", "wörter\n"), 10: (0, 2**64 - 1), 11: (-(2**63), 2**63 - 1),
                12: (-1e300, 0.1)}
    entries = [(f"t.value{kind}", kind, pair[rng.integers(2)]) for kind, pair in extremes.items()]
    entries += [(f"t.array{kind}", 9, (kind, list(pair) * int(rng.integers(0, 4)))) for kind, pair in extremes.items()]
    entries.append(("t.nested", 9, (9, [(9, [(4, [9]), (8, ["a", ""])]), (5, []), (9, [])])))
    return METADATA + [entries[at] for at in rng.permutation(len(entries))]


def variants(samples):
    """One pair of tensors in files that differ in their container only."""
    rng = samples.rng("gguf/variants")
    shape = (int(rng.integers(1, 60)), 32 * int(rng.integers(1, 12)))
    blocks = gguf_blocks.random_data(rng, "q8_0", shape)
    floats = normal(rng, int(rng.integers(1, 20)))
    name = f"blocks.{rng.integers(40)}.self_attn.q.weight"
    samples.safetensors("gguf/q8_0_variants.expected.safetensors",
                        {name: gguf_blocks.values("q8_0", blocks, shape), "b": floats})

    def make(metadata=METADATA, alignment=32, prefix=""):
        file = File(metadata, alignment)
        file.add(prefix + name, 8, shape, blocks.tobytes())
        file.add(prefix + "b", 0, floats.shape, floats.tobytes())
        file.end = int(rng.choice([1, 32]))  # some writers pad the last tensor, others do not
        return file

    alignment = int(rng.choice([8, 64, 128, 4096]))
    put(samples, "align64_q8_0", make([ARCHITECTURE, ("general.alignment", 4, alignment)], alignment),
        what=f"general.alignment = {alignment}")
    put(samples, "noarch_q8_0", make([]))
    put(samples, "prefixed_q8_0", make(prefix="model.diffusion_model."))
    put(samples, "all_kv_types", make(all_metadata(rng)))
    second = make()
    second.version = 2
    put(samples, "v2_q8_0", second)


def mixed(samples):
    """A small Wan file as city96's tools write it, with one tensor that was flattened to whole blocks."""
    rng = samples.rng("gguf/mixed")
    width, inner = 256 * int(rng.integers(1, 3)), 256 * int(rng.integers(1, 4))
    original = (int(rng.integers(1, 9)), 32 * int(rng.integers(1, 4)), 3, 3)
    kinds = rng.permutation(["q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_xs"])
    block = f"blocks.{rng.integers(40)}."
    file = File(METADATA + [("general.file_type", 4, int(rng.integers(1, 20))),
                            ("comfy.gguf.orig_shape.reshaped.conv.weight", 9, (5, list(original)))])
    expected = {}
    plan = [("patch_embedding.bias", "f16", (width,)), ("text_embedding.0.weight", "f16", (width, 24)),
            (block + "modulation", "f16", (1, 6, width)), ("head.modulation", "f16", (1, 2, width)),
            (block + "norm3.weight", "bf16", (width,)), (block + "self_attn.q.weight", kinds[0], (width + 1, width)),
            (block + "self_attn.v.weight", kinds[1], (width + 1, width)), (block + "ffn.2.weight", kinds[2], (width, inner)),
            (block + "self_attn.q.bias", "f32", (width + 1,)), ("head.head.weight", "f16", (64, width)),
            ("head.head.bias", "f32", (64,))]
    for name, kind, shape in plan:
        add_blocks(file, expected, rng, name, str(kind), shape)
    add_blocks(file, expected, rng, "reshaped.conv.weight", "q8_0", original, (original[0] * 9, original[1]))
    patch = normal(rng, (width, int(rng.choice([16, 36])), 1, 2, 2))
    file.add("patch_embedding.weight", 0, patch.shape, patch.tobytes())  # last, as its converter appends it
    expected["patch_embedding.weight"] = patch
    put(samples, "wan_mini_mixed", file)
    samples.safetensors("gguf/wan_mini_mixed.expected.safetensors", expected)


def good_file(rng, rows):
    file = File()
    shape = (rows, 64)
    file.add("blocks.0.self_attn.q.weight", 8, shape, gguf_blocks.random_data(rng, "q8_0", shape).tobytes())
    file.add("b", 0, (3,), normal(rng, 3).tobytes())
    return file


def write_bad(samples):
    rng = samples.rng("gguf_bad")
    rows = int(rng.integers(2, 20))
    size = rows * 68  # of the first tensor

    def put_bad(name, file, what=None):
        data = file if isinstance(file, bytes) else file.bytes()
        samples.write(f"gguf_bad/{name}.gguf", data, **({"what": what} if what else {}))

    def broken(name, what=None, **fields):
        file = good_file(rng, rows)
        for field, value in fields.items():
            setattr(file, field, value)
        put_bad(name, file, what)

    def tensor(name, at, what=None, number=0):
        """Breaks one of the first tensor's name, sizes, type and offset, or one of the second's."""
        file = good_file(rng, rows)
        file.tensors[number] = [at.get(field, old) for field, old in enumerate(file.tensors[number])]
        put_bad(name, file, what)

    depth = int(rng.integers(200, 9000))
    broken("alignment_zero", metadata=METADATA + [("general.alignment", 4, 0)])
    broken("array_depth", f"arrays nested {depth} deep (stack exhaustion)",
           metadata=METADATA + [("x", 9, struct.pack("<IQ", 9, 1) * depth + struct.pack("<IQ", 4, 0))])
    broken("bigendian", version=int.from_bytes(struct.pack(">I", int(rng.integers(2, 4))), "little"))
    broken("magic", magic=[b"GGUX", b"ggml", b"GGU\0", b"FUGG"][rng.integers(4)])
    broken("version1", version=1)
    version = int(rng.choice([0, 4, 99, 2**31]))
    broken("version99", f"unknown version ({version})", version=version)
    count = [2**62, 2**64 - 1, 2**40, 10**9][rng.integers(4)]
    broken("huge_kv_count", f"kv count {count}", counts={"metadata": count})
    broken("huge_tensor_count", f"tensor count {count}", counts={"tensors": count})
    length = [2**63, 2**64 - 1, 2**64 - 24, 2**33][rng.integers(4)]
    broken("huge_string", f"string length {length}", metadata=METADATA + [("x", 8, struct.pack("<Q", length) + b"abc")])
    sizes = [[2**40, 2**40], [2**32, 2**32], [2**63, 2], [2**60, 64], [32, 2**58, 2**58]][rng.integers(5)]
    tensor("dim_overflow", {1: sizes})
    tensor("dims9", {1: [1] * int(rng.integers(9, 30)), 2: 0}, "nine dimensions or more", 1)
    tensor("duplicate_name", {0: "blocks.0.self_attn.q.weight"}, None, 1)
    tensor("offset_eof", {3: [up(size, 32) + 32, 2**40, 2**62][rng.integers(3)]}, None, 1)
    tensor("offset_overflow", {3: 2**64 - 32 * int(rng.integers(1, 9))})
    tensor("offset_unaligned", {3: up(size, 32) + [1, 4, 8, 16][rng.integers(4)]}, None, 1)
    tensor("overlap", {3: 32 * int(rng.integers(0, size // 32))}, None, 1)
    removed = int(rng.choice([4, 5, 31, 32, 33, 36, 37, 38]))
    tensor("removed_type", {2: removed}, f"type id {removed} (removed from ggml)")
    unknown = int(rng.choice([64, 250, 2**31, 2**32 - 1]))
    tensor("unknown_type", {2: unknown}, f"tensor type id {unknown}")
    width, kind = [(100, 12), (33, 8), (257, 14), (31, 2)][rng.integers(4)]
    tensor("row_not_block_multiple", {1: [width, 1], 2: kind}, f"row length {width} with type {kind}")
    whole, head = good_file(rng, rows).bytes(), len(good_file(rng, rows).header())
    end = up(head, 32) + up(size, 32) + 12  # of the last tensor's last byte
    put_bad("truncated_data", whole[:int(rng.integers(up(head, 32), end))])
    put_bad("truncated_header", whole[:int(rng.integers(5, head))])
    put_bad("empty", b"")
