"""The block types of GGUF: random valid blocks, and what they mean by the published layouts, in float32."""

import gguf
import numpy as np

# Type: (number in the file, elements of a block, bytes of a block, offsets of its half-precision scales)
TYPES = {
    "f32": (0, 1, 4, ()), "f16": (1, 1, 2, ()), "bf16": (30, 1, 2, ()),
    "q4_0": (2, 32, 18, (0,)), "q4_1": (3, 32, 20, (0, 2)), "q5_0": (6, 32, 22, (0,)), "q5_1": (7, 32, 24, (0, 2)),
    "q8_0": (8, 32, 34, (0,)), "q2_k": (10, 256, 84, (80, 82)), "q3_k": (11, 256, 110, (108,)),
    "q4_k": (12, 256, 144, (0, 2)), "q5_k": (13, 256, 176, (0, 2)), "q6_k": (14, 256, 210, (208,)),
    "iq2_xxs": (16, 256, 66, (0,)), "iq2_xs": (17, 256, 74, (0,)), "iq2_s": (22, 256, 82, (0,)),
    "iq3_xxs": (18, 256, 98, (0,)), "iq3_s": (21, 256, 110, (0,)), "iq4_nl": (20, 32, 18, (0,)),
    "iq4_xs": (23, 256, 136, (0,)), "tq1_0": (34, 256, 54, (52,)), "tq2_0": (35, 256, 66, (64,)),
}
# Those that the reference quantiser makes of floats; of the others, blocks are random.
QUANTISED = ("f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0")
IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)


