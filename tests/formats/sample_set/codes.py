"""Number formats that numpy lacks, by their definitions, and the order in which block scales are stored."""

import numpy as np


def float8(exponent_bits):
    """The float64 values of all 256 codes: E4M3 "fn" (no infinity, one NaN of each sign) or E5M2 (like IEEE)."""
    mantissa_bits = 7 - exponent_bits
    bias = 2 ** (exponent_bits - 1) - 1
    code = np.arange(256)
    exponent = (code >> mantissa_bits) & (2**exponent_bits - 1)
    fraction = (code & (2**mantissa_bits - 1)) / 2**mantissa_bits
    value = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (exponent - bias))
    if exponent_bits == 4:
        value[(code & 0x7F) == 0x7F] = np.nan
    else:
        value[(code & 0x7F) == 0x7C] = np.inf
        value[(code & 0x7F) > 0x7C] = np.nan
    return np.where(code < 128, value, -value)


E4M3 = float8(4)
E5M2 = float8(5)
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
FLOAT8 = {"F8_E4M3": E4M3, "F8_E5M2": E5M2}


def finite_codes(rng, dtype, shape, positive=False):
    """Codes of a float8 type, drawn evenly from those that are numbers."""
    choices = np.flatnonzero(np.isfinite(FLOAT8[dtype])).astype(np.uint8)
    return rng.choice(choices[choices < 128] if positive else choices, shape)


def e8m0(code):
    """2^(code - 127), in float64: code 0 is 2^-127, below the normal numbers of float32."""
    return 2.0 ** (code.astype(np.float64) - 127)


def bf16_bits(values):
    """The nearest BF16 of finite float32 values, ties to even, as uint16."""
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def bf16_values(bits):
    return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32)


def round_bf16(values):
    return bf16_values(bf16_bits(values)).reshape(np.shape(values))


def padded(scales, filler):
    """[R, C] with rows up to a multiple of 128 and columns up to one of 4. What is added has no meaning: `filler`."""
    rows, columns = scales.shape
    whole = np.full((-(-rows // 128) * 128, -(-columns // 4) * 4), filler, scales.dtype)
    whole[:rows, :columns] = scales
    return whole


def tiled(scales, filler):
    """Block scales [R, C] in the stored order: tiles of 128 x 4, each with rows r, r + 32, r + 64, r + 96 together."""
    whole = padded(scales, filler)
    rows, columns = whole.shape
    tiles = whole.reshape(rows // 128, 4, 32, columns // 4, 4).transpose(0, 3, 2, 1, 4)
    return np.ascontiguousarray(tiles).reshape(rows, columns)


def regular_hadamard(size):
    """H4 (x) H4 (x) ... / sqrt(size), symmetric and its own inverse. `size` is a power of 4."""
    four = np.array([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]], np.float64)
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.kron(matrix, four)
    return matrix / np.sqrt(size)
