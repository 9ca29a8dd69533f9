"""check.py DIR [CASE...] [--double] [--bf16] [-v]: run the reference cases in DIR against this implementation.

Per tensor: max abs error, its limit atol_fp32, and their quotient. Integers must be equal.
--double computes in float64 and compares with atol_fp32 all the same.
--bf16 rounds as the official GPU pipeline does and compares relative RMS errors with 3 x bf16_emulation_vs_f64_rel_rms.
"""
import argparse
import json
import os
import sys
import time

import torch
from safetensors.torch import load_file

import dit
import ops
import pipelines
import solvers
import umt5
import vae
from prompts import clean


class Report:
    def __init__(self, case, tensors, files, args):
        self.case, self.info, self.files, self.args = case, tensors, files, args
        self.seen, self.worst, self.fails, self.n = set(), (0.0, ''), [], 0

    def line(self, name, ok, text, ratio=0.0):
        self.n += 1
        self.seen.add(name)
        if not ok:
            self.fails.append(name)
        self.worst = max(self.worst, (ratio, name))
        if self.args.verbose or not ok:
            print(f'  {"ok  " if ok else "FAIL"} {self.case} {name}: {text}')

    def exact(self, name, got, want):
        self.line(name, got == want, '' if got == want else f'got {got}, want {want}', 0.0 if got == want else float('inf'))

    def tensor(self, name, got):
        want, info = self.files[name], self.info[name]
        if tuple(got.shape) != tuple(want.shape):
            return self.line(name, False, f'shape {tuple(got.shape)}, want {tuple(want.shape)}', float('inf'))
        if not want.is_floating_point():
            bad = (got != want).sum().item()
            return self.line(name, not bad, f'{bad} differ', float('inf') if bad else 0.0)
        if self.args.bf16 and 'bf16_emulation_vs_f64_rel_rms' in info:
            err = ops.rel_rms(got, want)
            lim = max(3 * info['bf16_emulation_vs_f64_rel_rms'], 1e-5)
        else:
            err = (got.double() - want.double()).abs().max().item()
            lim = info.get('atol_fp32', 0.0)
        ratio = err / lim if lim else (0.0 if err == 0 else float('inf'))
        self.line(name, ratio <= 1, f'{err:.2e} / {lim:.2e} = {ratio:.3f}', ratio)

    def recorder(self, prefix, cut=None):
        """A rec(name, x) that checks every recorded value the case has, also when the case's name adds '_suffix'."""
        def rec(name, x):
            for k in (prefix + name, *(k for k in self.info if k.startswith(prefix + name + '_res')
                                       or k == prefix + name + '_attn')):
                if k in self.info and k not in self.seen:
                    self.tensor(k, x if cut is None else cut(k, x))
        return rec


def inputs(r, *names):
    """Mark tensors that are given, not computed."""
    r.seen.update(names)


def t5(r, case, m):
    for i in range(len(case['prompts'])):
        ids = r.files[f'p{i}.ids'].tolist()
        prompt = case['prompts'][i]
        if i in case.get('ids_only', []):
            inputs(r, f'p{i}.ids')
        else:
            r.tensor(f'p{i}.ids', torch.tensor(m.prompts.ids(prompt)))
        sd = m.part('t5')
        x = umt5.encode(sd, ids, r.recorder(f'p{i}.', lambda k, x: x[:len(ids)]), trim=False)
        r.tensor(f'p{i}.out', x[:len(ids)])
        if f'p{i}.out_full_padding_rows' in r.info:
            r.tensor(f'p{i}.out_full_padding_rows', x[len(ids):len(ids) + 4])
    off = r.files['relpos.offset']
    inputs(r, 'relpos.offset')
    r.tensor('relpos.bucket', umt5.bucket(off))
    layers = sum(k.endswith('.norm1.weight') for k in sd)
    r.tensor('relpos.bias', torch.stack([sd[f'blocks.{i}.pos_embedding.embedding.weight'][umt5.bucket(off)].T for i in range(layers)]))


