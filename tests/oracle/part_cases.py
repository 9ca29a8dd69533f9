"""Cases of single parts: tokenizer, text encoder, VAE, transformer, rotary table, solvers, noise, image sizes."""
import torch

import dit
import pipelines
import solvers
import texts
import umt5
import vae
from checkpoints import FOLDERS
from golden import three
from inputs import picture
from prompts import clean

TEXT_LEN = 512


def tokenizer(folder, models):
    sets = {}
    for kind in ('t2v', 'i2v'):
        tok = models[kind]['f32'].prompts
        rows = [{'name': name, 'prompt': prompt, 'cleaned': clean(prompt), 'ids': tok.ids(prompt)} for name, prompt in texts.ODD.items()]
        sets[FOLDERS[kind]] = [{**row, 'n': len(row['ids'])} for row in rows]
    folder.save({'case': 'tokenizer', 'seq_len': TEXT_LEN,
                 'layout': 'ids end with </s>; the full row is padded with 0 to seq_len', 'sets': sets})


def text_encoder(folder, models, kind, g, name):
    """The first prompt with every intermediate; the last has no text, only ids."""
    m = models[kind]
    prompts = texts.PLAIN[:1] + [pipelines.DEFAULT_NEGATIVE, texts.PLAIN[1], '', 'a']
    ids = [m['f32'].prompts.ids(p) for p in prompts]
    rows = len(m['f32'].part('t5')['token_embedding.weight'])
    ids.append(torch.randint(4, rows, (TEXT_LEN - 1,), generator=g).tolist() + [1])
    offset = torch.arange(-(TEXT_LEN - 1), TEXT_LEN)

    def run(which):
        sd, out = m[which].part('t5'), {}
        for i, row in enumerate(ids):
            def rec(name, x, i=i, row=row):
                # of the first block with its sub-layers, of the others the result
                if i == 0 and ('_' not in name or name.startswith('block0_')):
                    out[f'p0.{name}'] = x[:len(row)]
            x = umt5.encode(sd, row, rec, trim=False)
            out[f'p{i}.out'] = x[:len(row)]
            if i == 0:
                out['p0.out_full_padding_rows'] = x[len(row):len(row) + 4]
        layers = sum(k.endswith('.norm1.weight') for k in sd)
        out['relpos.bias'] = torch.stack([sd[f'blocks.{i}.pos_embedding.embedding.weight'][umt5.bucket(offset)].T for i in range(layers)])
        return {k: v.float() if which == 'bf16' else v for k, v in out.items()}

    given = {f'p{i}.ids': torch.tensor(row) for i, row in enumerate(ids)}
    given.update({'relpos.offset': offset, 'relpos.bucket': umt5.bucket(offset)})
    meaning = {'ids': 'token ids, </s> included', 'out': '[n,dim] encoder output of those ids',
               'out_full_padding_rows': 'the first four padding rows of the untrimmed output', 'offset': 'key index - query index',
               'bucket': 'bucket of each offset', 'bias': '[layer,head,offset] added to the logits'}
    folder.save({'case': name, 'checkpoint': FOLDERS[kind], 'prompts': prompts + ['<512 random ids, last one 1>'], 'ids_only': [len(prompts)]},
                given, three(run), lambda k: meaning.get(k.split('.')[1], '[n,dim] intermediate of prompt 0, padding cut'))


def keep_some(out, prefix, wanted):
    """A rec() that stores, under the full name, what `wanted` accepts."""
    return lambda name, x: out.__setitem__(prefix + name, x) if wanted(name) else None


def vae_encode(folder, models, g):
    m, runs, given = models['t2v'], [], {}
    for f, h, w in ((1, 32, 48), (5, 32, 16), (9, 16, 32), (13, 16, 16)):
        name = f'f{f}_{h}x{w}'
        given[name + '.video_u8'] = picture(g, f, h, w)
        runs.append({'id': name, 'input': name + '.video_u8', 'output': name + '.latent'})

    def run(which):
        out = {}
        for r in runs:
            wanted = lambda n: r['id'].startswith('f5') and n.split('.')[-1] in ('conv1', 'downsamples2', 'downsamples5', 'middle0', 'middle1', 'head')
            x = given[r['input']].to(m[which].dtype) / 255 * 2 - 1
            out[r['output']] = vae.encode(m[which].part('vae'), x, keep_some(out, r['id'] + '.', wanted))
        return out

    folder.save({'case': 'vae_encode', 'checkpoint': FOLDERS['t2v'], 'runs': runs}, given, {k: run(k) for k in ('f32', 'f64')},
                lambda k: 'video_u8 [3,F,H,W], x = u8/255*2-1; latent [16,T,h,w], normalised; chunk<k>.<module>: its output in chunk k')


