#!/usr/bin/env python3
"""What diffusers needs for the rows of `wan-bench cpu`: same sizes, random weights, float32, same thread count.

bench_cpu_baseline.py [--runs N] [--threads N] [vae_decode] [transformer_block]
Prints one JSON line for each row: name, seconds (median of the runs after one warm-up) and the peak of this process's
memory so far, so that rows should be compared in the same order. Needs torch and diffusers.
"""
import argparse
import json
import resource
import statistics
import time

import torch


def vae_decode():
    """9 frames of 256x256 at the real width of 96 channels."""
    from diffusers import AutoencoderKLWan
    model = AutoencoderKLWan().eval()
    latent = torch.randn(1, 16, 3, 32, 32)
    return lambda: model.decode(latent).sample


def transformer_block():
    """One block of A14B on 4,096 video tokens and 512 text tokens."""
    from diffusers.models.transformers.transformer_wan import WanTransformerBlock
    block = WanTransformerBlock(5120, 13824, 40, qk_norm='rms_norm_across_heads', cross_attn_norm=True).eval()
    x, text, modulation = torch.randn(1, 4096, 5120), torch.randn(1, 512, 5120), torch.randn(1, 6, 5120)
    angles = torch.rand(1, 4096, 1, 128)
    rope = angles.cos(), angles.sin()
    return lambda: block(x, text, modulation, rope)


ROWS = {'vae_decode': vae_decode, 'transformer_block': transformer_block}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('rows', nargs='*', choices=[[], *ROWS], default=[])
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    for name in args.rows or ROWS:
        run, seconds = ROWS[name](), []
        for _ in range(args.runs + 1):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(json.dumps({
            'name': name,
            'seconds': round(statistics.median(seconds[1:]), 3),
            'peak_rss_mb': round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            'threads': args.threads,
        }), flush=True)


if __name__ == '__main__':
    main()