def dit_case(r, case, m):
    for run in case['runs']:
        x, ctx = (r.files[run[k]].to(m.dtype) for k in ('x', 'context'))
        y = r.files[run['y']].to(m.dtype) if run['y'] else None
        inputs(r, *(run[k] for k in ('x', 'context', 'y') if run[k]))
        cut = lambda k, v: v[:len(ctx) + 2] if k.endswith('text_embedding') else v
        r.tensor(run['output'], m.dit(run['expert'], x, run['timestep'], ctx, y, r.recorder(run['id'] + '.', cut)))


def vae_encode(r, case, m):
    for k in [k for k in r.files if k.endswith('.video_u8')]:
        p = k[:-len('video_u8')]
        inputs(r, k)
        r.tensor(p + 'latent', vae.encode(m.part('vae'), r.files[k].to(m.dtype) / 255 * 2 - 1, r.recorder(p)))


def vae_decode(r, case, m):
    for k in [k for k in r.files if k.endswith('.latent')]:
        p = k[:-len('latent')]
        inputs(r, k)
        r.tensor(p + 'video', vae.decode(m.part('vae'), r.files[k].to(m.dtype), r.recorder(p)))


def rope(r, case, m):
    rows = r.files['freqs.position']
    inputs(r, 'freqs.position', 'apply.x')
    r.tensor('freqs.cos', dit.rope_table()[rows].real), r.tensor('freqs.sin', dit.rope_table()[rows].imag)
    r.tensor('apply.out', dit.rope_apply(r.files['apply.x'].to(m.dtype), case['grid']))


def schedulers(r, case, m):
    for name in r.files:
        # shift may hold a decimal point, so split from the right
        head, _, tail = name.partition('.steps')
        kind, shift = head.split('.shift')
        steps, rest = int(tail.split('.')[0]), tail.split('.', 1)[1]
        sigmas, ts = solvers.schedule(kind, steps, float(shift))
        if rest == 'sigmas':
            r.tensor(name, sigmas)
        elif rest == 'timesteps':
            r.tensor(name, ts)
        elif rest.endswith('.samples'):
            p = name[:-len('samples')]
            v, want = r.files[p + 'model_output'].to(m.dtype), r.files[name].to(m.dtype)
            inputs(r, p + 'model_output')
            start, x = 0, want[0]
            if 'partial' in rest:
                start = int(rest.split('.')[0][7:])
                s = sigmas[start].to(m.dtype)
                x = (1 - s) * r.files[p + 'clean'].to(m.dtype) + s * r.files[p + 'noise'].to(m.dtype)
                inputs(r, p + 'clean', p + 'noise')
            solver, xs = solvers.Solver(kind, sigmas, m.dtype), [x]
            for j, vj in enumerate(v):
                xs.append(solver.step(start + j, vj, xs[-1]))
            r.tensor(name, torch.stack(xs))


def rng(r, case, m):
    for s in case['seeds']:
        gen = lambda: torch.Generator().manual_seed(s)
        for name in [n for n in r.files if n.startswith(f'seed{s}.')]:
            what, g = name.split('.', 1)[1], gen()
            if what == 'latent':
                x = torch.randn(16, *r.files[name].shape[1:], generator=g)[:4]
            elif what == 'second16':
                x = [torch.randn(16, generator=g) for _ in range(2)][1]
            elif what == 'f64_n16':
                x = torch.randn(16, generator=g, dtype=torch.float64)
            elif what == 'bf16_n16':
                x = torch.randn(16, generator=g, dtype=torch.bfloat16).float()
            else:
                x = torch.randn(int(what[1:]), generator=g)
            r.tensor(name, x)