def vae_decode(folder, models, g):
    m, runs, given = models['t2v'], [], {}
    for t, h, w in ((1, 4, 6), (2, 4, 2), (3, 2, 4), (4, 3, 3)):  # odd sizes too: only the transformer needs even ones
        name = f'l{t}_{h}x{w}'
        given[name + '.latent'] = torch.randn(16, t, h, w, generator=g)
        runs.append({'id': name, 'input': name + '.latent', 'output': name + '.video'})

    def run(which):
        out = {}
        for r in runs:
            wanted = lambda n: r['id'].startswith('l2') and n.split('.')[-1] in ('conv2', 'conv1', 'middle1', 'upsamples0', 'upsamples3', 'upsamples7', 'raw')
            out[r['output']] = vae.decode(m[which].part('vae'), given[r['input']].to(m[which].dtype), keep_some(out, r['id'] + '.', wanted))
        return out

    folder.save({'case': 'vae_decode', 'checkpoint': FOLDERS['t2v'], 'runs': runs}, given, {k: run(k) for k in ('f32', 'f64')},
                lambda k: 'latent [16,T,h,w], normalised; video [3,4(T-1)+1,8h,8w]; raw: before the clamp; chunk<k>.<module>: its output in chunk k')


def transformer(folder, models, kind, g):
    """Grids with all axes different, prompts from one token to all 512; the first run with its intermediates."""
    m = models[kind]
    width = m['f32'].part('high_noise_model')['text_embedding.0.weight'].shape[1]
    given, runs = {}, []
    grids = {'a': ((3, 4, 6), (23, TEXT_LEN if kind == 'i2v' else 200)), 'b': ((2, 6, 4), (1, 77))}
    plan = (('a', 'high_noise_model', 999.0, 0), ('a', 'low_noise_model', 499.0, 1), ('a', 'high_noise_model', 875.0, 0),
            ('b', 'low_noise_model', 250.0, 0), ('b', 'high_noise_model', 937.5, 1), ('b', 'low_noise_model', 3.0, 0))
    for name, (grid, lengths) in grids.items():
        given[name + '.x'] = torch.randn(16, *grid, generator=g)
        if kind == 'i2v':
            given[name + '.y'] = torch.randn(20, *grid, generator=g)
        for i, n in enumerate(lengths):
            given[f'{name}.context{i}'] = torch.randn(n, width, generator=g)
    for i, (name, expert, t, context) in enumerate(plan):
        run = f'{name}.run{i}'
        runs.append({'id': run, 'expert': expert, 'timestep': t, 'x': name + '.x', 'y': name + '.y' if kind == 'i2v' else None,
                     'context': f'{name}.context{context}', 'output': run + '.out'})

    def run(which):
        out = {}
        for i, r in enumerate(runs):
            x, context = (given[r[k]].to(m[which].dtype) for k in ('x', 'context'))
            y = given[r['y']].to(m[which].dtype) if r['y'] else None

            def rec(name, v, r=r, rows=len(context) + 2):
                out[f"{r['id']}.{name}"] = v[:rows] if name == 'text_embedding' else v
            out[r['output']] = m[which].dit(r['expert'], x, r['timestep'], context, y, rec if i == 0 else lambda *_: None)
        return out

    folder.save({'case': 'dit_' + kind, 'checkpoint': FOLDERS[kind], 'runs': runs}, given, three(run),
                lambda k: 'input' if k in given else 'velocity [16,T,h,w]' if k.endswith('.out') else 'intermediate, tokens first')


def rope(folder, g):
    position, grid = torch.tensor([0, 1, 2, 3, 7, 20, 30, 63, 127, 511, 1023]), [3, 4, 5]
    x = torch.randn(60, 2, 128, generator=g)
    table = dit.rope_table()[position]
    folder.save({'case': 'rope', 'grid': grid},
                {'freqs.position': position, 'freqs.cos': table.real, 'freqs.sin': table.imag, 'apply.x': x},
                {'f32': {'apply.out': dit.rope_apply(x, grid)}, 'f64': {'apply.out': dit.rope_apply(x.double(), grid)}},
                lambda k: {'freqs.position': 'rows of the table', 'apply.x': '[tokens,heads,128]', 'apply.out': 'rotated'}.get(
                    k, '[row,64]: 22 columns for time, 21 for rows, 21 for columns'))


