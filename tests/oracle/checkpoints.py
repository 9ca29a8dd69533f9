"""Tiny random checkpoints in the official layout: the published names, dims of our own.

Every tensor is random, also those that the published weights leave at zero or one, so that each of them changes the output.
"""
import collections
import json
import os
import re

import torch
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = os.path.join(HERE, '../golden/tensors')
TOKENIZER = os.path.join(HERE, '../nano/Wan2.2-T2V-A14B-nano/google/umt5-xxl/tokenizer.json')
FOLDERS = {'t2v': 'Wan2.2-T2V-A14B', 'i2v': 'Wan2.2-I2V-A14B', 's2v': 'Wan2.2-S2V-14B'}
WAV2VEC_FOLDER = 'wav2vec2-large-xlsr-53-english'

# The committed set: one head and two, one layer and three, matrices in bf16 and in float32. (tests/nano has six layers.)
SMALL = {'t2v': {'heads': 2, 'ffn': 160, 'layers': 1, 'vae': 2, 't5': {'heads': 3, 'ffn': 96, 'layers': 2}},
         'i2v': {'heads': 1, 'ffn': 96, 'layers': 1, 'vae': 2, 't5': {'heads': 2, 'ffn': 80, 'layers': 3}},
         's2v': {'heads': 1, 'ffn': 192, 'layers': 3, 'vae': 2, 't5': {'heads': 2, 'ffn': 64, 'layers': 1}}}
SPEECH = {'inject': [0, 2], 'hidden': 16, 'conv': 32, 'ffn': 48, 'heads': 4}  # audio injection and wav2vec2


def draw_dims(r):
    """Dims of a set for which nothing was tuned."""
    return {kind: {'heads': r.randint(1, 3), 'ffn': 32 * r.randint(5, 10), 'layers': 3 if kind == 's2v' else r.randint(1, 3),
                   'vae': r.choice([4, 8, 12]), 't5': {'heads': r.choice([2, 3, 4]), 'ffn': 16 * r.randint(4, 8), 'layers': r.randint(1, 3)}}
            for kind in FOLDERS}


def shapes(name, keep, size):
    """The published tensors whose name passes `keep`, each dimension through `size`."""
    with open(os.path.join(NAMES, name + '.json')) as f:
        table = json.load(f)['tensors']
    return {k: [size(d) for d in s] for k, s in table.items() if keep(k)}


def index_below(pattern, count):
    """keep() for names that number their layers as `pattern` says: the first `count` of them, and all other names."""
    def keep(name):
        m = re.match(pattern, name)
        return not m or int(m[1]) < count
    return keep


def weight(g, kind, name, shape):
    x = torch.randn(shape, generator=g)
    last = name.rsplit('.', 1)[-1]
    if last == 'bias':
        return 0.1 * x
    if last == 'modulation':
        return 0.3 * x
    if last in ('weights', 'weight_g'):
        return 0.7 + 0.2 * x
    if last == 'weight_v':
        return x
    if last in ('padding_tokens', 'masked_spec_embed') or name == 'trainable_cond_mask.weight':
        return 0.5 * x
    if last == 'gamma' or 'norm' in name:
        return (1.2 if re.search('norm_[qk]', name) else 1.0) + 0.2 * x
    if name == 'token_embedding.weight':
        return x
    if 'pos_embedding' in name:
        return 0.75 * x
    gain = 1.2 if kind == 'vae' else 1.0
    if name.startswith('time_embedding'):
        gain = 1.6
    if name in ('conv1.weight', 'conv2.weight', 'decoder.head.2.weight'):
        gain = 0.9
    if kind == 't5' and name.endswith('attn.q.weight'):
        gain = 1.5 / 4
    return gain * x / x[0].numel() ** 0.5


def write_json(path, value):
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(value, f, ensure_ascii=False, separators=(',', ':'))