def i2v_sizes(r, case, m):
    for row in case['rows']:
        r.exact(f"{row['image_w']}x{row['image_h']}/{row['max_area']}", pipelines.i2v_size(row['image_w'], row['image_h'], row['max_area']),
                (row['width'], row['height']))


def tokenizer(r, case, m):
    for ckpt, rows in case['sets'].items():
        p = m(ckpt).prompts
        for row in rows:
            r.exact(f"{ckpt}/{row['name']}/cleaned", clean(row['prompt']), row['cleaned'])
            r.exact(f"{ckpt}/{row['name']}/ids", p.ids(row['prompt']), row['ids'])
            assert len(row['ids']) == row['n']


def e2e(r, case, m):
    given = {k: v for k, v in r.files.items() if k in ('noise', 'image_u8', 'video_in_u8')}
    inputs(r, *given)
    for key, prompt in (('prompt_ids', 'prompt'), ('negative_ids', 'negative_prompt')):
        if key in case:
            r.exact(key, m.prompts.ids(case[prompt]), case[key])
    for k, v in pipelines.run(m, case, given).items():
        if k in r.info:
            r.tensor(k, v)
    if 'image_u8' in given:
        from PIL import Image
        import numpy as np
        png = os.path.join(r.args.dir, 'cases', case['case'] + '_input.png')
        r.exact('_input.png', bool((np.asarray(Image.open(png)) == given['image_u8'].numpy()).all()), True)
    if 'kept_steps' in case:
        kept = min(int(case['steps'] * case['strength']), case['steps'])
        r.exact('kept_steps', kept, case['kept_steps']), r.exact('t_start', case['steps'] - kept, case['t_start'])
        r.exact('sigma_start', solvers.schedule(case['solver'], case['steps'], case['shift'])[0][case['t_start']].item(), case['sigma_start'])


RUNNERS = {'t5': t5, 't5_i2v': t5, 'dit_t2v': dit_case, 'dit_i2v': dit_case, 'vae_encode': vae_encode, 'vae_decode': vae_decode,
           'rope': rope, 'schedulers': schedulers, 'rng': rng, 'i2v_sizes': i2v_sizes, 'tokenizer': tokenizer}


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('dir'), ap.add_argument('cases', nargs='*')
    ap.add_argument('--double', action='store_true'), ap.add_argument('--bf16', action='store_true')
    ap.add_argument('-v', '--verbose', action='store_true')
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    cache = {}

    def models(name):
        if name not in cache:
            cache[name] = pipelines.Models(os.path.join(args.dir, 'checkpoints', name),
                                           torch.float64 if args.double else torch.float32, args.bf16)
        return cache[name]

    failed = 0
    names = sorted(f[:-5] for f in os.listdir(os.path.join(args.dir, 'cases')) if f.endswith('.json'))
    for name in names:
        path = os.path.join(args.dir, 'cases', name)
        with open(path + '.json') as f:
            case = json.load(f)
        runner = RUNNERS.get(name) or (e2e if case.get('task') in ('t2v', 'i2v', 'v2v') else None)
        if runner is None or args.cases and name not in args.cases:
            continue
        t0 = time.time()
        r = Report(name, case.get('tensors', {}), load_file(path + '.safetensors') if 'tensors' in case else {}, args)
        runner(r, case, models if name == 'tokenizer' else models(case.get('checkpoint', 'Wan2.2-T2V-A14B')))
        missing = set(r.info) ^ set(r.files) | (set(r.info) - r.seen)
        failed += bool(r.fails or missing)
        print(f'{"FAIL" if r.fails or missing else "pass"} {name}: {r.n} checks, {len(r.fails)} failed, worst {r.worst[0]:.3f} '
              f'({r.worst[1]}), {time.time() - t0:.1f}s' + (f', NOT CHECKED: {sorted(missing)}' if missing else ''), flush=True)
    print('ALL PASS' if not failed else f'{failed} cases FAIL')
    sys.exit(bool(failed))


if __name__ == '__main__':
    main()
