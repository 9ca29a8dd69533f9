#!/usr/bin/env python3
"""What diffusers needs on the same card for the rows of `wan-bench step` and `wan-bench vae`: its Wan transformer
(14B) and its VAE at full size, random weights drawn on the GPU, bfloat16.

bench_baseline.py [--budget S] [--only TEXT] [--commit C] --json FILE
Back ends of the transformer: eager with PyTorch's default attention, eager with cuDNN attention forced, compiled with
cuDNN attention forced. Writes the same JSON as wan-bench (schema 1); `wan-bench compare` puts both side by side.
Needs a CUDA device, torch and diffusers.
"""
import argparse
import contextlib
import importlib.metadata
import json
import subprocess
import sys
import time

# diffusers' transformers need no text encoder. Where the machine has transformers, its import checks versions of
# packages that the pinned ones of diffusers shadow, and ends the run.
sys.modules['transformers'] = None

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

SCHEMA = 1
# Frames, rows and columns of tokens, as wan-bench's.
RESOLUTIONS = {'720p': (21, 45, 80), '480p': (21, 30, 52), '580p': (21, 36, 64), 'short': (1, 64, 64)}
LATENTS = {'720p': (21, 90, 160), '480p': (21, 60, 104)}
SEED = 1


def quantile(values, fraction):
    values = sorted(values)
    place = fraction * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])


def milliseconds(run):
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def samples_of(run, warmups, most, at_most_ms=5000):
    """At least three samples, no more than fit the time."""
    for _ in range(warmups):
        first = milliseconds(run)
    count = max(3, min(most, int(at_most_ms / first)))
    return [milliseconds(run) for _ in range(count)]


def product_rate(dtype, size=8192):
    a, b = (torch.randn(size, size, device='cuda', dtype=dtype) for _ in range(2))
    times = samples_of(lambda: [a @ b for _ in range(20)], 2, 9)
    return 20 * 2 * size**3 / (quantile(times, 0.5) / 1000)


def copy_rate(size=1 << 31):
    a, b = (torch.zeros(size, dtype=torch.uint8, device='cuda') for _ in range(2))
    times = samples_of(lambda: [b.copy_(a) for _ in range(20)], 2, 9)
    return 20 * 2 * size / (quantile(times, 0.5) / 1000)


