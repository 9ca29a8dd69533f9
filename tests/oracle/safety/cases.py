"""cases.py OUT [NAME...] --diffusers FOLDER [--golden]: write the cases of the safety checkers' tests.

README.md says what is in them.
"""
import argparse
import json
import os

import torch
from safetensors.torch import save_file

import concepts
import networks
import pictures
import published
import weights

SIZES = ((40, 56), (75, 48), (20, 20), (37, 131))       # height and width of the pictures of small cases
EMBEDDINGS = 200
MARGIN = 5e-4            # of a difference from where it is rounded the other way, in thousandths; float32 is 1e-4 off
# How far the published code and this one, in float64, may be apart, in parts of the RMS: more is a difference in kind.
AGREE = 2e-4

VIT = dict(model_type='vit', hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, image_size=32,
           patch_size=8, hidden_act='gelu', layer_norm_eps=1e-12, num_channels=3, qkv_bias=True,
           id2label={'0': 'normal', '1': 'nsfw'}, label2id={'normal': 0, 'nsfw': 1})
VIT_INPUT = dict(do_normalize=True, do_rescale=True, do_resize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3,
                 image_processor_type='ViTImageProcessor', resample=2, rescale_factor=0.00392156862745098,
                 size=dict(height=32, width=32))
CLIP_VISION = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48, image_size=30,
                   patch_size=7, hidden_act='quick_gelu', layer_norm_eps=1e-3)
CLIP = dict(model_type='clip', projection_dim=24, vision_config=CLIP_VISION)
CLIP_INPUT = dict(crop_size=30, do_center_crop=True, do_convert_rgb=True, do_normalize=True, do_resize=True,
                  feature_extractor_type='CLIPFeatureExtractor', image_mean=[0.48145466, 0.4578275, 0.40821073],
                  image_std=[0.26862954, 0.26130258, 0.27577711], resample=3, size=34)


def with_(settings, **changes):
    return {**settings, **changes}


def entry(x, exact):
    """Of a computed tensor and its float64 partner. The limit is eight times what float32 rounding costs, and at least 4e-6
    of the RMS: a port adds in another order."""
    rms, error = x.double().square().mean().sqrt().item(), (x.double() - exact).abs().max().item()
    return dict(shape=list(x.shape), rms=rms, f32_vs_f64_max_abs=error, atol_fp32=float(f'{max(8 * error, 4e-6 * rms):.2e}'))


