"""Run every wav2vec_* and s2v_* case of a reference folder: check_s2v.py DIR [case-name-prefix ...]"""
import glob
import json
import os
import sys
import time

import numpy as np
import torch
from safetensors.torch import load_file

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import s2v_dit
import s2v_pipeline
import wav2vec2

torch.set_num_threads(1)
torch.set_grad_enabled(False)


class Report:
    def __init__(self, root):
        self.root, self.summary = root, {}

    def open(self, name):
        self.name = name
        self.meta = json.load(open(f"{self.root}/cases/{name}.json", encoding="utf-8"))
        path = f"{self.root}/cases/{name}.safetensors"
        self.data = load_file(path) if os.path.exists(path) else {}
        self.unused = set(self.data)
        self.summary[name] = [0, 0, 0.0, ""]
        self.start = time.time()
        return self.meta, self.data

    def take(self, key):
        self.unused.discard(key)
        return self.data[key]

    def note(self, key, bad, ratio, text):
        s = self.summary[self.name]
        s[0] += 1
        s[1] += bad
        if ratio >= s[2]:
            s[2], s[3] = ratio, key
        print(f"  {'FAIL' if bad else 'ok  '} {key:34s} {text}")

    def compare(self, key, got):
        want, meta = self.take(key), self.meta["tensors"][key]
        if tuple(want.shape) != tuple(got.shape):
            return self.note(key, True, float("inf"), f"shape {tuple(got.shape)} instead of {tuple(want.shape)}")
        if want.is_floating_point():
            err = (want.double() - got.double()).abs().max().item()
            ratio = err / meta["atol_fp32"]
            return self.note(key, not ratio <= 1, ratio, f"err {err:.3e} / atol {meta['atol_fp32']:.3e} = {ratio:.3f}")
        diff = (want.long() - got.long()).abs()
        wrong, limit = int((diff > 0).sum()), 0
        if meta.get("equal_in_f64_run") is False:                  # truncated bytes: +-1 where float32 rounding decides
            limit = max(8, want.numel() // 2000)
        bad = wrong > limit or int(diff.max()) > (1 if limit else 0)
        self.note(key, bad, wrong / limit if limit else float(wrong > 0), f"{wrong} of {want.numel()} differ, max {int(diff.max())}")

    def flag(self, key, ok, text=""):
        self.note(key, not ok, 0.0 if ok else float("inf"), text)

    def close(self):
        if self.unused:
            self.note("(not checked)", False, 0.0, " ".join(sorted(self.unused)))
            self.summary[self.name][0] -= 1
        print(f"  [{time.time() - self.start:.1f} s]")


def wav2vec_case(r, model):
    meta, data = r.meta, r.data
    wave = wav2vec2.load_wav_16k(f"{r.root}/cases/{meta['wav']}")
    r.compare("waveform_16k", wave)
    if "input_values" not in data:
        return
    x = wav2vec2.normalise(wave)[None]
    r.compare("input_values", x)
    out = model(x)
    for k in ("conv_features", "feature_projection", "layer24_unnormalised"):
        r.compare(k, out[k])
    hs = out["hidden_states"]
    if "hidden_states" in data:
        r.compare("hidden_states", hs)
    else:
        r.compare("hidden_states_some", hs[meta["hidden_states_some_index"]])
    feat = wav2vec2.to_30fps(hs)
    r.compare("feat_30fps", feat)
    for key, b in meta["buckets"].items():
        fps, batch = (int(a[n:]) for a, n in zip(key.split("_"), (3, 1)))
        repeat, index = wav2vec2.bucket(feat.shape[1], fps, batch)
        r.flag(f"buckets.{key}", repeat == b["num_repeat"] and len(index) == b["frames"], f"num_repeat {repeat}")
        r.compare(f"bucket_index.{key}", index)
        if f"audio_embed.{key}" in data:
            r.compare(f"audio_embed.{key}", wav2vec2.embed(feat, index))


def bucket_case(r):
    flat = r.take(next(iter(r.data)))
    bad, rows = 0, [row for row in r.meta["rows"] if "error" not in row]     # above 30 fps the official code raises
    for row in rows:
        repeat, index = wav2vec2.bucket(row["n_30fps"], row["fps"], row["batch_frames"])
        want = flat[row["offset"]:row["offset"] + row["length"]]
        bad += repeat != row["num_repeat"] or not torch.equal(index.long(), want.long())
    r.flag("rows", bad == 0, f"{bad} of {len(rows)} rows differ")


def size_case(r):
    bad = [row for row in r.meta["rows"]
           if s2v_pipeline.video_size(row["h"], row["w"], row["max_area"]) != (row["out_h"], row["out_w"])]
    r.flag("rows", not bad, f"{len(bad)} of {len(r.meta['rows'])} rows differ {bad[:2]}")


def rope_index_case(r):
    bad = 0
    for row in r.meta["rows"]:
        n = row["patch_rows"]
        bad += s2v_dit.spread(n, n // 2).tolist() != row["index_2x"] or s2v_dit.spread(n, n // 4).tolist() != row["index_4x"]
    r.flag("rows", bad == 0, f"{bad} of {len(r.meta['rows'])} rows differ")


def audio_embed_case(r, dit):
    for c in ("c0", "c1"):
        x = r.take(f"{c}.in")[0]
        r.compare(f"{c}.layer_mix", dit.audio_mix(x))
        glob, local = dit.audio_encode(x)
        r.compare(f"{c}.global", glob)
        r.compare(f"{c}.local", local)
    shape = list(r.data["c0.in"][0].shape)
    glob, local = dit.audio_encode(torch.zeros(shape[0], shape[1], 4 * r.data["zero.global"].shape[0]))
    r.compare("zero.global", glob[s2v_dit.MOTION_LATENTS:])
    r.compare("zero.local", local[s2v_dit.MOTION_LATENTS:])


def framepack_case(r, dit):
    x = r.take("in")[0]
    tokens, pos = dit.motion_tokens(x)
    r.compare("tokens", tokens)
    r.compare("rope_pos", pos)
    r.compare("rope_cos_sin", torch.view_as_real(s2v_dit.rope_factors(pos)).float())
    for n in (k for k in (0, 1) if f"tokens_add_last_motion{k}" in r.data):
        r.compare(f"tokens_add_last_motion{n}", dit.motion_tokens(x, n)[0])
    r.compare("tokens_short", dit.motion_tokens(r.take("in_short")[0])[0])


def dit_case(r, dit):
    i = {k: r.take(f"in.{k}") for k in ("noise", "context", "ref_latents", "motion_latents", "pose_latents", "audio_input")}
    mids = r.meta["mid_runs"]
    for key in sorted(k for k in r.data if k.startswith("out.")):
        _, clip, pose, t, *audio0 = key.split(".")
        which = next((m for m, run in mids.items() if run["output"] == key), None)
        mid = {} if which else None
        out = dit(i["noise"], int(t[1:]), i["context"], i["ref_latents"][0], i["motion_latents"][0],
                  i["pose_latents"][0] * (pose == "pose"), i["audio_input"][0] * (not audio0), clip == "first", mid)
        r.compare(key, out)
        for name, value in (mid or {}).items():
            if f"mid.{which}.{name}" in r.data:
                r.compare(f"mid.{which}.{name}", value)


def run_case(r, ck):
    m, given = r.meta, {k: r.take(k) for k in r.data if k.endswith(".noise") or k == "pose_frames_u8"}
    out = s2v_pipeline.run(ck, m, f"{r.root}/cases", given)
    r.flag("size_hw", list(out["ref_pixels_u8"].shape[:2]) == m["size_hw"])
    r.flag("prompt_ids", ck.prompts.ids(m["prompt"]) == m["prompt_ids"])
    r.flag("negative_prompt_ids", ck.prompts.ids(m["negative_prompt"]) == m["negative_prompt_ids"])
    r.flag("num_clips", out["num_clips"] == m["num_clips"], str(out["num_clips"]))
    for key in sorted(set(out) & set(r.data)):
        r.compare(key, out[key])


def main(root, only):
    ckpt = s2v_pipeline.Checkpoint(f"{root}/checkpoints/Wan2.2-S2V-14B")
    r = Report(root)
    names = sorted(os.path.basename(p)[:-5] for p in glob.glob(f"{root}/cases/*.json"))
    for name in names:
        if not ("s2v" in name or name.startswith("wav2vec")) or (only and not name.startswith(tuple(only))):
            continue
        print(name)
        r.open(name)
        if name == "wav2vec_bucket_table":
            bucket_case(r)
        elif name.startswith("wav2vec"):
            wav2vec_case(r, ckpt.wav2vec)
        elif name == "s2v_size":
            size_case(r)
        elif name == "s2v_rope_index":
            rope_index_case(r)
        elif name == "s2v_audio_embed":
            audio_embed_case(r, ckpt.dit_model)
        elif name == "s2v_framepack":
            framepack_case(r, ckpt.dit_model)
        elif name == "s2v_dit":
            dit_case(r, ckpt.dit_model)
        elif name.startswith("e2e_s2v"):
            run_case(r, ckpt)
        else:
            print("  no check for this case")
        r.close()
    print("\nsummary: case, tensors, failed, worst error/limit")
    for name, (n, bad, worst, key) in r.summary.items():
        print(f"  {name:32s} {n:4d} {bad:3d}  {worst:.3f}  {key}")
    return any(s[1] for s in r.summary.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].rstrip("/"), sys.argv[2:]))
