"""S2V pipeline around the DiT: output size, reference image, pose video, clip chain."""
import contextlib
import json
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

import ops
import s2v_dit
import solvers
import umt5
import vae
import wav2vec2
from prompts import Prompts

MOTION_FRAMES = s2v_dit.MOTION_PIXELS


class Checkpoint:
    """All networks of the folder in one dtype; bf16: rounding as the official GPU pipeline does (VAE and wav2vec2 stay in float32)."""

    def __init__(self, path, dtype=torch.float32, bf16=False):
        self.dtype, self.bf16 = dtype, bf16
        config = json.load(open(f"{path}/config.json"))
        sd = {}
        for f in sorted(set(json.load(open(f"{path}/diffusion_pytorch_model.safetensors.index.json"))["weight_map"].values())):
            sd.update(load_file(f"{path}/{f}"))
        self.dit_model = s2v_dit.S2VDiT(sd, config, dtype)
        w = f"{path}/wav2vec2-large-xlsr-53-english"
        self.wav2vec = wav2vec2.Wav2Vec2({k: v.to(dtype) for k, v in load_file(f"{w}/model.safetensors").items()},
                                         json.load(open(f"{w}/config.json"))["num_attention_heads"])
        self.vae = {k: v.to(dtype) for k, v in torch.load(f"{path}/Wan2.1_VAE.pth").items()}
        t5_dtype = torch.bfloat16 if bf16 else dtype
        self.t5 = {k: v.to(t5_dtype) for k, v in torch.load(f"{path}/models_t5_umt5-xxl-enc-bf16.pth").items()}
        self.prompts = Prompts(path)

    def rounding(self):
        return ops.bf16_rounding() if self.bf16 else contextlib.nullcontext()

    def dit(self, *args, **kw):
        with self.rounding():
            return self.dit_model(*args, **kw)

    def text(self, ids):
        return umt5.encode(self.t5, ids).to(self.dtype)


