"""The folder lora: one set of differences in every dialect, and the other kinds of them."""

import json

import numpy as np

from . import codes
from .common import bf16, normal


def product(up, down, factor=1.0):
    """factor * up down, rounded once to float32."""
    return (np.asarray(up, np.float64) @ np.asarray(down, np.float64) * factor).astype(np.float32)


class Makers:
    """The modules, their sizes and the numbers that the files of a set share."""

    def __init__(self, samples):
        self.samples = samples
        rng = self.rng = samples.rng("lora")
        self.block = int(rng.integers(0, 40))
        self.q = f"blocks.{self.block}.self_attn.q"
        self.k = f"blocks.{self.block}.cross_attn.k"
        self.q_shape = tuple(int(size) for size in rng.integers(20, 200, 2))
        self.k_parts = tuple(int(size) for size in rng.integers(2, 9, 4))  # of Kronecker factors: [a, b] (x) [c, d]
        self.k_shape = (self.k_parts[0] * self.k_parts[2], self.k_parts[1] * self.k_parts[3])
        self.rank = int(rng.choice([1, 4, 9, 16]))  # squares, for rank-stabilised scales
        self.alpha = float(rng.choice([0.5, 1.0, 8.0, 24.0]))
        self.down, self.up = normal(rng, (self.rank, self.q_shape[1])), normal(rng, (self.q_shape[0], self.rank))
        width = int(rng.integers(2, 90))
        self.base = {self.q + ".weight": normal(rng, self.q_shape), self.q + ".bias": normal(rng, self.q_shape[0]),
                     self.k + ".weight": normal(rng, self.k_shape), self.k + ".bias": normal(rng, self.k_shape[0]),
                     f"blocks.{self.block}.modulation": normal(rng, (1, 6, width))}
        self.expected = {"delta_noalpha": product(self.up, self.down),
                         "delta_alpha": product(self.up, self.down, self.alpha / self.rank)}

    def put(self, name, tensors, metadata=None, **changes):
        self.samples.safetensors(f"lora/{name}.safetensors", tensors, metadata, **changes)

    def alpha_tensor(self, value=None):
        """A scalar of any float type, with or without an axis."""
        value = np.full([(), (1,)][self.rng.integers(2)], self.alpha if value is None else value, np.float32)
        return [lambda x: x, lambda x: x.astype(np.float16), lambda x: x.astype(np.float64), bf16][self.rng.integers(4)](value)

    def flat(self, prefix, module):
        return prefix + module.replace(".", "_")

    def some_rank(self, most):
        return int(self.rng.integers(1, most + 1))


def write(samples):
    makers = Makers(samples)
    makers.put("base", makers.base)
    low_rank(makers)
    dora(makers)
    hadamard(makers)
    kronecker(makers)
    full(makers)
    samples.safetensors("lora/expected_delta.safetensors", makers.expected)


def pair(module, suffixes, makers):
    return {module + suffixes[0]: makers.down, module + suffixes[1]: makers.up}


WEIGHTS_AB = (".lora_A.weight", ".lora_B.weight")
WEIGHTS = (".lora_down.weight", ".lora_up.weight")


