#!/usr/bin/env python3
"""Stands in for the programs of tools/gpu_check.sh --rehearse: takes their arguments, and writes a result of wan-bench with
invented timings, marked as such, so that `wan-bench check` refuses it and `wan-bench adopt` writes nothing from it.

Which program it is says the name it is called by. WAN_REHEARSE_FAIL and WAN_REHEARSE_HANG name parts of the plan that
fail, or wait until they are ended.
"""
import argparse
import json
import os
import sys
import time

STAND_IN = 'stand-in: a rehearsal, nothing was measured'
VIDEO = '1280x720, 81 frames, 20 steps, single stream'
# Cases of wan-bench, with milliseconds that are estimates for an H200 and FLOP.
CASES = {
    'step': [('forward', '720p, 75600 tokens', 'wan-infer', True, 10500, 6.523e15),
             ('forward, balanced', '720p, 75600 tokens', 'wan-infer', True, 14000, 6.523e15),
             ('forward, balanced, wgmma', '720p, 75600 tokens', 'wan-infer', True, 8000, 6.523e15),
             ('forward, fast, wgmma', '720p, 75600 tokens', 'wan-infer', True, 7400, 6.523e15),
             ('forward', '480p, 32760 tokens', 'wan-infer', True, 2650, 1.678e15)],
    'ops': [('self-attention', '720p, 75600 tokens', 'cudnn', False, 195, 1.17e14),
            ('self-attention', '720p, 75600 tokens', 'wgmma', True, 190, 1.17e14),
            ('self-attention', '720p, 75600 tokens', '8+16 wgmma', True, 150, 1.17e14),
            ('VAE convolution', '96 channels, 4 frames of 1280x720', 'channels last fp16', True, 5, 1.835e12)],
    'vae': [('VAE decode', '720p, 81 frames', 'fp16', True, 1400, 6.39e14)],
    'profile': [('attention, 75600 x 75600 to 5120', '720p, 75600 tokens', 'wan-infer', True, 190, 1.17e14),
                ('between operations', '720p, 75600 tokens', 'wan-infer', True, 60, 0.0)],
    'mlperf': [('high-noise expert', VIDEO, 'wan-infer, exact', True, 270000, 1.696e17),
               ('low-noise expert', VIDEO, 'wan-infer, exact', True, 146000, 9.132e16),
               ('video', VIDEO, 'wan-infer, exact', True, 419000, 2.616e17),
               ('video', VIDEO, '8x H200', False, 441000, 0.0)],
}
# The options of each command; what stands before a colon must be given.
OPTIONS = {'profile': '--commit --json: --trace', 'mlperf': '--commit --json: --videos',
           '': '--only --commit --json --budget: --plot'}


def result(args):
    suite = args.suite or 'step'
    rows = [{'suite': suite, 'name': name, 'shape': shape, 'backend': backend if args.suite else 'eager', 'ours': ours,
             'milliseconds': {'median': time, 'p10': time, 'p90': time, 'samples': [time] * 3}, 'flops': flops, 'bytes': 0.0,
             'ceiling': 'bf16', 'error': 1e-3, 'bound': 3e-2, 'peak_bytes': 0.0, 'note': STAND_IN}
            for name, shape, backend, ours, time, flops in CASES[suite] if getattr(args, 'only', '') in f'{name}, {shape}']
    for row in rows:
        if suite == 'mlperf' and not row['ours']:
            row['published'] = STAND_IN
    if not rows:
        sys.exit(f'stand-in: no case of {suite} holds {args.only}')
    environment = {key: STAND_IN for key in ('gpu', 'driver', 'cuda', 'cudnn', 'torch', 'clocks_before', 'clocks_after')}
    return {'schema': 1, 'command': ' '.join(sys.argv), 'commit': args.commit, 'environment': environment,
            'ceilings': {'bf16': 7.88e14}, 'rows': rows, 'left_out': []}


def measure(suites):
    suite = sys.argv[1] if suites and len(sys.argv) > 1 else ''
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument('suite', choices=suites) if suites else parser.set_defaults(suite='')
    needed, others = OPTIONS.get(suite, OPTIONS['']).split(':')
    for option in (needed + others).split():
        parser.add_argument(option, required=option in needed.split())
    args = parser.parse_args()
    with open(args.json + '.part', 'w') as file:
        json.dump(result(args), file, indent=1)
    os.rename(args.json + '.part', args.json)
    if getattr(args, 'plot', None):
        with open(args.plot, 'w') as file:
            file.write('<svg xmlns="http://www.w3.org/2000/svg"/>\n')
    if getattr(args, 'trace', None):
        with open(args.trace, 'w') as file:
            file.write('{"traceEvents": []}\n')


def wait_for_the_end_of(process):
    """Hangs, but not longer than the plan lives: one that is killed ends nothing itself."""
    try:
        while True:
            os.kill(process, 0)
            time.sleep(0.2)
    except ProcessLookupError:
        pass


def main():
    part = os.environ.get('WAN_PART', '')
    print(STAND_IN, sys.argv, flush=True)
    if part in os.environ.get('WAN_REHEARSE_HANG', '').split():
        wait_for_the_end_of(int(os.environ['WAN_PLAN']))
    if part in os.environ.get('WAN_REHEARSE_FAIL', '').split():
        sys.exit(3)
    program = os.path.basename(sys.argv[0])
    if program == 'wan-bench':
        measure(list(CASES))
    elif program == 'baseline':
        measure([])


if __name__ == '__main__':
    main()