def video_size(h, w, area, step=64):
    """(height, width) from the reference image's size and a maximal area; (0, *) or (*, 0): no size fits"""
    def up(v):
        return -(-v // step) * step
    if h * w <= area:
        lo, hi = 0.1, 1.0
    else:
        d = step - 1
        a, b, c = h * w, d * (h + w), d * d - area
        lo = (-b + math.sqrt(b * b - 2 * a * c)) / (2 * a)          # 2ac, not 4ac: the table needs it
        hi = math.sqrt(area / a)
    for i in range(100):
        s = hi - (hi - lo) * i / 100
        H, W = up(int(h * s)), up(int(w * s))
        if H * W <= area:
            return H, W
    return int(math.sqrt(area * h / w) // step) * step, int(math.sqrt(area * w / h) // step) * step


def shorter_side(h, w, short):
    """New (h, w); the longer side is truncated"""
    return (short, int(short * w / h)) if h <= w else (int(short * h / w), short)


def pil_axis(x, out):
    """Pillow's 8-bit triangle filter along axis 0 of [n,...] uint8, fixed point with 22 fractional bits"""
    n = x.shape[0]
    if n == out:
        return x
    scale = n / out
    fs = max(scale, 1.0)
    res = np.empty((out,) + x.shape[1:], np.uint8)
    for i in range(out):
        c = (i + 0.5) * scale
        lo, hi = max(0, int(c - fs + 0.5)), min(n, int(c + fs + 0.5))
        w = np.maximum(0.0, 1.0 - np.abs((np.arange(lo, hi) - c + 0.5) / fs))
        k = np.floor(w / w.sum() * (1 << 22) + 0.5).astype(np.int64)
        acc = np.tensordot(k, x[lo:hi].astype(np.int64), axes=1)
        res[i] = np.clip((acc + (1 << 21)) >> 22, 0, 255)
    return res


def centre_crop(x, H, W, fill):
    """[...,h,w]; pads with fill where smaller"""
    h, w = x.shape[-2:]
    ph, pw = max(0, H - h), max(0, W - w)
    x = F.pad(x, (pw // 2, pw - pw // 2, ph // 2, ph - ph // 2), value=fill)
    top, left = round((x.shape[-2] - H) / 2), round((x.shape[-1] - W) / 2)
    return x[..., top:top + H, left:left + W]


def reference_pixels(image, H, W):
    """RGB uint8 [h,w,3] -> uint8 [H,W,3]"""
    h, w = shorter_side(*image.shape[:2], min(H, W))
    x = pil_axis(image.swapaxes(0, 1), w).swapaxes(0, 1)             # columns first, rounded to 8 bit, then rows
    x = torch.from_numpy(pil_axis(x, h).copy())
    return centre_crop(x.permute(2, 0, 1), H, W, 0).permute(1, 2, 0)


def pose_pixels(frames, source_fps, fps, count, H, W):
    """uint8 [n,h,w,3] -> [3,count,H,W] in [-1,1]"""
    x = frames[::max(1, round(source_fps / fps))][:count].permute(0, 3, 1, 2).float()
    x = F.interpolate(x, size=shorter_side(*x.shape[2:], min(H, W)), mode="bilinear", antialias=True, align_corners=False)
    x = centre_crop(x / 255 * 2 - 1, H, W, 0.0)                      # pads with 0, mid grey (the reference image: black)
    return F.pad(x.transpose(0, 1), (0, 0, 0, 0, 0, count - x.shape[0]), value=-1.0)


def sound(ck, path):
    """-> features at 30 fps [25,T,C]"""
    wave = wav2vec2.load_wav_16k(path).to(ck.dtype)
    return wav2vec2.to_30fps(ck.wav2vec(wav2vec2.normalise(wave)[None])["hidden_states"])


def run(ck, m, folder, given):
    """One case from its JSON, its files in `folder` and its inputs (clip<c>.noise, pose_frames_u8); everything it produces by the
    case's names, the number of clips under `num_clips`."""
    out = {}
    H, W = video_size(*m["image_hw"], m["max_area"])
    N, frames = m["infer_frames"], m["infer_frames"] // 4
    image = np.asarray(Image.open(f"{folder}/{m['image']}").convert("RGB"))
    assert list(image.shape[:2]) == m["image_hw"]
    out["ref_pixels_u8"] = reference_pixels(image, H, W)
    ref_px = (out["ref_pixels_u8"].permute(2, 0, 1).to(ck.dtype) / 255 * 2 - 1)[:, None]
    ref = out["ref_latents"] = vae.encode(ck.vae, ref_px)
    ctx = out["context"] = ck.text(ck.prompts.ids(m["prompt"]))
    null = out["context_null"] = ck.text(ck.prompts.ids(m["negative_prompt"]))

    feat = sound(ck, f"{folder}/{m['audio']}")
    clips, index = wav2vec2.bucket(feat.shape[1], m["fps"], N)
    clips = out["num_clips"] = clips if m["num_clip_arg"] is None else min(clips, m["num_clip_arg"])
    audio = out["audio_embed"] = wav2vec2.embed(feat, index)[..., :clips * N]
    pose = None
    if m["pose_source_fps"] is not None:
        pose = pose_pixels(given["pose_frames_u8"], m["pose_source_fps"], m["fps"], N * clips, H, W).to(ck.dtype)
    out["sigmas"], timesteps = solvers.schedule(m["solver"], m["steps"], m["shift"])
    out["timesteps"] = timesteps.int()

    buffer = torch.zeros(3, MOTION_FRAMES, H, W, dtype=ck.dtype)
    if m["init_first_frame"]:
        buffer[:, -6:] = ref_px
    motion, video = vae.encode(ck.vae, buffer), []
    for c in range(clips):
        out[f"clip{c}.motion_latents"] = motion
        cond = torch.zeros(16, frames, H // 8, W // 8, dtype=ck.dtype)
        if pose is not None:
            part = pose[:, c * N:(c + 1) * N]
            cond = out[f"clip{c}.cond_latents"] = vae.encode(ck.vae, torch.cat([part[:, :1], part], 1))[:, 1:]
        with_motion = c > 0 or m["init_first_frame"]
        a = audio[0, ..., c * N:(c + 1) * N]
        x, trail = given[f"clip{c}.noise"].to(ck.dtype), []
        solver = solvers.Solver(m["solver"], out["sigmas"], ck.dtype)
        for i, t in enumerate(timesteps.tolist()):
            pc = out[f"clip{c}.pred_cond.step{i}"] = ck.dit(x, t, ctx, ref, motion, cond, a, not with_motion)
            pu = out[f"clip{c}.pred_uncond.step{i}"] = ck.dit(x, t, null, ref, motion, cond, a * 0, not with_motion)
            x = solver.step(i, pu + m["guide_scale"] * (pc - pu), x)
            trail.append(x)
        out[f"clip{c}.latents"] = torch.stack(trail)
        shown = vae.decode(ck.vae, torch.cat([motion if with_motion else ref, x], 1))[:, -N:]
        if not with_motion:
            shown = shown[:, 3:]
        out[f"clip{c}.frames"], out[f"clip{c}.frames_last"] = shown, shown[:, -1:]
        video.append(shown)
        k = min(MOTION_FRAMES, shown.shape[1])
        buffer = torch.cat([buffer[:, k:], shown[:, -k:]], 1)
        motion = vae.encode(ck.vae, buffer)
    out[f"clip{clips}.motion_latents"] = motion
    out["video_u8"] = ((torch.cat(video, 1).clamp(-1, 1) + 1) / 2 * 255).to(torch.uint8).permute(1, 2, 3, 0)
    return out