def random_data(rng, kind, shape):
    """The bytes of a tensor of whole blocks, one row of the result for each of its rows."""
    number, elements, size, halves = TYPES[kind]
    if kind in QUANTISED:
        floats = (rng.standard_normal(shape) * rng.uniform(0.001, 3)).astype(np.float32)
        rows = gguf.quants.quantize(floats, gguf.GGMLQuantizationType(number))
        return np.ascontiguousarray(rows).view(np.uint8).reshape(shape[0], -1)
    blocks = rng.integers(0, 256, (int(np.prod(shape)) // elements, size)).astype(np.uint8)
    for at in halves:
        scale = (rng.uniform(-1, 1, len(blocks)) * 10.0 ** rng.integers(-4, 0, len(blocks))).astype(np.float16)
        scale[rng.integers(len(blocks))] = 3e-7  # below the normal numbers of half precision
        blocks[:, at:at + 2] = scale.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(shape[0], -1)


def values(kind, data, shape):
    """float32 values of a tensor. Those with tables are the reference dequantiser's; the rest are checked against it."""
    number, _, size, _ = TYPES[kind]
    reference = gguf.quants.dequantize(data, gguf.GGMLQuantizationType(number)).reshape(shape)
    if kind in DECODERS:
        own = DECODERS[kind](data.reshape(-1, size)).astype(np.float32).reshape(shape)
        np.testing.assert_array_equal(own, reference, err_msg=kind)
        return own
    return reference.astype(np.float32)


def half(blocks, at):
    """A scale of each block in float32, [blocks, 1]."""
    return np.ascontiguousarray(blocks[:, at:at + 2]).view(np.float16).astype(np.float32)


def nibbles(data):
    """32 elements of each 16 bytes: the low halves, then the high ones. [..., 16] to [..., 32]."""
    return np.concatenate([data & 15, data >> 4], axis=-1).astype(np.float32)


def fifth_bits(blocks, at):
    word = np.ascontiguousarray(blocks[:, at:at + 4]).view(np.uint32)
    return ((word >> np.arange(32, dtype=np.uint32)) & 1).astype(np.float32) * 16


def two_bits(data):
    """[blocks, 64] to [blocks, 256]: of each 32 bytes the lowest two bits, then the next two, and so on."""
    parts = data.reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1) & 3
    return parts.reshape(-1, 256).astype(np.float32)


def spread(scales, count):
    """A scale for each element: [blocks, n] to [blocks, n * count]."""
    return np.repeat(scales, count, axis=1)


def q2_k(b):
    scale, low = half(b, 80) * (b[:, :16] & 15), half(b, 82) * (b[:, :16] >> 4)
    return spread(scale, 16) * two_bits(b[:, 16:80]) - spread(low, 16)


def q3_k(b):
    packed, k = b[:, 96:108], np.arange(16)
    low = np.concatenate([packed[:, :8] & 15, packed[:, :8] >> 4], axis=1)
    high = packed[:, 8 + k % 4] >> (2 * (k // 4)).astype(np.uint8) & 3
    scale = (low | high << 4).astype(np.float32) - 32
    present = b[:, None, :32] >> np.arange(8, dtype=np.uint8)[:, None] & 1
    q = two_bits(b[:, 32:96]) - np.where(present, 0, 4).reshape(-1, 256).astype(np.float32)
    return spread(half(b, 108) * scale, 16) * q


def k_scales(b):
    """The 8 scales and 8 minima of Q4_K and Q5_K, times their halves."""
    d, m, x = b[:, 4:8], b[:, 8:12], b[:, 12:16]
    scale = np.concatenate([d & 63, x & 15 | d >> 2 & 0x30], axis=1)
    low = np.concatenate([m & 63, x >> 4 | m >> 2 & 0x30], axis=1)
    return spread(half(b, 0) * scale, 32), spread(half(b, 2) * low, 32)


def q4_k(b):
    scale, low = k_scales(b)
    return scale * nibbles_by_32(b[:, 16:144]) - low


def nibbles_by_32(data):
    """128 bytes to 256 elements: of each 32 bytes the low halves, then the high ones."""
    groups = data.reshape(-1, 4, 1, 32) >> np.array([0, 4], np.uint8).reshape(1, 1, 2, 1) & 15
    return groups.reshape(-1, 256).astype(np.float32)


def q5_k(b):
    scale, low = k_scales(b)
    fifth = (b[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & 1).reshape(-1, 256)
    return scale * (nibbles_by_32(b[:, 48:176]) + fifth.astype(np.float32) * 16) - low


def q6_k(b):
    low, high = b[:, :128].reshape(-1, 2, 64), b[:, 128:192].reshape(-1, 2, 32)
    four = np.concatenate([low[..., :32] & 15, low[..., 32:] & 15, low[..., :32] >> 4, low[..., 32:] >> 4], axis=2)
    two = np.concatenate([high >> shift & 3 for shift in (0, 2, 4, 6)], axis=2)
    q = (four | two << 4).reshape(-1, 256).astype(np.float32) - 32
    scale = np.ascontiguousarray(b[:, 192:208]).view(np.int8).astype(np.float32)
    return spread(half(b, 208) * scale, 16) * q


def iq4_xs(b):
    j = np.arange(8)
    low = b[:, 4 + j // 2] >> (4 * (j % 2)).astype(np.uint8) & 15
    high = np.ascontiguousarray(b[:, 2:4]).view(np.uint16) >> (2 * j).astype(np.uint16) & 3
    scale = (low | (high << 4).astype(np.uint8)).astype(np.float32) - 32
    return spread(half(b, 0) * scale, 32) * IQ4[nibbles(b[:, 8:].reshape(-1, 8, 16)).astype(int)].reshape(-1, 256)


def tq1_0(b):
    def digits(data, count):
        powers = 3 ** np.arange(count).reshape(1, -1, 1)
        return ((data.astype(np.int64)[:, None] * powers % 256 * 3) >> 8).reshape(len(data), -1)

    q = np.concatenate([digits(b[:, :32], 5), digits(b[:, 32:48], 5), digits(b[:, 48:52], 4)], axis=1)
    return half(b, 52) * (q.astype(np.float32) - 1)


DECODERS = {
    "f32": lambda b: np.ascontiguousarray(b).view(np.float32),
    "f16": lambda b: np.ascontiguousarray(b).view(np.float16),
    "bf16": lambda b: (np.ascontiguousarray(b).view(np.uint16).astype(np.uint32) << 16).view(np.float32),
    "q8_0": lambda b: half(b, 0) * np.ascontiguousarray(b[:, 2:]).view(np.int8).astype(np.float32),
    "q4_0": lambda b: half(b, 0) * (nibbles(b[:, 2:]) - 8),
    "q4_1": lambda b: half(b, 0) * nibbles(b[:, 4:]) + half(b, 2),
    "q5_0": lambda b: half(b, 0) * (nibbles(b[:, 6:]) + fifth_bits(b, 2) - 16),
    "q5_1": lambda b: half(b, 0) * (nibbles(b[:, 8:]) + fifth_bits(b, 4)) + half(b, 2),
    "iq4_nl": lambda b: half(b, 0) * IQ4[nibbles(b[:, 2:]).astype(int)],
    "tq2_0": lambda b: half(b, 64) * (two_bits(b[:, :64]) - 1),
    "q2_k": q2_k, "q3_k": q3_k, "q4_k": q4_k, "q5_k": q5_k, "q6_k": q6_k, "iq4_xs": iq4_xs, "tq1_0": tq1_0,
}
