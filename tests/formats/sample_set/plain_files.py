"""safetensors_ok and safetensors_bad: the container, at its edges and broken."""

import json
import struct

import numpy as np

from .common import DTYPES, header_entry, with_header


def write(samples):
    write_good(samples)
    write_bad(samples)


def small(rng, count):
    """Small whole numbers, exact in every type and in the index."""
    return rng.integers(0, 200, count)


def table(**entries):
    return json.dumps(entries, separators=(",", ":"))


def write_good(samples):
    def put(name, header, data, tensors):
        lists = {key: [float(x) for x in np.ravel(value)] for key, value in tensors.items()}
        samples.write(f"safetensors_ok/{name}.safetensors", with_header(header, data), tensors=lists)

    rng = samples.rng("safetensors_ok")
    put("no_tensors", rng.choice(["{}", '{"__metadata__":{}}', '{"__metadata__":{"format":"pt"}}   ']), b"", {})

    before = small(rng, int(rng.choice([1, 3, 5]))).astype(np.uint8)
    dtype = rng.choice(["float32", "float64", "float16", "int16", "int32", "int64", "uint16", "uint32"])
    odd = (small(rng, int(rng.integers(1, 9))) / 4 + 10).astype(dtype)
    put("odd_alignment", table(a=header_entry(DTYPES[odd.dtype.name], odd.shape, before.size, before.size + odd.nbytes),
                               p=header_entry("U8", before.shape, 0, before.size)),
        before.tobytes() + odd.tobytes(), {"a": odd, "p": before})

    count = int(rng.integers(1, 40))
    bytes_ = small(rng, count).astype(np.uint8)
    plain = table(a=header_entry("U8", [count], 0, count))
    put("padded_header", plain + " " * int(rng.integers(1, 4000)), bytes_.tobytes(), {"a": bytes_})

    scalar = (small(rng, 1) / 8).astype(np.float32)
    samples.write("safetensors_ok/scalar.safetensors",
                  with_header(table(s=header_entry("F32", [], 0, 4)), scalar.tobytes()), tensors={"s": float(scalar[0])})

    parts = {name: small(rng, int(rng.integers(1, 20))).astype(np.uint8) for name in "dacb"}
    begin, entries = 0, {}
    for name in "cadb":
        entries[name] = header_entry("U8", parts[name].shape, begin, begin + parts[name].size)
        begin += parts[name].size
    put("unsorted", table(**{name: entries[name] for name in "bdac"}),
        b"".join(parts[name].tobytes() for name in "cadb"), parts)

    at = int(rng.integers(0, 2)) * count
    shape = [[0], [0, 4], [3, 0, 2]][rng.integers(3)]
    put("zero_size", table(scaled_fp8=header_entry("F8_E4M3", shape, at, at), a=header_entry("U8", [count], 0, count)),
        bytes_.tobytes(), {"a": bytes_, "scaled_fp8": []})


def write_bad(samples):
    rng = samples.rng("safetensors_bad")
    count = int(rng.integers(2, 12))
    size = 4 * count
    data = rng.bytes(size)
    good = header_entry("F32", [count], 0, size)
    text = table(a=good)

    def put(name, content):
        samples.write(f"safetensors_bad/{name}.safetensors", content)

    def one(name, content=data, **changes):
        put(name, with_header(table(a=good | changes), content))

    def two(name, begin):
        put(name, with_header(table(a=good, b=header_entry("F32", [count], begin, begin + size)), data * 3))

    def length(name, value, content=text.encode() + data):
        put(name, struct.pack("<Q", value) + content)

    one("begin_after_end", data_offsets=[size, 0])
    one("float_shape", shape=[count + float(rng.choice([0.0, 0.5]))])
    one("negative_offset", data_offsets=[-size, 0])
    one("negative_shape", shape=[[-count], [-1, -count], [-(2**63)]][rng.integers(3)])
    one("offset_past_eof", shape=[count + 1], data_offsets=[0, size + 4])
    one("shape_overflow", shape=[[2**62, 2**62], [2**32, 2**32], [2**63, 2], [2**61, 8, 4]][rng.integers(4)])
    one("size_mismatch", shape=[[count + 1], [count - 1], [count, 2], []][rng.integers(4)])
    one("trailing_bytes", data + rng.bytes(int(rng.integers(1, 100))))
    one("unknown_dtype", dtype=str(rng.choice(["F12", "f32", "", "FLOAT", "F32 ", "I128"])))
    two("gap", size + 4 * int(rng.integers(1, count)))
    two("overlap", size - 4 * int(rng.integers(1, count + 1)))
    put("duplicate_keys", with_header('{"a":%s,"a":%s}' % (json.dumps(good), json.dumps(
        header_entry("F32", [count], size, 2 * size))), data * 2))
    without = str(rng.choice(["dtype", "shape", "data_offsets"]))
    put("missing_field", with_header(table(a={key: good[key] for key in good if key != without}), data))
    put("metadata_not_string", with_header(json.dumps(
        {"__metadata__": [{"x": 1}, {"x": None}, {"x": ["y"]}, "x", [1]][rng.integers(5)], "a": good}), data))
    put("not_utf8", with_header(text.encode().replace(b"a", rng.choice([b"\xff\xfe", b"\xc3", b"\xed\xa0\x80",
                                                                        b"\xc0\xaf"]), 1), data))
    put("json_array", with_header(str(rng.choice(["[1,2]", "7", '"a"', "null", "[{}]", "true"])), b""))
    put("invalid_json", with_header([text[:-1], text + "x", text.replace(":", "=", 1), text.replace("}", ",}", 1)]
                                    [rng.integers(4)], data))
    opening = str(rng.choice(["[", '{"x":']))
    put("deep_json", with_header('{"a":' + opening * int(rng.integers(5000, 60000)), b""))
    length("header_len_zero", 0)
    length("header_len_huge", [2**63, 2**64 - 8, 2**64 - 1, 2**62][rng.integers(4)])
    length("header_len_past_eof", len(text) + size + int(rng.integers(1, 5000)))
    length("header_len_short", int(rng.integers(1, len(text))))
    length("header_over_100mb", 100_000_001 + int(rng.integers(0, 2**30)), b"{}")
    put("empty", b"")
    put("short8", rng.bytes(int(rng.integers(1, 8))))
