"""Wan 2.2 S2V DiT from the state dict alone. Shapes: latents [16,F,h,w]."""
import numpy as np
import torch
import torch.nn.functional as F

from ops import rnd

HEAD_DIM = 128
AXIS_PAIRS = (22, 21, 21)
TEXT_LEN = 512
MOTION_PIXELS, MOTION_LATENTS = 73, 19
REF_T = 30
EPS = 1e-6


def ln(x, w=None, b=None, eps=EPS):
    return F.layer_norm(x, x.shape[-1:], w, b, eps)


def rms(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * w


def rope_factors(pos):
    """[S,3] integer (t,y,x), t may be negative -> complex128 [S,64]"""
    cols = []
    for axis, pairs in enumerate(AXIS_PAIRS):
        freq = 10000.0 ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
        cols.append(pos[:, axis:axis + 1].double() * freq)
    ang = torch.cat(cols, dim=1)
    return torch.polar(torch.ones_like(ang), ang)


def rotate(x, factors):
    """[S,heads,128]"""
    z = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous()) * factors[:, None]
    return torch.view_as_real(z).flatten(-2).to(x.dtype)


def grid(ts, ys, xs):
    g = torch.meshgrid(*(torch.as_tensor(a, dtype=torch.int32) for a in (ts, ys, xs)), indexing="ij")
    return torch.stack([a.reshape(-1) for a in g], dim=1)


def spread(fine, coarse):
    return torch.from_numpy(np.linspace(0, fine - 1, coarse).astype(np.int32))


def sinusoid(t, width):
    half = width // 2
    ang = float(t) * 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    return torch.cat([ang.cos(), ang.sin()])


