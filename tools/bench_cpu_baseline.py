#!/usr/bin/env python3
"""What diffusers and transformers need for the rows of `wan-bench cpu`: same sizes, random weights, float32, same
thread count.

bench_cpu_baseline.py [--runs N] [--threads N] [--tokens N] [vae_decode] [transformer_block] [wav2vec2]
Prints one JSON line for each row: name, seconds (median of the runs after one warm-up), p10 and p90, cpu_seconds (of
one run, median) and the peak of memory. Each row runs in a fresh process, so that peaks can be compared. Needs torch,
diffusers and transformers.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time

import torch


def vae_decode(args):
    """9 frames of 256x256 at the real width of 96 channels."""
    from diffusers import AutoencoderKLWan
    model = AutoencoderKLWan().eval()
    latent = torch.randn(1, 16, 3, 32, 32)
    return lambda: model.decode(latent).sample


def transformer_block(args):
    """One block of A14B on video tokens and 512 text tokens."""
    from diffusers.models.transformers.transformer_wan import WanTransformerBlock
    block = WanTransformerBlock(5120, 13824, 40, qk_norm='rms_norm_across_heads', cross_attn_norm=True).eval()
    x, text, modulation = torch.randn(1, args.tokens, 5120), torch.randn(1, 512, 5120), torch.randn(1, 6, 5120)
    angles = torch.rand(1, args.tokens, 1, 128)
    rope = angles.cos(), angles.sin()
    return lambda: block(x, text, modulation, rope)


def wav2vec2(args):
    """wav2vec2-large on 10 s of audio, every hidden state."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model
    config = Wav2Vec2Config(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
                            do_stable_layer_norm=True, feat_extract_norm='layer', conv_bias=True)
    model = Wav2Vec2Model(config).eval()
    samples = torch.randn(1, 160000)
    return lambda: model(samples, output_hidden_states=True)


ROWS = {'vae_decode': vae_decode, 'transformer_block': transformer_block, 'wav2vec2': wav2vec2}


def quantile(values, fraction):
    """Linear between neighbours, as wan-bench's."""
    values = sorted(values)
    place = fraction * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])


def peak_resident_mb():
    """Of this address space; getrusage's figure would begin at the size of the parent."""
    with open('/proc/self/status') as status:
        return next(int(line.split()[1]) for line in status if line.startswith('VmHWM')) / 1024


def measure(name, args):
    run, seconds, cpu = ROWS[name](args), [], []
    for _ in range(args.runs + 1):
        start, start_cpu = time.perf_counter(), time.process_time()
        run()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    del seconds[0], cpu[0]
    print(json.dumps({
        'name': name,
        'seconds': round(statistics.median(seconds), 4),
        'p10': round(quantile(seconds, 0.1), 4),
        'p90': round(quantile(seconds, 0.9), 4),
        'cpu_seconds': round(statistics.median(cpu), 4),
        'peak_rss_mb': round(peak_resident_mb()),
        'threads': args.threads,
    }), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('rows', nargs='*', choices=[[], *ROWS], default=[])
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--tokens', type=int, default=4096, help='of the transformer block')
    parser.add_argument('--in-process', action='store_true', help='measure in this process')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    for name in args.rows or ROWS:
        if args.in_process:
            measure(name, args)
        else:
            subprocess.run([sys.executable, __file__, '--in-process', '--runs', str(args.runs), '--threads',
                            str(args.threads), '--tokens', str(args.tokens), name], check=True)


if __name__ == '__main__':
    main()
