"""The folder fp8: 8-bit and 4-bit weights with their scales, as ComfyUI, Kijai, LightX2V and musubi-tuner store them."""

import json

import numpy as np

from . import codes
from .common import Coded, as_floats, bf16, normal

PREFIX = "model.diffusion_model."


def write(samples):
    all_codes(samples)
    plain(samples)
    for name, options in OLD.items():
        old_scaled(samples, name, **options)
    new_scaled(samples)
    per_channel(samples, "lightx2v_fp8_channel", "F8_E4M3")
    per_channel(samples, "lightx2v_int8_channel", "I8")
    musubi_blocks(samples)
    int8_tensorwise(samples)
    mxfp8(samples)
    comfy_nvfp4(samples)
    lightx2v_nvfp4(samples, "alpha")
    lightx2v_nvfp4(samples, "absmax")


def put(samples, name, tensors, expected):
    samples.safetensors(f"fp8/{name}.safetensors", tensors)
    samples.safetensors(f"fp8/{name}.expected.safetensors", expected)


def linear_names(rng, count):
    """Names of Linears: of blocks with numbers of one and of two digits, and one outside them."""
    kinds = ["self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "cross_attn.q", "cross_attn.o", "ffn.0", "ffn.2"]
    blocks = rng.choice([0, 1, 2, 7, 11, 39], count - 1)
    names = {f"blocks.{block}.{kind}" for block, kind in zip(blocks, rng.choice(kinds, count - 1, replace=False))}
    return sorted(names) + [str(rng.choice(["time_projection.1", "text_embedding.0", "head.head"]))]


def matrix_shape(rng):
    """Any numbers of rows and columns, odd ones among them."""
    return int(rng.integers(1, 70)), int(rng.integers(1, 300))


def other_tensors(rng, layer, store):
    """Tensors that are not quantised, stored by `store`."""
    width = int(rng.integers(3, 90))
    return {"blocks.0.modulation": store(normal(rng, (1, 6, width))), "blocks.0.norm3.weight": store(normal(rng, width)),
            layer + ".bias": store(normal(rng, width))}


def float_store(rng):
    return [lambda x: x, lambda x: x.astype(np.float16), bf16][rng.integers(3)]


def weight_codes(rng, dtype, shape):
    if dtype == "I8":
        return rng.integers(-128, 128, shape).astype(np.int8)
    return Coded(dtype, codes.finite_codes(rng, dtype, shape))


def scale_values(rng, shape, largest=0.02):
    return (rng.uniform(0.01, 1, shape) * largest).astype(np.float32)


def bf16_path(floats, scale):
    """How peers that compute in BF16 round: the code to BF16, times the scale in BF16, to BF16."""
    return bf16(codes.round_bf16(floats) * codes.round_bf16(np.asarray(scale, np.float32)))


def all_codes(samples):
    rng = samples.rng("all_codes")
    shape = [(256,), (16, 16), (2, 128), (4, 8, 8)][rng.integers(4)]
    order = {name: rng.permutation(256).astype(np.uint8).reshape(shape) for name in ("e4m3", "e5m2")}
    put(samples, "all_codes", {"e4m3": Coded("F8_E4M3", order["e4m3"]), "e5m2": Coded("F8_E5M2", order["e5m2"])},
        {"e4m3": codes.E4M3[order["e4m3"]].astype(np.float32), "e5m2": codes.E5M2[order["e5m2"]].astype(np.float32)})


def plain(samples):
    rng = samples.rng("plain_fp8")
    layers = linear_names(rng, 4)
    width = int(rng.integers(3, 60))
    eighth = {layer + ".weight": matrix_shape(rng) for layer in layers}
    eighth |= {layers[0] + ".bias": (width,), "blocks.0.modulation": (1, 6, width)}
    tensors = {name: weight_codes(rng, "F8_E4M3", shape) for name, shape in eighth.items()}
    tensors["patch_embedding.weight"] = normal(rng, (width, int(rng.choice([16, 36])), 1, 2, 2))
    put(samples, "plain_fp8", tensors, {name: as_floats(tensor) for name, tensor in tensors.items()})


# What each old convention stores beside its weights.
OLD = {
    "comfy_old_scaled": dict(dtype="F8_E4M3", scale_shape=(), store=lambda x: x, marker=0, inputs=True),
    "kijai_old_scaled_e5m2": dict(dtype="F8_E5M2", scale_shape=(1,), store=lambda x: x, marker=2, inputs=False),
    "lightx2v_comfyui_scaled": dict(dtype="F8_E4M3", scale_shape=(), store=bf16, marker=2, inputs=False),
}


def old_scaled(samples, name, dtype, scale_shape, store, marker, inputs):
    rng = samples.rng(name)
    layers = linear_names(rng, int(rng.integers(2, 6)))
    tensors = other_tensors(rng, layers[0], float_store(rng))
    expected = {key: as_floats(tensor) for key, tensor in tensors.items()}
    for layer in layers:
        weight = weight_codes(rng, dtype, matrix_shape(rng))
        scale = store(scale_values(rng, scale_shape))
        tensors |= {layer + ".weight": weight, layer + ".scale_weight": scale}
        if inputs:
            tensors[layer + ".scale_input"] = scale_values(rng, (), 3)
        # float32 times float32, rounded once
        expected[layer + ".weight"] = as_floats(weight) * as_floats(scale)
        expected[layer + ".weight.bf16_path"] = bf16_path(as_floats(weight), as_floats(scale))
    tensors["scaled_fp8"] = marker_tensor(rng, dtype, marker)
    put(samples, name, tensors, expected)


def marker_tensor(rng, dtype, count):
    """scaled_fp8: its dtype is that of the weights, or F32 for E4M3; its values have no meaning."""
    if dtype == "F8_E4M3" and rng.integers(3) == 0:
        return np.zeros(count, np.float32)
    return Coded(dtype, rng.integers(0, 0x38, count).astype(np.uint8))


def new_scaled(samples):
    """One set of tensors with each of the two carriers of the layers' formats, and with a prefix."""
    rng = samples.rng("comfy_new_scaled")
    layers = linear_names(rng, int(rng.integers(3, 6)))
    tensors = other_tensors(rng, layers[0], float_store(rng))
    expected = {key: as_floats(tensor) for key, tensor in tensors.items()}
    marks = {}
    for layer in layers:
        dtype, format_name = [("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2")][rng.integers(2)]
        marks[layer] = {"format": format_name} | [{}, {"full_precision_matrix_mult": True}][rng.integers(2)]
        weight = weight_codes(rng, dtype, matrix_shape(rng))
        scale = scale_values(rng, [(), (1,)][rng.integers(2)])
        tensors |= {layer + ".weight": weight, layer + ".weight_scale": scale}
        if rng.integers(2):
            tensors[layer + ".input_scale"] = scale_values(rng, (), 3)
        expected[layer + ".weight"] = as_floats(weight) * scale
        expected[layer + ".weight.bf16_path"] = bf16_path(as_floats(weight), scale)
    marked = tensors | {layer + ".comfy_quant": quant_mark(mark) for layer, mark in marks.items()}
    put(samples, "comfy_new_scaled", marked, expected)
    samples.safetensors("fp8/comfy_new_scaled_prefixed.safetensors", {PREFIX + key: x for key, x in marked.items()})
    # a bare string in place of an object occurs, and so do names without the prefix of the tensors
    prefix = PREFIX if rng.integers(2) else ""
    named = prefix if rng.integers(2) else ""
    listed = {named + layer: mark["format"] if len(mark) == 1 and rng.integers(2) else mark for layer, mark in marks.items()}
    samples.safetensors("fp8/comfy_new_metadata_only.safetensors", {prefix + key: x for key, x in tensors.items()}, {
        "_quantization_metadata": json.dumps({"format_version": "1.0", "layers": listed})})


def quant_mark(mark):
    return np.frombuffer(json.dumps(mark).encode(), np.uint8)


def per_channel(samples, name, dtype):
    rng = samples.rng(name)
    layers = linear_names(rng, int(rng.integers(2, 5)))
    tensors = other_tensors(rng, layers[0], lambda x: x)
    expected = dict(tensors)
    for layer in layers:
        rows, columns = matrix_shape(rng)
        weight, scale = weight_codes(rng, dtype, (rows, columns)), bf16(scale_values(rng, (rows, 1)))
        tensors |= {layer + ".weight": weight, layer + ".weight_scale": scale}
        expected[layer + ".weight"] = as_floats(weight) * as_floats(scale)
        expected[layer + ".weight.bf16_path"] = bf16_path(as_floats(weight), as_floats(scale))
    put(samples, name, tensors, expected)


def musubi_blocks(samples):
    """Scales of equal parts of the rows, and those of one part, of rows and of squares of 128 by the same rule."""
    rng = samples.rng("musubi_block_scaled")
    tensors, expected = {}, {}
    for layer, form in zip(linear_names(rng, 6), ["block", "block", "flat block", "row", "whole", "square"]):
        rows, groups = int(rng.integers(2, 50)), int(rng.integers(2, 6))
        if form == "square":
            rows, groups = 128 * int(rng.integers(1, 3)), 2 * int(rng.integers(1, 3))
        weight = weight_codes(rng, "F8_E4M3", (rows, 64 * groups))
        shape = {"block": (rows, groups, 1), "flat block": (rows, groups), "row": (rows, 1), "whole": (1,),
                 "square": (rows // 128, groups // 2)}[form]
        scale = scale_values(rng, shape)
        tensors |= {layer + ".weight": weight, layer + ".scale_weight": scale}
        each = scale.reshape(len(scale), -1).repeat(128 if form == "square" else 1, axis=0)
        expected[layer + ".weight"] = as_floats(weight) * each.repeat(64 * groups // each.shape[1], axis=1)
    if rng.integers(2):
        tensors["scaled_fp8"] = marker_tensor(rng, "F8_E4M3", 1)
    put(samples, "musubi_block_scaled", tensors, expected)


def int8_tensorwise(samples):
    """Scalar and per-row scales, and ConvRot groups: the codes are of W H, so that W is what they mean times H."""
    rng = samples.rng("comfy_int8")
    names = ["blocks.3.self_attn.q", "blocks.3.self_attn.k", "blocks.3.ffn.0", "blocks.12.ffn.2", "blocks.12.self_attn.v"]
    tensors, expected = {}, {}
    for layer, group in zip(names, [0, 0, 64, 256, int(rng.choice([4, 16]))]):
        rows, columns = int(rng.integers(1, 60)), int(rng.integers(1, 5)) * (group or 33)
        weight = weight_codes(rng, "I8", (rows, columns))
        scale = scale_values(rng, [(), (rows, 1)][0 if layer == names[0] else 1])
        mark = {"format": "int8_tensorwise"} | [{}, {"convrot": False}][rng.integers(2)]
        means = weight * scale.astype(np.float64)
        if group:
            mark |= {"convrot": True} | ({"convrot_groupsize": group} if group != 256 or rng.integers(2) else {})
            means = (means.reshape(rows, -1, group) @ codes.regular_hadamard(group)).reshape(rows, columns)
        tensors |= {layer + ".weight": weight, layer + ".weight_scale": scale, layer + ".comfy_quant": quant_mark(mark)}
        expected[layer + ".weight"] = means.astype(np.float32)
    put(samples, "comfy_int8", tensors, expected)


def mxfp8(samples):
    """Rows that are no multiple of 128 and columns of blocks that are none of 4, so that scales are padded (with NaN)."""
    rng = samples.rng("comfy_mxfp8")
    tensors, expected = {}, {}
    for layer, dtype in {"blocks.0.self_attn.q": "U8", "blocks.10.ffn.0": "F8_E8M0"}.items():
        rows, blocks = int(rng.integers(1, 300)), int(rng.integers(1, 10))
        weight = weight_codes(rng, "F8_E4M3", (rows, 32 * blocks))
        exponent = rng.integers(100, 140, (rows, blocks)).astype(np.uint8)
        exponent[rng.integers(rows), rng.integers(blocks)] = 0  # 2^-127
        stored = codes.tiled(exponent, 0xFF)
        tensors |= {layer + ".weight": weight, layer + ".comfy_quant": quant_mark({"format": "mxfp8"}),
                    layer + ".weight_scale": stored if dtype == "U8" else Coded(dtype, stored)}
        values = codes.E4M3[weight.data].reshape(rows, blocks, 32) * codes.e8m0(exponent)[:, :, None]
        expected[layer + ".weight"] = values.reshape(rows, -1).astype(np.float32)
    put(samples, "comfy_mxfp8", tensors, expected)


def nvfp4_weight(rng, first_is_high):
    """(packed codes, stored scales, the values without the tensor's own scale in float64)."""
    rows, blocks = int(rng.integers(1, 300)), int(rng.integers(1, 14))
    code = rng.integers(0, 16, (rows, 16 * blocks)).astype(np.uint8)
    first, second = code[:, ::2], code[:, 1::2]
    packed = first << 4 | second if first_is_high else second << 4 | first
    scale = codes.finite_codes(rng, "F8_E4M3", (rows, blocks), positive=True)
    values = codes.E2M1[code].reshape(rows, blocks, 16) * codes.E4M3[scale][:, :, None]
    return packed, codes.tiled(scale, 0x7F), values.reshape(rows, -1)


def comfy_nvfp4(samples):
    rng = samples.rng("comfy_nvfp4")
    tensors, expected = {}, {}
    for number, layer in enumerate(["blocks.0.self_attn.q", "blocks.5.ffn.2", "blocks.21.cross_attn.o"]):
        packed, scales, values = nvfp4_weight(rng, first_is_high=True)
        whole = scale_values(rng, (), 1e-3)
        tensors |= {layer + ".weight": packed, layer + ".weight_scale_2": whole,
                    layer + ".weight_scale": scales if number == 1 else Coded("F8_E4M3", scales),
                    layer + ".input_scale": scale_values(rng, ()), layer + ".comfy_quant": quant_mark({"format": "nvfp4"})}
        expected[layer + ".weight"] = (values * float(whole)).astype(np.float32)
    put(samples, "comfy_nvfp4", tensors, expected)


def lightx2v_nvfp4(samples, siblings):
    name = "lightx2v_nvfp4_" + siblings
    rng = samples.rng(name)
    tensors, expected = {}, {}
    for layer in ["blocks.0.self_attn.q", "blocks.17.ffn.0"]:
        packed, scales, values = nvfp4_weight(rng, first_is_high=False)
        tensors |= {layer + ".weight": packed, layer + ".weight_scale": Coded("F8_E4M3", scales)}
        if siblings == "alpha":
            alpha, whole = scale_values(rng, (), 1e-5), scale_values(rng, (), 500)
            tensors |= {layer + ".alpha": alpha, layer + ".input_global_scale": whole}
            factor = float(alpha) * float(whole)
        else:
            whole = scale_values(rng, (), 5000)
            tensors |= {layer + ".input_absmax": scale_values(rng, (), 9), layer + ".weight_global_scale": whole}
            factor = 1 / float(whole)
        expected[layer + ".weight"] = (values * factor).astype(np.float32)
    put(samples, name, tensors, expected)