class S2VDiT:
    def __init__(self, sd, config, dtype=torch.float32):
        self.sd, self.dtype = {k: v.to(dtype) for k, v in sd.items()}, dtype
        self.dim = self.sd["patch_embedding.weight"].shape[0]
        self.heads = self.dim // HEAD_DIM
        self.layers = 1 + max(int(k.split(".")[1]) for k in sd if k.startswith("blocks."))
        self.inject_at = {b: i for i, b in enumerate(config["audio_inject_layers"])}
        self.audio_tokens = config["num_audio_token"]

    # ---- small parts
    def lin(self, x, p):
        return rnd(F.linear(rnd(x), rnd(self.sd[p + ".weight"]), rnd(self.sd[p + ".bias"])))

    def lin_exact(self, x, p):
        """Time, audio encoder and head stay in float32 in the official run."""
        return F.linear(x, self.sd[p + ".weight"], self.sd[p + ".bias"])

    def patch(self, x, p):
        """[16,F,h,w] -> [tokens,dim], stride = kernel"""
        w = self.sd[p + ".weight"]
        return rnd(F.conv3d(rnd(x)[None], rnd(w), rnd(self.sd[p + ".bias"]), stride=w.shape[2:]))[0].flatten(1).T

    def qkv(self, xq, xkv, p):
        q = rms(self.lin(xq, p + ".q"), self.sd[p + ".norm_q.weight"])
        k = rms(self.lin(xkv, p + ".k"), self.sd[p + ".norm_k.weight"])
        v = self.lin(xkv, p + ".v")
        return (a.unflatten(-1, (self.heads, -1)) for a in (q, k, v))

    def attend(self, q, k, v, p):
        """[...,S,heads,128]"""
        y = rnd(F.scaled_dot_product_attention(*(rnd(a.transpose(-2, -3)) for a in (q, k, v))))
        return self.lin(y.transpose(-2, -3).flatten(-2), p + ".o")

    # ---- audio
    def audio_mix(self, audio):
        """[25,C,N] of one clip -> [C,73+N]"""
        a = torch.cat([audio[..., :1].expand(-1, -1, MOTION_PIXELS), audio], dim=-1)
        w = F.silu(self.sd["casual_audio_encoder.weights"].view(-1))
        return torch.einsum("l,lct->ct", w, a) / w.sum()

    def audio_conv(self, x, name, stride=1):
        """[B,C,T], causal with replicated left edge, then LN and SiLU over channels"""
        p = f"casual_audio_encoder.encoder.{name}.conv"
        y = F.conv1d(F.pad(x, (2, 0), mode="replicate"), self.sd[p + ".weight"], self.sd[p + ".bias"], stride=stride)
        return y

    def audio_encode(self, audio):
        """[25,C,N] -> global [19+F,1,dim], local [19+F,5,dim]"""
        mix = self.audio_mix(audio)[None]

        def act(y):
            return F.silu(ln(y.transpose(1, 2))).transpose(1, 2)

        def tail(y):
            y = act(self.audio_conv(act(y), "conv2", 2))
            return act(self.audio_conv(y, "conv3", 2)).transpose(1, 2)          # [B,T,dim]

        local = tail(self.audio_conv(mix, "conv1_local").unflatten(1, (self.audio_tokens, -1))[0]).transpose(0, 1)
        glob = self.lin_exact(tail(self.audio_conv(mix, "conv1_global")), "casual_audio_encoder.encoder.final_linear")
        pad = self.sd["casual_audio_encoder.encoder.padding_tokens"].view(1, 1, -1).expand(local.shape[0], 1, -1)
        return glob.transpose(0, 1), torch.cat([local, pad], dim=1)

    # ---- motion
    def motion_tokens(self, motion, add_last_motion=2):
        """[16,<=19,h,w] oldest first -> tokens, positions"""
        m = F.pad(motion, (0, 0, 0, 0, MOTION_LATENTS - motion.shape[1], 0))
        if add_last_motion < 2:
            m = m.clone()
            m[:, -(3 if add_last_motion == 0 else 1):] = 0
        h, w = m.shape[2] // 2, m.shape[3] // 2
        toks = [self.patch(m[:, 18:], "frame_packer.proj"), self.patch(m[:, 16:18], "frame_packer.proj_2x"),
                self.patch(m[:, :16], "frame_packer.proj_4x")]
        pos = [grid([-1], range(h), range(w)), grid([-3], spread(h, h // 2), spread(w, w // 2)),
               grid([-19, -14, -9, -4], spread(h, h // 4), spread(w, w // 4))]
        return torch.cat(toks), torch.cat(pos)

    # ---- text and time
    def text(self, context):
        c = F.pad(context, (0, 0, 0, TEXT_LEN - context.shape[0]))
        return self.lin(F.gelu(self.lin(c, "text_embedding.0"), approximate="tanh"), "text_embedding.2")

    def time(self, t):
        s = sinusoid(t, self.sd["time_embedding.0.weight"].shape[1]).to(self.dtype)
        e = self.lin_exact(F.silu(self.lin_exact(s, "time_embedding.0")), "time_embedding.2")
        return e, self.lin_exact(F.silu(e), "time_projection.1").view(6, -1)

    # ---- blocks
    def block(self, x, i, mod, is_noisy, ctx, factors):
        p = f"blocks.{i}"
        m = self.sd[p + ".modulation"][0][:, None] + mod                        # [6,2,dim]
        m = torch.where(is_noisy[None, :, None], m[:, :1], m[:, 1:])            # [6,S,dim]
        y = ln(x) * (1 + m[1]) + m[0]
        q, k, v = self.qkv(y, y, p + ".self_attn")
        x = x + m[2] * self.attend(rotate(q, factors), rotate(k, factors), v, p + ".self_attn")
        y = ln(x, self.sd[p + ".norm3.weight"], self.sd[p + ".norm3.bias"])
        x = x + self.attend(*self.qkv(y, ctx, p + ".cross_attn"), p + ".cross_attn")
        y = ln(x) * (1 + m[4]) + m[3]
        return x + m[5] * self.lin(F.gelu(self.lin(y, p + ".ffn.0"), approximate="tanh"), p + ".ffn.2")

    def inject(self, noisy, i, local, glob):
        """noisy [F,n,dim] -> adain output, residual"""
        shift, scale = self.lin(F.silu(glob), f"audio_injector.injector_adain_layers.{i}.linear").chunk(2, dim=-1)
        a = ln(noisy, eps=1e-5) * (1 + scale) + shift
        p = f"audio_injector.injector.{i}"
        return a, self.attend(*self.qkv(a, local, p), p)

    def __call__(self, noise, t, context, ref, motion, pose, audio, drop_motion, mid=None):
        """noise/pose [16,F,h,w], ref [16,1,h,w], motion [16,19,h,w], audio [25,C,4F], context [L,text_dim]"""
        frames, h, w = noise.shape[1], noise.shape[2] // 2, noise.shape[3] // 2
        n = h * w
        mask = self.sd["trainable_cond_mask.weight"]
        toks = [self.patch(noise, "patch_embedding") + self.patch(pose, "cond_encoder") + mask[0],
                self.patch(ref, "patch_embedding") + mask[1]]
        pos = [grid(range(frames), range(h), range(w)), grid([REF_T], range(h), range(w))]
        if not drop_motion:
            mt, mp = self.motion_tokens(motion)
            toks.append(mt + mask[2])
            pos.append(mp)
        x, pos = torch.cat(toks), torch.cat(pos)
        factors = rope_factors(pos)
        is_noisy = torch.arange(x.shape[0]) < frames * n
        e, e0 = self.time(t)
        mod = torch.stack([e0, self.time(0)[1]], dim=1)
        ctx = self.text(context)
        glob, local = self.audio_encode(audio)
        glob, local = glob[MOTION_LATENTS:], local[MOTION_LATENTS:]
        if mid is not None:
            mid.update(tokens_in=x, rope_pos=pos, rope_cos_sin=torch.view_as_real(factors).to(self.dtype), time_mod=mod,
                       head_time=e, audio_tokens=local, audio_global=glob, text_ctx_head=ctx[:16])
        for i in range(self.layers):
            x = self.block(x, i, mod, is_noisy, ctx, factors)
            if mid is not None:
                mid[f"block{i}"] = x
            if i in self.inject_at:
                a, r = self.inject(x[:frames * n].view(frames, n, -1), self.inject_at[i], local, glob)
                x = torch.cat([x[:frames * n] + r.reshape(frames * n, -1), x[frames * n:]])
                if mid is not None:
                    mid[f"adain{i}"], mid[f"inject{i}"], mid[f"after{i}"] = a, r, x
        if mid is not None:
            mid["last"] = x
        shift, scale = self.sd["head.modulation"][0] + e
        y = self.lin_exact(ln(x[:frames * n]) * (1 + scale) + shift, "head.head")
        c = y.shape[-1] // 4
        return y.view(frames, h, w, 2, 2, c).permute(5, 0, 1, 3, 2, 4).reshape(c, frames, 2 * h, 2 * w)