class Case:
    """OUT/NAME: the files of a checker in each published form, and case.safetensors with what it computes."""

    def __init__(self, folder, args):
        self.folder, self.args, self.files = folder, args, []
        os.makedirs(folder, exist_ok=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def json(self, name, value):
        with open(self.path(name), 'w', encoding='utf-8') as f:
            json.dump(value, f, indent=1)

    def weights(self, sd, extra, forms):
        """Writes `sd` as each of the files of `forms`."""
        for name in forms:
            stored = {**weights.renamed(sd), **weights.renamed(extra)} if '_5' in name else {**sd, **extra}
            if name.endswith('.safetensors'):
                save_file({k: v.contiguous().clone() for k, v in stored.items()}, self.path(name))
            else:
                torch.save(stored, self.path(name), _use_new_zipfile_serialization='legacy' not in name)
        self.files = list(forms)

    def finish(self, given, got, exact, about):
        """given: inputs. got: by the published code. exact: the same in float64, by this folder's."""
        tensors = {}
        for name, x in got.items():
            tensors[name] = entry(x, exact[name])
            if tensors[name]['f32_vs_f64_max_abs'] > AGREE * tensors[name]['rms']:
                raise SystemExit(f'{self.folder}: {name}: published and own code differ: {tensors[name]}')
        stored = {k: v.contiguous().clone() for k, v in {**given, **got}.items()}
        save_file(stored, self.path('case.safetensors'))
        name = os.path.basename(self.folder)
        self.json('case.json', dict(case=name, weights=self.files, computed_by='transformers 4.57.6, diffusers 0.35.2',
                                    command=f'cases.py OUT {name}', **about, tensors=tensors))
        worst = max((t['f32_vs_f64_max_abs'] / t['rms'], n) for n, t in tensors.items())
        print(f'{name}: {len(stored)} tensors, float32 error at most {worst[0]:.1e} of the RMS ({worst[1]}), '
              f'{about["said"]}', flush=True)

    def inputs(self, settings, sizes):
        self.json('preprocessor_config.json', settings)
        shown = [pictures.picture(*size, seed) for seed, size in enumerate(sizes)]
        pixels, resized = published.prepared(settings, shown)
        return {**{f'picture.{i}': p for i, p in enumerate(shown)}, 'resized': resized, 'pixels': pixels}


def in_float(sd):
    return {k: v.float() for k, v in sd.items()}


def vit_case(case, config, settings, sd, forms, sizes=SIZES):
    case.json('config.json', config)
    given = case.inputs(settings, sizes)
    nsfw = [i for i, label in enumerate(config['id2label'].values()) if label.lower() == 'nsfw'][0]
    if len(sizes) > 1:      # so that some pictures are on each side of a half
        logits = networks.vit(sd, config, given['pixels'])['logits']
        rest = logits[:, [i for i in range(logits.shape[1]) if i != nsfw]].logsumexp(1)
        sd['classifier.weight'][nsfw] *= 3
        sd['classifier.bias'][nsfw] += (rest - networks.vit(sd, config, given['pixels'])['logits'][:, nsfw]).mean()
    case.weights(sd, {}, forms)
    got, exact = published.vit(sd, config, given['pixels']), networks.vit(sd, config, given['pixels'].double())
    for values in (got, exact):
        values['score'] = torch.softmax(values['logits'], 1)[:, nsfw].contiguous()
    said = ', '.join(f'{x:.3f}' for x in got['score'].tolist())
    case.finish(given, got, exact, dict(kind='classifier', said=said))


def random_embeds(sd):
    """Each at cosines near the thresholds of one concept and one of special care, random otherwise; none where the last bit of
    a cosine decides how a difference is rounded."""
    g, count = torch.Generator().manual_seed(7), 2 * EMBEDDINGS
    chosen, aims = [], []
    for name, spread in (('concept_embeds', 0.01), ('special_care_embeds', 0.02)):
        which = torch.randint(0, len(sd[name]), (count,), generator=g)
        chosen.append(concepts.unit(sd[name].double())[which])
        aims.append(sd[name + '_weights'].double()[which] + spread * torch.randn(count, generator=g))
    plane, aims = torch.stack(chosen, 1), torch.stack(aims, 1)[:, None]     # [n, 2, width], [n, 1, 2]
    inside = (aims @ torch.linalg.inv(plane @ plane.transpose(1, 2)) @ plane)[:, 0]
    other = torch.randn(inside.shape, generator=g).double()
    other -= (other[:, None] @ torch.linalg.pinv(plane) @ plane)[:, 0]
    rest = (1 - inside.square().sum(1, keepdim=True)).clamp_min(0).sqrt()
    embeds = (inside + rest * concepts.unit(other)).float() * (1 + torch.rand(count, 1, generator=g))
    return embeds[concepts.margin(sd, embeds) > MARGIN][:EMBEDDINGS].contiguous()


def clip_case(case, config, settings, sd, forms, sizes=SIZES, positions=True):
    case.json('config.json', config)
    given = case.inputs(settings, sizes)
    vision = config['vision_config']
    sd.update(weights.concepts_for(networks.clip(in_float(sd), vision, given['pixels'])['embeds'], 5))
    if any(x.dtype == torch.float16 for x in sd.values()):
        sd = {k: v.half() for k, v in sd.items()}
    count = sd['vision_model.vision_model.embeddings.position_embedding.weight'].shape[0]
    extra = {'vision_model.vision_model.embeddings.position_ids': torch.arange(count)[None]} if positions else {}
    case.weights(sd, extra, forms)
    sd = in_float(sd)
    network = published.safety_checker(case.args.checker, sd, config)
    got, exact = published.clip(network, given['pixels']), networks.clip(sd, vision, given['pixels'].double())
    given['random.embeds'] = random_embeds(sd)
    for name, embeds in (('', got['embeds']), ('random.', given['random.embeds'])):
        special, scores, flagged = concepts.decide(sd, embeds)
        theirs = published.flagged_embeds(network, embeds) if name else published.flagged(network, given['pixels'])
        if not torch.equal(flagged, theirs):
            raise SystemExit(f'{case.folder}: {name}verdicts differ from the published class: {flagged} {theirs}')
        if concepts.margin(sd, embeds).min() < MARGIN:
            raise SystemExit(f'{case.folder}: {name}a difference lies where rounding decides; take another seed')
        given.update({name + 'special': special, name + 'concepts': scores, name + 'flagged': flagged.to(torch.uint8)})
    flagged, care = given['random.flagged'], (given['random.special'] > 0).any(1)
    only = care & (given['random.concepts'].amax(1) > 0) & (given['random.concepts'].amax(1) <= 10)
    said = (f'pictures flagged {given["flagged"].tolist()}, embeddings flagged {int(flagged.sum())} of {len(flagged)}, '
            f'with special care {int(care.sum())}, by it alone {int(only.sum())}')
    if not 0 < int(flagged.sum()) < len(flagged) or not int(only.sum()):
        raise SystemExit(f'{case.folder}: verdicts do not tell anything: {said}')
    case.finish(given, got, exact, dict(kind='concepts', said=said))


FORMS = ('model.safetensors', 'pytorch_model.bin', 'legacy.bin', 'model_5.safetensors', 'torch_5.bin')
FULL = ((480, 832),)


def vit_small(case):
    vit_case(case, VIT, VIT_INPUT, weights.filled(weights.vit_shapes(VIT, 2), 1),
             FORMS[:1] if case.args.golden else FORMS)


def clip_small(case):
    clip_case(case, CLIP, CLIP_INPUT, weights.filled(weights.clip_shapes(CLIP_VISION, 24), 2),
              FORMS[1:2] if case.args.golden else FORMS)


def vit_other(case):
    """Everything another way that a config may have it: three labels, quick GELU, wide epsilon, Lanczos, odd patches."""
    config = with_(VIT, hidden_size=48, num_attention_heads=3, image_size=37, patch_size=6, hidden_act='quick_gelu',
                   layer_norm_eps=1e-2, id2label={'0': 'NSFW', '1': 'sfw', '2': 'drawing'},
                   label2id={'NSFW': 0, 'sfw': 1, 'drawing': 2})
    settings = with_(VIT_INPUT, resample=1, size=37, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.25],
                     image_processor_type='ViTFeatureExtractor')
    vit_case(case, config, settings, weights.filled(weights.vit_shapes(config, 3), 3), FORMS[:1])