def trajectory(row, given, dtype):
    sigmas = solvers.schedule(row['solver'], row['steps'], row['shift'])[0]
    inputs = {k: given[f"{row['id']}.{k}"].to(dtype) for k in ('model_output', 'first', 'clean', 'noise') if f"{row['id']}.{k}" in given}
    s = sigmas[row['start']].to(dtype)
    x = (1 - s) * inputs['clean'] + s * inputs['noise'] if row['start'] else inputs['first']
    solver, samples = solvers.Solver(row['solver'], sigmas, dtype), [x]
    for j, v in enumerate(inputs['model_output']):
        samples.append(solver.step(row['start'] + j, v, samples[-1]))
    return torch.stack(samples)


def schedulers(folder, g):
    given, tables, trajectories, samples = {}, [], [], {'f32': {}, 'f64': {}}
    # 12/19 and 3/4 put a timestep of dpm++ exactly on a boundary, 12/26 shows numpy's linspace, 1/6 the float32 start of unipc, and
    # 12/100 repeated timesteps.
    for solver in ('unipc', 'dpm++', 'euler'):
        for shift, steps in ((12.0, 2), (12.0, 19), (12.0, 26), (12.0, 40), (12.0, 100), (5.0, 27), (5.0, 40), (3.0, 4), (1.0, 6), (2.5, 1)):
            row = {'id': f'{solver}.shift{shift:g}.steps{steps}', 'solver': solver, 'shift': shift, 'steps': steps}
            given[row['id'] + '.sigmas'], given[row['id'] + '.timesteps'] = solvers.schedule(solver, steps, shift)
            tables.append(row)
        for shift, steps, start in ((12.0, 2, 0), (12.0, 7, 0), (5.0, 4, 0), (3.0, 1, 0), (3.0, 9, 0), (5.0, 8, 3), (5.0, 5, 4), (12.0, 6, 1)):
            row = {'id': f'{solver}.shift{shift:g}.steps{steps}.' + (f'partial{start}' if start else 'traj'), 'solver': solver,
                   'shift': shift, 'steps': steps, 'start': start}
            shape = (4, 2, 3, 3)
            given[row['id'] + '.model_output'] = torch.randn(steps - start, *shape, generator=g)
            for name in ('clean', 'noise') if start else ('first',):
                given[f"{row['id']}.{name}"] = torch.randn(shape, generator=g)
            for run, dtype in (('f32', torch.float32), ('f64', torch.float64)):
                samples[run][row['id'] + '.samples'] = trajectory(row, given, dtype)
            trajectories.append(row)
    given = {k: v for k, v in given.items() if not k.endswith('.first')}  # it is samples[0]
    folder.save({'case': 'schedulers', 'tables': tables, 'trajectories': trajectories}, given, samples,
                lambda k: {'sigmas': '[n+1], the last 0', 'timesteps': '[n]', 'model_output': 'velocity of each step',
                           'samples': 'the first sample and the one after each step'}.get(k.rsplit('.', 1)[1], 'input'))


def draw(what, seed):
    g = torch.Generator().manual_seed(seed)
    if what == 'latent':
        return torch.randn(16, 3, 4, 6, generator=g)[:4]
    if what == 'second16':
        return [torch.randn(16, generator=g) for _ in range(2)][1]
    if what == 'f64_n16':
        return torch.randn(16, generator=g, dtype=torch.float64)
    if what == 'bf16_n16':
        return torch.randn(16, generator=g, dtype=torch.bfloat16).float()
    return torch.randn(int(what[1:]), generator=g)


def rng(folder):
    """The limits follow from the size of the values; 1e-6 is what a port should keep: libraries differ by ulps in log, cos and sin."""
    seeds = [0, 42, 2 ** 31 - 1]
    kinds = ('latent', 'n1', 'n10', 'n15', 'n16', 'n17', 'n37', 'second16', 'f64_n16', 'bf16_n16')
    tensors = {f'seed{s}.{what}': draw(what, s) for s in seeds for what in kinds}
    folder.save({'case': 'rng', 'seeds': seeds}, tensors, None,
                lambda k: 'latent: 4 of 16 channels of randn(16,3,4,6); n<k>: randn(k); second16: the second randn(16); f64, bf16: in that dtype')


def image_sizes(folder):
    rows = []
    for w, h in ((1280, 720), (720, 1280), (1024, 1024), (640, 480), (1920, 1080), (1000, 333), (37, 91), (3000, 50), (853, 480), (512, 513)):
        for area in (480 * 832, 720 * 1280, 1536):
            width, height = pipelines.i2v_size(w, h, area)
            rows.append({'image_w': w, 'image_h': h, 'max_area': area, 'lat_h': height // 8, 'lat_w': width // 8, 'height': height, 'width': width})
    folder.save({'case': 'i2v_sizes', 'rows': rows})