def clocks():
    query = 'clocks.sm,clocks.mem,power.draw,power.limit,temperature.gpu'
    try:
        return subprocess.run(['nvidia-smi', '--id=0', '--format=csv,noheader', '--query-gpu=' + query],
                              capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'


def environment():
    properties = torch.cuda.get_device_properties(0)
    smi = subprocess.run(['nvidia-smi', '--id=0', '--format=csv,noheader', '--query-gpu=driver_version'],
                         capture_output=True, text=True, check=False).stdout.strip()
    return {
        'gpu': properties.name,
        'compute_capability': f'{properties.major}.{properties.minor}',
        'memory_bytes': str(properties.total_memory),
        'driver': smi or 'unknown',
        'cuda': str(torch.version.cuda),
        'cudnn': str(torch.backends.cudnn.version()),
        'torch': torch.__version__,
        'diffusers': importlib.metadata.version('diffusers'),
        'clocks_before': clocks(),
    }


def drawn(make, dtype):
    """A module whose weights are drawn on the GPU: normal 0.02, one-axis weights of norms near 1, buffers as made."""
    torch.manual_seed(SEED)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device('cuda'):
            module = make()
    finally:
        torch.set_default_dtype(default)
    for name, weight in module.named_parameters():
        draw = torch.randn(weight.shape, device='cuda') * 0.02
        weight.data.copy_(draw + (1 if 'norm' in name and name.endswith('weight') else 0))
    return module.eval()


def forced_cudnn():
    return sdpa_kernel([SDPBackend.CUDNN_ATTENTION])


def relative_l2(got, want):
    return ((got.double() - want.double()).norm() / want.double().norm()).item()


def row(suite, name, shape, backend, times, *, flops, ceiling, error, bound, peak, note):
    return {
        'suite': suite, 'name': name, 'shape': shape, 'backend': backend, 'ours': False,
        'milliseconds': {'median': quantile(times, 0.5), 'p10': quantile(times, 0.1), 'p90': quantile(times, 0.9),
                         'samples': times},
        'flops': flops, 'bytes': 0.0, 'ceiling': ceiling, 'error': error, 'bound': bound, 'peak_bytes': peak,
        'note': note,
    }


class Transformer:
    """The 14B; its error is that of two layers on one small frame against themselves in float32."""

    def __init__(self):
        from diffusers import WanTransformer3DModel
        self.kind = WanTransformer3DModel
        self.network = drawn(self.kind, torch.bfloat16)
        self.compiled = None
        self.error = self.small_error()

    @staticmethod
    def inputs(frames, rows, columns, dtype=torch.bfloat16):
        generator = torch.Generator('cuda').manual_seed(SEED)
        latent = torch.randn(1, 16, frames, 2 * rows, 2 * columns, device='cuda', generator=generator)
        text = torch.randn(1, 512, 4096, device='cuda', generator=generator)
        return latent.to(dtype), torch.tensor([900], device='cuda'), text.to(dtype)

    def small_error(self):
        def output(dtype):
            network = drawn(lambda: self.kind(num_layers=2), dtype)
            return network(*self.inputs(1, 30, 52, dtype), return_dict=False)[0]
        return relative_l2(output(torch.bfloat16), output(torch.float32))

    def backends(self):
        yield 'eager', contextlib.nullcontext, lambda: self.network
        yield 'eager, cuDNN attention', forced_cudnn, lambda: self.network
        yield 'compiled, cuDNN attention', forced_cudnn, self.compile

    def compile(self):
        self.compiled = self.compiled or torch.compile(self.network)
        return self.compiled

    @staticmethod
    def flops(tokens, dim=5120, ffn=13824, text=512, layers=40):
        linear = 2 * tokens * dim * (6 * dim + 2 * ffn)
        return float(layers * (linear + 4 * tokens * tokens * dim + 4 * tokens * text * dim))

    def plans(self):
        for label, grid in RESOLUTIONS.items():
            tokens = grid[0] * grid[1] * grid[2]
            for name, context, network in self.backends():
                def measure(grid=grid, context=context, network=network, tokens=tokens):
                    inputs = self.inputs(*grid)
                    with context():
                        out = network()(*inputs, return_dict=False)[0]
                        if not out.isfinite().all():
                            raise FloatingPointError('the result is not finite')
                        times = samples_of(lambda: network()(*inputs, return_dict=False), 1, 9)
                    return times, {'flops': self.flops(tokens), 'ceiling': 'bf16', 'error': self.error, 'bound': 3e-2,
                                   'note': 'error of 2 layers on 1560 tokens'}
                yield 'step', 'forward', f'{label}, {tokens} tokens', name, measure


class Autoencoder:
    """The VAE in bfloat16 and float32; its error is that on 9 frames of 48x32 against float32."""

    def __init__(self):
        from diffusers import AutoencoderKLWan
        self.networks = {name: drawn(AutoencoderKLWan, dtype) for name, dtype in (('bf16', torch.bfloat16),
                                                                                  ('fp32', torch.float32))}
        small = torch.randn(1, 16, 3, 4, 6, device='cuda')
        outputs = {name: self.decode(network, small) for name, network in self.networks.items()}
        self.errors = {name: relative_l2(out, outputs['fp32']) for name, out in outputs.items()}

    @staticmethod
    def decode(network, latent):
        return network.decode(latent.to(next(network.parameters()).dtype), return_dict=False)[0]

    def plans(self):
        for label, (frames, height, width) in LATENTS.items():
            for name, network in self.networks.items():
                def measure(size=(frames, height, width), name=name, network=network):
                    latent = torch.randn(1, 16, *size, device='cuda')
                    times = samples_of(lambda: self.decode(network, latent), 1, 9)
                    pixels = size[0] * size[1] * size[2] * 64
                    return times, {'flops': 639e12 / (21 * 720 * 1280) * pixels, 'ceiling': 'fp16',
                                   'error': self.errors[name], 'bound': 5e-2, 'note': 'error on 9 frames of 48x32'}
                yield 'vae', 'VAE decode', f'{label}, {4 * (frames - 1) + 1} frames', f'diffusers {name}', measure


def run_plans(report, plans, only, end):
    for suite, name, shape, backend, measure in plans:
        if only not in f'{name}, {shape}':
            continue
        left_out = {'suite': suite, 'name': name, 'shape': shape, 'backend': backend}
        if time.monotonic() >= end:
            report['left_out'].append(left_out | {'why': 'the budget was spent'})
            continue
        try:
            torch.cuda.reset_peak_memory_stats()
            times, facts = measure()
            report['rows'].append(row(suite, name, shape, backend, times,
                                      peak=float(torch.cuda.max_memory_allocated()), **facts))
            print(f'{name}, {shape}, {backend}: {quantile(times, 0.5):.1f} ms', file=sys.stderr)
        except (RuntimeError, FloatingPointError) as error:
            report['left_out'].append(left_out | {'why': str(error).splitlines()[0][:160]})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--budget', type=float, default=540, help='seconds after which no case is begun')
    parser.add_argument('--only', default='', help='cases whose name or shape holds this')
    parser.add_argument('--commit', default='unknown')
    parser.add_argument('--json', required=True)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit('bench_baseline: no CUDA device is here')
    end = time.monotonic() + args.budget
    torch.set_grad_enabled(False)
    report = {'schema': SCHEMA, 'command': ' '.join(['bench_baseline.py', *sys.argv[1:]]), 'commit': args.commit,
              'environment': environment(), 'rows': [], 'left_out': [],
              'ceilings': {'copy': copy_rate(), 'bf16': product_rate(torch.bfloat16),
                           'fp16': product_rate(torch.float16)}}
    for kind in (Transformer, Autoencoder):
        run_plans(report, kind().plans(), args.only, end)
        torch.cuda.empty_cache()
        report['environment']['clocks_after'] = clocks()
        with open(args.json, 'w') as file:
            json.dump(report, file, indent=1)


if __name__ == '__main__':
    main()
