"""The two networks on their state dicts, in whatever dtype the pixels have: ViT as an image classifier, and CLIP's picture
encoder with its projection. Names as transformers 4 has them."""
import math

import torch
import torch.nn.functional as F

GELU = {'gelu': lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))), 'quick_gelu': lambda x: x / (1 + torch.exp(-1.702 * x))}


class Encoder:
    """root: what all names begin with; words: the names of a layer's parts."""

    def __init__(self, sd, root, layers, words, config):
        self.sd, self.root, self.layers, self.words, self.config = sd, root, layers, words, config

    def get(self, name, dtype):
        return self.sd[self.root + name].to(dtype)

    def norm(self, x, name):
        mean = x.mean(-1, keepdim=True)
        spread = (x - mean).square().mean(-1, keepdim=True)
        y = (x - mean) / torch.sqrt(spread + self.config['layer_norm_eps'])
        return y * self.get(name + '.weight', x.dtype) + self.get(name + '.bias', x.dtype)

    def linear(self, x, name):
        return x @ self.get(name + '.weight', x.dtype).T + self.get(name + '.bias', x.dtype)

    def layer(self, h, i):
        w = {k: f'{self.layers}.{i}.{v}' for k, v in self.words.items()}
        x = self.norm(h, w['norm_before'])
        heads = self.config['num_attention_heads']
        q, k, v = (self.linear(x, w[name]).unflatten(-1, (heads, -1)).transpose(1, 2) for name in ('query', 'key', 'value'))
        weights = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]), -1)
        h = h + self.linear((weights @ v).transpose(1, 2).flatten(2), w['out'])
        x = self.linear(self.norm(h, w['norm_after']), w['first'])
        return h + self.linear(GELU[self.config['hidden_act']](x), w['second'])

    def tokens(self, pixels, class_token, position, patch, bias=None):
        kernel = self.get(patch, pixels.dtype)
        x = F.conv2d(pixels, kernel, None if bias is None else self.get(bias, pixels.dtype), stride=kernel.shape[-1])
        x = x.flatten(2).transpose(1, 2)
        first = self.get(class_token, x.dtype).reshape(1, 1, -1).expand(len(x), -1, -1)
        return torch.cat((first, x), 1) + self.get(position, x.dtype).reshape(1, x.shape[1] + 1, -1)

    def run(self, h):
        """-> every hidden state: h, and the output of each layer."""
        states = [h]
        for i in range(self.config['num_hidden_layers']):
            states.append(self.layer(states[-1], i))
        return states


VIT_WORDS = dict(query='attention.attention.query', key='attention.attention.key', value='attention.attention.value',
                 out='attention.output.dense', norm_before='layernorm_before', norm_after='layernorm_after',
                 first='intermediate.dense', second='output.dense')
CLIP_WORDS = dict(query='self_attn.q_proj', key='self_attn.k_proj', value='self_attn.v_proj', out='self_attn.out_proj',
                  norm_before='layer_norm1', norm_after='layer_norm2', first='mlp.fc1', second='mlp.fc2')


def vit(sd, config, pixels):
    """-> {hidden.0, ..., logits}"""
    e = Encoder(sd, 'vit.', 'encoder.layer', VIT_WORDS, config)
    states = e.run(e.tokens(pixels, 'embeddings.cls_token', 'embeddings.position_embeddings',
                            'embeddings.patch_embeddings.projection.weight', 'embeddings.patch_embeddings.projection.bias'))
    pooled = e.norm(states[-1][:, 0], 'layernorm')
    e.root = ''
    return {**{f'hidden.{i}': h for i, h in enumerate(states)}, 'logits': e.linear(pooled, 'classifier')}


def clip(sd, config, pixels):
    """config: of the picture encoder -> {hidden.0, ..., embeds}"""
    e = Encoder(sd, 'vision_model.vision_model.', 'encoder.layers', CLIP_WORDS, config)
    first = e.tokens(pixels, 'embeddings.class_embedding', 'embeddings.position_embedding.weight',
                     'embeddings.patch_embedding.weight')
    states = e.run(e.norm(first, 'pre_layrnorm'))
    pooled = e.norm(states[-1][:, 0], 'post_layernorm')
    return {**{f'hidden.{i}': h for i, h in enumerate(states)}, 'embeds': pooled @ sd['visual_projection.weight'].to(pixels.dtype).T}