def low_rank(makers):
    rng, q = makers.rng, makers.q
    diffusers = f"blocks.{makers.block}.attn1.to_q"
    forms = [WEIGHTS_AB, (".lora_A", ".lora_B"), (".lora.down.weight", ".lora.up.weight"),
             ("_lora.down.weight", "_lora.up.weight"), (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight")]
    prefix = str(rng.choice(["diffusion_model.", "model.diffusion_model.", "pipe.dit.", "dit.", "unet.", "model."]))
    # Wan 2.1 has modules for image tokens, which have no target in Wan 2.2 and are skipped.
    images = pair(f"{prefix}blocks.{makers.block}.cross_attn.k_img", WEIGHTS_AB, makers) if rng.integers(2) else {}
    makers.put("comfy_ab_noalpha", pair(prefix + q, WEIGHTS_AB, makers) | images)
    makers.put("diffusers_ab_noalpha", pair("transformer." + diffusers, forms[rng.integers(len(forms))], makers))
    makers.put("peft_base_model_default", pair("base_model.model." + q, (".lora_A.default.weight",
                                                                         ".lora_B.default.weight"), makers))
    makers.put("official_down_up_alpha", pair("diffusion_model." + q, WEIGHTS, makers) |
               {f"diffusion_model.{q}.alpha": makers.alpha_tensor()})
    for name, start, module in [("kohya_flat", "lora_unet_", q), ("wanfun_double_underscore", "lora_unet__", q)]:
        flat = makers.flat(start, [module, diffusers][rng.integers(2)])
        training = {"ss_network_alpha": "77", "ss_network_dim": "3"} if rng.integers(2) else None  # information only
        makers.put(name, pair(flat, WEIGHTS, makers) | {flat + ".alpha": makers.alpha_tensor()}, training)
    adapter_metadata(makers, diffusers)
    makers.put("bare_bf16", {q + WEIGHTS_AB[0]: bf16(makers.down), q + WEIGHTS_AB[1]: bf16(makers.up)})
    makers.expected["delta_bf16"] = product(codes.round_bf16(makers.up), codes.round_bf16(makers.down))


def adapter_metadata(makers, module):
    """Alpha in the metadata only: for the whole file, by the root of the rank, or for the module."""
    stabilised = bool(makers.rng.integers(2))
    alpha = makers.alpha / np.sqrt(makers.rank) if stabilised else makers.alpha
    described = {"transformer.r": makers.rank, "transformer.lora_alpha": alpha, "transformer.peft_type": "LORA",
                 "transformer.use_rslora": stabilised}
    if makers.rng.integers(2):
        described |= {"transformer.lora_alpha": alpha * 3, "transformer.alpha_pattern": {module: alpha},
                      "transformer.r": makers.rank + 1, "transformer.rank_pattern": {module: makers.rank}}
    makers.put("diffusers_ab_adapter_metadata", pair("transformer." + module, WEIGHTS_AB, makers),
               {"format": "pt", "lora_adapter_metadata": json.dumps(described)})


def dora(makers):
    """m V / |V| for each row, with V = W + D; ComfyUI divides by |W|."""
    rng, module = makers.rng, "diffusion_model." + makers.k
    rows, columns = makers.k_shape
    rank = makers.some_rank(6)
    down, up = normal(rng, (rank, columns), 0.3), normal(rng, (rows, rank), 0.3)
    magnitude = rng.uniform(0.5, 2, (rows, 1)).astype(np.float32)
    makers.put("dora", {module + WEIGHTS_AB[0]: down, module + WEIGHTS_AB[1]: up, module + ".dora_scale": magnitude,
                        module + ".alpha": makers.alpha_tensor()})
    weight = makers.base[makers.k + ".weight"].astype(np.float64)
    merged = weight + up.astype(np.float64) @ down * (makers.alpha / rank)
    for name, divisor in [("merged_dora", merged), ("merged_dora_comfy", weight)]:
        makers.expected[name] = (magnitude * merged / np.linalg.norm(divisor, axis=1, keepdims=True)).astype(np.float32)


def hadamard(makers):
    rng, (rows, columns) = makers.rng, makers.k_shape
    rank, flat = makers.some_rank(6), makers.flat("lora_unet_", makers.k)
    parts = {"hada_w1_a": (rows, rank), "hada_w1_b": (rank, columns), "hada_w2_a": (rows, rank), "hada_w2_b": (rank, columns)}
    factors = {name: normal(rng, shape) for name, shape in parts.items()}
    tensors = {f"{flat}.{name}": factor for name, factor in factors.items()}
    makers.put("loha", tensors | {flat + ".alpha": makers.alpha_tensor()},
               what=f"LoHa: (w1_a@w1_b)*(w2_a@w2_b) * alpha/{rank}")
    a1, b1, a2, b2 = (factors[name].astype(np.float64) for name in parts)
    makers.expected["delta_loha"] = ((a1 @ b1) * (a2 @ b2) * (makers.alpha / rank)).astype(np.float32)


def kronecker(makers):
    """At least one factor of two, then both whole, where alpha has no meaning."""
    rng = makers.rng
    rank, flat = makers.some_rank(4), makers.flat("lora_unet_", makers.k)
    a, b, c, d = makers.k_parts
    split = [("w1",), ("w2",), ("w1", "w2")][rng.integers(3)]
    tensors, factors = {flat + ".alpha": makers.alpha_tensor()}, []
    for name, shape in {"w1": (a, b), "w2": (c, d)}.items():
        parts = [normal(rng, shape)]
        if name in split:
            parts = [normal(rng, (shape[0], rank)), normal(rng, (rank, shape[1]))]
        suffixes = ["_a", "_b"] if name in split else [""]
        tensors |= {f"{flat}.lokr_{name}{suffix}": part for suffix, part in zip(suffixes, parts)}
        whole = parts[0].astype(np.float64)
        factors.append(whole @ parts[1] if name in split else whole)
    makers.put("lokr", tensors, what=f"LoKr: kron(w1, w2) * alpha/{rank}, {' and '.join(split)} of two factors")
    makers.expected["delta_lokr"] = (np.kron(*factors) * (makers.alpha / rank)).astype(np.float32)

    first, second = normal(rng, (a, b)), normal(rng, (c, d))
    flat = makers.flat("lycoris_", [makers.k, f"blocks.{makers.block}.attn2.to_k"][rng.integers(2)])
    makers.put("lokr_full", {flat + ".lokr_w1": first, flat + ".lokr_w2": second, flat + ".alpha": makers.alpha_tensor()})
    makers.expected["delta_lokr_full"] = np.kron(first.astype(np.float64), second).astype(np.float32)


def full(makers):
    rng, block = makers.rng, f"blocks.{makers.block}"
    modulation = makers.base[block + ".modulation"].shape
    expected = {"diff": normal(rng, makers.k_shape), "diff_b": normal(rng, makers.k_shape[0]),
                "diff_m": normal(rng, modulation)}
    prefix = "diffusion_model."
    makers.put("full_diff", {f"{prefix}{makers.k}.diff": expected["diff"], f"{prefix}{makers.k}.diff_b": expected["diff_b"],
                             f"{prefix}{block}.diff_m": expected["diff_m"]})
    makers.expected |= expected