def clip_other(case):
    """GELU, bilinear, sizes as newer files have them, and weights in half."""
    vision = with_(CLIP_VISION, hidden_act='gelu', layer_norm_eps=1e-5, image_size=28, num_hidden_layers=2)
    config = with_(CLIP, projection_dim=40, vision_config=vision)
    settings = with_(CLIP_INPUT, crop_size=dict(height=28, width=28), size=dict(shortest_edge=28), resample=2,
                     do_rescale=True, rescale_factor=1 / 255, image_processor_type='CLIPImageProcessor')
    del settings['feature_extractor_type']
    sd = {k: v.half() for k, v in weights.filled(weights.clip_shapes(vision, 40), 4).items()}
    clip_case(case, config, settings, sd, FORMS[:2], positions=False)


def vit_b16(case):
    """The published size."""
    config = with_(VIT, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, image_size=224,
                   patch_size=16)
    vit_case(case, config, with_(VIT_INPUT, size=dict(height=224, width=224)),
             weights.pooled(weights.vit_shapes(config, 2), 11), FORMS[1:2], FULL)


def clip_l14(case):
    """The published size."""
    vision = with_(CLIP_VISION, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
                   image_size=224, patch_size=14, layer_norm_eps=1e-5)
    config = with_(CLIP, projection_dim=768, vision_config=vision)
    clip_case(case, config, with_(CLIP_INPUT, crop_size=224, size=224), weights.pooled(weights.clip_shapes(vision, 768), 12),
              FORMS[1:2], FULL)


GOLDEN = dict(vit_small=vit_small, clip_small=clip_small)
CASES = dict(**GOLDEN, vit_other=vit_other, clip_other=clip_other, vit_b16=vit_b16, clip_l14=clip_l14)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('out'), ap.add_argument('names', nargs='*')
    ap.add_argument('--diffusers', required=True), ap.add_argument('--golden', action='store_true')
    args = ap.parse_args()
    torch.set_grad_enabled(False)
    known = GOLDEN if args.golden else CASES
    unknown = set(args.names) - set(known)
    if unknown:
        raise SystemExit(f'no such case: {sorted(unknown)}; there are {list(known)}')
    args.checker = published.checker_class(args.diffusers)
    for name in args.names or known:
        known[name](Case(os.path.join(args.out, name), args))


if __name__ == '__main__':
    main()
