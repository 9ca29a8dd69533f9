"""Random weights from a seed, with the published names and shapes."""
import torch


def vit_shapes(c, labels):
    d, inner, p = c['hidden_size'], c['intermediate_size'], c['patch_size']
    tokens = (c['image_size'] // p) ** 2 + 1
    out = {'vit.embeddings.cls_token': (1, 1, d), 'vit.embeddings.position_embeddings': (1, tokens, d)}
    linear = lambda name, o, i: out.update({name + '.weight': (o, i), name + '.bias': (o,)})
    norm = lambda name: out.update({name + '.weight': (d,), name + '.bias': (d,)})
    out.update({'vit.embeddings.patch_embeddings.projection.weight': (d, 3, p, p),
                'vit.embeddings.patch_embeddings.projection.bias': (d,)})
    for i in range(c['num_hidden_layers']):
        at = f'vit.encoder.layer.{i}.'
        for name in ('query', 'key', 'value'):
            linear(f'{at}attention.attention.{name}', d, d)
        linear(at + 'attention.output.dense', d, d)
        linear(at + 'intermediate.dense', inner, d), linear(at + 'output.dense', d, inner)
        norm(at + 'layernorm_before'), norm(at + 'layernorm_after')
    norm('vit.layernorm'), linear('classifier', labels, d)
    return out


def clip_shapes(c, projection):
    d, inner, p = c['hidden_size'], c['intermediate_size'], c['patch_size']
    tokens, root = (c['image_size'] // p) ** 2 + 1, 'vision_model.vision_model.'
    out = {root + 'embeddings.class_embedding': (d,), root + 'embeddings.patch_embedding.weight': (d, 3, p, p),
           root + 'embeddings.position_embedding.weight': (tokens, d), 'visual_projection.weight': (projection, d)}
    linear = lambda name, o, i: out.update({name + '.weight': (o, i), name + '.bias': (o,)})
    norm = lambda name: out.update({name + '.weight': (d,), name + '.bias': (d,)})
    for i in range(c['num_hidden_layers']):
        at = f'{root}encoder.layers.{i}.'
        for name in ('k_proj', 'v_proj', 'q_proj', 'out_proj'):
            linear(f'{at}self_attn.{name}', d, d)
        linear(at + 'mlp.fc1', inner, d), linear(at + 'mlp.fc2', d, inner)
        norm(at + 'layer_norm1'), norm(at + 'layer_norm2')
    norm(root + 'pre_layrnorm'), norm(root + 'post_layernorm')
    return out


def is_norm(name):
    return name.endswith('.weight') and 'norm' in name.split('.')[-2]


def filled(shapes, seed):
    """Each by itself: matrices keep the size of their input, queries and keys more, so that attention is uneven."""
    g, out = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes.items():
        x = torch.randn(shape, generator=g)
        if is_norm(name):
            x = 1 + 0.2 * x
        elif name.endswith('.bias'):
            x = 0.1 * x
        elif 'embed' in name and 'patch' not in name:
            x = 0.5 * x
        else:
            x = x * (1.5 if name.split('.')[-2] in ('query', 'key', 'q_proj', 'k_proj') else 1.0) / x[0].numel() ** 0.5
        out[name] = x
    return out


def pooled(shapes, seed, values=12_000_000):
    """Full size in a small file: each tensor is another part of one stretch of random numbers (norms of a second one that is
    near 1), which a torch archive holds once."""
    g = torch.Generator().manual_seed(seed)
    common = 0.03 * torch.randn(values, generator=g)
    near_one = 1 + 0.2 * torch.randn(100_000, generator=g)
    out = {}
    for name, shape in shapes.items():
        pool, count = near_one if is_norm(name) else common, torch.Size(shape).numel()
        start = int(torch.randint(0, len(pool) - count, (), generator=g))
        out[name] = pool[start:start + count].view(shape)
    return out


def concepts_for(embeds, seed):
    """Concepts around the embeddings of some pictures, and thresholds by which pictures differ: most lie above the cosines of
    all; one concept, and one of special care, is shown by the nearest picture alone, and one concept by what the latter adds."""
    g = torch.Generator().manual_seed(seed)
    unit = lambda x: x / x.norm(dim=1, keepdim=True)
    out, cosines = {}, {}
    nearest = {'concept_embeds': {2: 0, 6: -1}, 'special_care_embeds': {1: -1}}     # to which picture some are, closely
    for name, count in (('concept_embeds', 17), ('special_care_embeds', 3)):
        which = torch.randint(0, len(embeds), (count,), generator=g)
        noise = torch.randn(count, embeds.shape[1], generator=g)
        for i, picture in nearest[name].items():
            which[i] = picture % len(embeds)
            noise[i] *= 0.5
        out[name] = unit(embeds[which]) * embeds.shape[1] ** 0.5 + noise
        cosines[name] = unit(embeds) @ unit(out[name]).T
        out[name + '_weights'] = cosines[name].amax(0) + 0.012 + 0.04 * torch.rand(count, generator=g)
    if len(embeds) > 1:
        for name, i in (('concept_embeds', 2), ('special_care_embeds', 1)):
            out[name + '_weights'][i] = cosines[name][:, i].topk(2)[0].mean()
        out['concept_embeds_weights'][6] = cosines['concept_embeds'][-1, 6] + 0.005
    return out


def renamed(sd):
    """As transformers 5 has them in memory, and diffusers' file of the safety checker with it."""
    def new(name):
        for old, new in (('vit.encoder.layer.', 'vit.layers.'), ('attention.attention.query', 'attention.q_proj'),
                         ('attention.attention.key', 'attention.k_proj'), ('attention.attention.value', 'attention.v_proj'),
                         ('attention.output.dense', 'attention.o_proj'), ('intermediate.dense', 'mlp.fc1'),
                         ('.output.dense', '.mlp.fc2'), ('vision_model.vision_model.', 'vision_model.')):
            name = name.replace(old, new)
        return name
    return {new(k): v for k, v in sd.items()}
