"""Golden files: what a case's JSON says about each tensor, and how a case is written."""
import json
import os

import torch
from safetensors.torch import save_file

import ops
import pipelines

RUNS = ('f32', 'f64', 'bf16')


def models(folder):
    """The checkpoint three times: as stored values come from, for the error columns, and rounding as the official GPU pipeline does."""
    return {run: pipelines.Models(folder, torch.float64 if run == 'f64' else torch.float32, run == 'bf16') for run in RUNS}


def three(function):
    """function(run) -> {name: tensor}, for each run."""
    return {run: function(run) for run in RUNS}


def info(meaning, a, f64=None, bf16=None):
    """Shape, meaning and tolerances of one stored tensor. An input has no f64 partner: it has no error of its own."""
    d = {'shape': list(a.shape), 'dtype': str(a.dtype)[6:], 'meaning': meaning}
    if not a.is_floating_point():
        if f64 is not None:
            differing = int((a.long() != f64.long()).sum())
            d.update(equal_in_f64_run=not differing, **({'differing_in_f64_run': differing} if differing else {}))
        return d
    rms = a.double().square().mean().sqrt().item()
    err = 0.0 if f64 is None else (a.double() - f64.double()).abs().max().item()
    d.update(rms=rms, max_abs=a.abs().max().item(), f32_vs_f64_max_abs=err, atol_fp32=float(f'{max(8 * err, 4e-6 * rms):.2e}'))
    if bf16 is not None and f64 is not None:
        d.update(bf16_emulation_vs_f64_max_abs=(bf16.double() - f64.double()).abs().max().item(),
                 bf16_emulation_vs_f64_rel_rms=ops.rel_rms(bf16, f64))
    return d


class Folder:
    """OUT/cases, and a line on the screen for each case written there."""

    def __init__(self, out, made_by):
        self.path, self.made_by = os.path.join(out, 'cases'), made_by
        os.makedirs(self.path, exist_ok=True)

    def file(self, name):
        return os.path.join(self.path, name)

    def save(self, case, given=None, got=None, meaning=None):
        """case: JSON without `tensors`. given: inputs {name: tensor}. got: {run: {name: tensor}}, f32 stored.
        meaning: name -> text."""
        got = got or {}
        stored = {**(given or {}), **got.get('f32', {})}
        case = {**case, 'made_by': self.made_by}
        if stored:
            stored = {k: v.contiguous().clone() for k, v in stored.items()}
            partner = lambda run, k: got.get(run, {}).get(k)
            case['tensors'] = {k: info(meaning(k), v, partner('f64', k), partner('bf16', k)) for k, v in stored.items()}
            save_file(stored, self.file(case['case'] + '.safetensors'))
        with open(self.file(case['case'] + '.json'), 'w', encoding='utf-8') as f:
            json.dump(case, f, indent=1, ensure_ascii=False)
        print(case['case'], f'{len(stored)} tensors' if stored else 'JSON only', flush=True)
