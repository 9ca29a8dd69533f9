"""What the published code computes: transformers' networks and image processors, and the safety checker's own class out of the
package diffusers, loaded past that package's __init__."""
import importlib.util
import logging
import os
import sys
import types

import torch
from transformers import (CLIPConfig, CLIPImageProcessor, CLIPVisionConfig, ViTConfig, ViTForImageClassification,
                          ViTImageProcessor)


def checker_class(diffusers):
    """StableDiffusionSafetyChecker out of the folder in which diffusers/ lies."""
    for name in ('published', 'published.pipelines', 'published.pipelines.stable_diffusion', 'published.utils'):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = []
    sys.modules['published.utils'].logging = types.SimpleNamespace(get_logger=logging.getLogger)
    logging.getLogger('published').setLevel(logging.ERROR)
    path = os.path.join(diffusers, 'diffusers/pipelines/stable_diffusion/safety_checker.py')
    spec = importlib.util.spec_from_file_location('published.pipelines.stable_diffusion.safety_checker', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.StableDiffusionSafetyChecker


def given(network, sd):
    """The network with these very tensors, built without memory of its own."""
    network.load_state_dict(sd, strict=True, assign=True)
    return network.eval()


def vit(sd, config, pixels):
    with torch.device('meta'):
        network = ViTForImageClassification(ViTConfig(**config, attn_implementation='eager'))
    got = given(network, sd)(pixels, output_hidden_states=True)
    return {**{f'hidden.{i}': h for i, h in enumerate(got.hidden_states)}, 'logits': got.logits}


def safety_checker(cls, sd, config):
    settings = CLIPConfig(projection_dim=config['projection_dim'], vision_config=config['vision_config'])
    settings.vision_config._attn_implementation = 'eager'
    with torch.device('meta'):
        network = cls(settings)
    network = given(network, sd)
    positions = sd['vision_model.vision_model.embeddings.position_embedding.weight'].shape[0]
    network.vision_model.vision_model.embeddings.position_ids = torch.arange(positions)[None]
    return network


def clip(network, pixels):
    got = network.vision_model(pixels, output_hidden_states=True)
    return {**{f'hidden.{i}': h for i, h in enumerate(got.hidden_states)}, 'embeds': network.visual_projection(got[1])}


def flagged(network, pixels):
    """The class's own verdict on each picture."""
    return torch.tensor(network(pixels, [torch.zeros(1)] * len(pixels))[1])


def flagged_embeds(network, embeds):
    """The same on embeddings: encoder and projection give what they get."""
    parts = network.vision_model, network.visual_projection
    network.vision_model, network.visual_projection = Given(), torch.nn.Identity()
    result = flagged(network, embeds)
    network.vision_model, network.visual_projection = parts
    return result


class Given(torch.nn.Module):
    def forward(self, embeds):
        return None, embeds


def processor(settings):
    kinds = {'ViT': ViTImageProcessor, 'CLIP': CLIPImageProcessor}
    named = settings.get('image_processor_type') or settings['feature_extractor_type']
    kind = kinds['CLIP' if named.startswith('CLIP') else 'ViT']
    return kind(**{k: v for k, v in settings.items() if not k.endswith('_type')})


def prepared(settings, pictures):
    """-> pixels [n, 3, S, S] float32, and the resized pictures, uint8 [n, S, S, 3]."""
    whole = processor(settings)
    arrays = [p.numpy() for p in pictures]
    pixels = whole(arrays, return_tensors='pt')['pixel_values']
    resized = whole(arrays, return_tensors='pt', do_rescale=False, do_normalize=False)['pixel_values']
    return pixels, resized.permute(0, 2, 3, 1).to(torch.uint8).contiguous()