def save_shards(folder, sd, count):
    """`count` shards with their index, as huggingface_hub writes them."""
    keys, where = sorted(sd), {}
    for i in range(count):
        part = keys[i * len(keys) // count:(i + 1) * len(keys) // count]
        file = f'diffusion_pytorch_model-{i + 1:05d}-of-{count:05d}.safetensors'
        save_file({k: sd[k].contiguous() for k in part}, os.path.join(folder, file), {'format': 'pt'})
        where.update(dict.fromkeys(part, file))
    total = sum(v.numel() * v.element_size() for v in sd.values())
    write_json(os.path.join(folder, 'diffusion_pytorch_model.safetensors.index.json'),
               {'metadata': {'total_size': total}, 'weight_map': dict(sorted(where.items()))})


def make_tokenizer(folder, other):
    """-> number of pieces. `other`: byte fallback, no character map, the older notation of Metaspace, and a vocabulary without any
    character above ASCII, so that whole prompts fall back to bytes."""
    with open(TOKENIZER, encoding='utf-8') as f:
        tokenizer = json.load(f)
    if other:
        model, first = tokenizer['model'], 4 + 256  # after <pad> </s> <s> <unk> and the byte pieces
        plain = [p for p in model['vocab'][first:] if not p[0].startswith('<extra_id_') and p[0].replace('▁', '').isascii()]
        sentinels = [p for p in model['vocab'] if p[0].startswith('<extra_id_')]
        # Every fifth longer piece goes too: words then split in other places than in the first vocabulary.
        plain = [p for i, p in enumerate(plain) if len(p[0]) < 3 or i % 5]
        model['vocab'] = model['vocab'][:first] + plain + sentinels
        model['byte_fallback'] = True
        place = {p[0]: i for i, p in enumerate(model['vocab'])}
        for token in tokenizer['added_tokens']:
            token['id'] = place[token['content']]
        tokenizer['normalizer'] = {'type': 'Sequence', 'normalizers': [
            {'type': 'Replace', 'pattern': {'Regex': ' {2,}'}, 'content': ' '}]}
        old = {'type': 'Metaspace', 'replacement': '▁', 'add_prefix_space': True, 'prepend_scheme': 'always'}
        tokenizer['pre_tokenizer'], tokenizer['decoder'] = old, dict(old)
    os.makedirs(folder, exist_ok=True)
    write_json(os.path.join(folder, 'tokenizer.json'), tokenizer)
    return len(tokenizer['model']['vocab'])


def make_common(g, folder, kind, dims):
    """Tokenizer, text encoder and VAE, which all tasks have; -> text width."""
    pieces = make_tokenizer(os.path.join(folder, 'google/umt5-xxl'), kind != 't2v')
    t5 = dims['t5']
    width = 16 * t5['heads']
    size = {4096: width, 10240: t5['ffn'], 64: t5['heads'], 256384: (pieces // 64 + 1) * 64}
    table = shapes('official_umt5_xxl_encoder', index_below(r'blocks\.(\d+)\.', t5['layers']), lambda d: size.get(d, d))
    sd = {k: weight(g, 't5', k, s).bfloat16() for k, s in table.items()}
    torch.save(collections.OrderedDict(sd), os.path.join(folder, 'models_t5_umt5-xxl-enc-bf16.pth'))

    table = shapes('official_wan2_1_vae', lambda k: True, lambda d: d // 96 * dims['vae'] if d % 96 == 0 else d)
    torch.save({k: weight(g, 'vae', k, s) for k, s in table.items()}, os.path.join(folder, 'Wan2.1_VAE.pth'))
    return width


def make_experts(g, folder, kind, dims, text_width):
    dim, in_dim = 128 * dims['heads'], 36 if kind == 'i2v' else 16
    size = {5120: dim, 30720: 6 * dim, 13824: dims['ffn'], 4096: text_width}
    table = shapes(f'official_dit_{kind}_a14b', index_below(r'blocks\.(\d+)\.', dims['layers']), lambda d: size.get(d, d))
    for expert in ('high_noise_model', 'low_noise_model'):
        d = os.path.join(folder, expert)
        os.makedirs(d, exist_ok=True)
        sd = {k: weight(g, 'dit', k, s) for k, s in table.items()}
        if (kind, expert) != ('i2v', 'high_noise_model'):  # that one is float32 throughout, as published; the others a user's conversion
            sd = {k: v.bfloat16() if v.ndim == 2 and k != 'head.head.weight' else v for k, v in sd.items()}
        save_shards(d, sd, 2)
        write_json(os.path.join(d, 'config.json'), {
            '_class_name': 'WanModel', '_diffusers_version': '0.33.0', 'dim': dim, 'eps': 1e-06, 'ffn_dim': dims['ffn'], 'freq_dim': 256,
            'in_dim': in_dim, 'model_type': kind, 'num_heads': dims['heads'], 'num_layers': dims['layers'], 'out_dim': 16, 'text_len': 512})


def make_wav2vec(g, folder):
    os.makedirs(folder, exist_ok=True)
    size = {1024: SPEECH['hidden'], 512: SPEECH['conv'], 4096: SPEECH['ffn'], 64: SPEECH['hidden'] // 16}
    table = shapes('wav2vec2_large_xlsr_53_english', lambda k: True, lambda d: size.get(d, d))
    save_file({k: weight(g, 'wav2vec', k, s) for k, s in table.items()}, os.path.join(folder, 'model.safetensors'), {'format': 'pt'})
    write_json(os.path.join(folder, 'config.json'), {
        'architectures': ['Wav2Vec2ForCTC'], 'model_type': 'wav2vec2', 'conv_bias': True, 'conv_dim': [SPEECH['conv']] * 7,
        'conv_kernel': [10, 3, 3, 3, 3, 2, 2], 'conv_stride': [5, 2, 2, 2, 2, 2, 2], 'do_stable_layer_norm': True,
        'feat_extract_activation': 'gelu', 'feat_extract_norm': 'layer', 'hidden_act': 'gelu', 'hidden_size': SPEECH['hidden'],
        'intermediate_size': SPEECH['ffn'], 'layer_norm_eps': 1e-05, 'num_attention_heads': SPEECH['heads'],
        'num_conv_pos_embedding_groups': 16, 'num_conv_pos_embeddings': 128, 'num_feat_extract_layers': 7, 'num_hidden_layers': 24,
        'vocab_size': 33})


def make_speech(g, folder, dims, text_width):
    dim, layers, inject = 128 * dims['heads'], dims['layers'], SPEECH['inject']
    size = {5120: dim, 30720: 6 * dim, 13824: dims['ffn'], 4096: text_width, 1024: SPEECH['hidden'], 10240: 2 * dim, 2560: dim // 2, 1280: dim // 4}
    block = index_below(r'blocks\.(\d+)\.', layers)
    injector = index_below(r'audio_injector\.\w+\.(\d+)\.', len(inject))
    table = shapes('s2v_14b', lambda k: block(k) and injector(k), lambda d: size.get(d, d))
    save_shards(folder, {k: weight(g, 's2v', k, s).bfloat16() for k, s in table.items()}, 4)
    write_json(os.path.join(folder, 'config.json'), {
        '_class_name': 'WanModel_S2V', 'adain_mode': 'attn_norm', 'add_last_motion': True, 'audio_dim': SPEECH['hidden'],
        'audio_inject_layers': inject, 'cond_dim': 16, 'dim': dim, 'enable_adain': True, 'enable_framepack': True, 'enable_motioner': False,
        'enable_tsm': False, 'eps': 1e-06, 'ffn_dim': dims['ffn'], 'framepack_drop_mode': 'padd', 'freq_dim': 256, 'in_dim': 16,
        'model_type': 's2v', 'motion_token_num': 1024, 'num_audio_token': 4, 'num_heads': dims['heads'], 'num_layers': layers, 'out_dim': 16,
        'text_len': 512, 'trainable_token_pos_emb': False, 'zero_init': True, 'zero_timestep': True})
    make_wav2vec(g, os.path.join(folder, WAV2VEC_FOLDER))


def make_checkpoint(g, out, kind, dims):
    """-> its folder, out/checkpoints/<official name>"""
    folder = os.path.join(out, 'checkpoints', FOLDERS[kind])
    os.makedirs(folder, exist_ok=True)
    text_width = make_common(g, folder, kind, dims)
    if kind == 's2v':
        make_speech(g, folder, dims, text_width)
    else:
        make_experts(g, folder, kind, dims, text_width)
    return folder
