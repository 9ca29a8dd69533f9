"""make_cases.py [OUT] [--seed N]: a reference folder, checkpoints and cases, from nothing but names of tensors and a tokenizer.

Without a seed the committed set, with the dims of checkpoints.SMALL, into tests/golden. With a seed dims, weights, settings, prompts and
inputs are drawn from it. Values come from this implementation in float32, the error columns from a float64 run and from one that
rounds as the official GPU pipeline does.
"""
import argparse
import os
import random

import torch

import checkpoints
import golden
import part_cases
import run_cases
import speech_cases

HERE = os.path.dirname(os.path.abspath(__file__))
COMMITTED_SEED = 2025


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('out', nargs='?', default=os.path.join(HERE, '../golden'))
    ap.add_argument('--seed', type=int)
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    seed = COMMITTED_SEED if args.seed is None else args.seed
    r, g = random.Random(seed), torch.Generator().manual_seed(seed)
    dims = checkpoints.SMALL if args.seed is None else checkpoints.draw_dims(r)
    paths = {kind: checkpoints.make_checkpoint(g, args.out, kind, dims[kind]) for kind in checkpoints.FOLDERS}
    models = {kind: golden.models(paths[kind]) for kind in ('t2v', 'i2v')}
    folder = golden.Folder(args.out, f'make_cases.py --seed {seed}' if args.seed is not None else 'make_cases.py')

    part_cases.tokenizer(folder, models)
    part_cases.text_encoder(folder, models, 't2v', g, 't5')
    part_cases.text_encoder(folder, models, 'i2v', g, 't5_i2v')
    part_cases.vae_encode(folder, models, g)
    part_cases.vae_decode(folder, models, g)
    for kind in ('t2v', 'i2v'):
        part_cases.transformer(folder, models, kind, g)
    part_cases.rope(folder, g)
    part_cases.schedulers(folder, g)
    part_cases.rng(folder)
    part_cases.image_sizes(folder)
    run_cases.make(folder, models, r, g)
    speech_cases.make(folder, paths['s2v'], g)


if __name__ == '__main__':
    main()
