"""Random weights from a seed, with the published names.

Last layers are scaled so that each stage moves its flow by some pixels: flows of a random network would be far below a
pixel or beyond the picture, and errors in warping would go unseen.
"""
import torch
import torch.nn.functional as F

import film
import rife
from pictures import moving

STEPS = (6.0, 3.0, 1.5, 0.8, 0.4)   # RMS of what a RIFE stage adds to the flow, in pixels
SIZE = 128                          # side of the pictures that they are scaled on


def filled(shapes, seed):
    """He's normal for kernels, most of which a leaky ReLU follows; small biases; slopes and betas of mixed sizes."""
    g = torch.Generator().manual_seed(seed)
    out = {}
    for name, shape in shapes.items():
        x = torch.randn(shape, generator=g)
        if name.endswith('.beta'):
            x = 0.3 + 0.2 * x
        elif name.endswith('.weight') and len(shape) == 1:
            x = 0.2 + 0.1 * x
        elif len(shape) == 1:
            x = 0.05 * x
        else:
            taps = shape[2] * shape[3]
            x = x * (2 / (shape[0] * taps / 4 if taps == 16 else shape[1] * taps)) ** 0.5
        out[name] = x
    return out


def layer(name, outputs, inputs, size=3, slope=False):
    """A convolution, or a transposed one of size 4."""
    kernel = (inputs, outputs, 4, 4) if size == 4 else (outputs, inputs, size, size)
    shapes = {name + '.weight': kernel, name + '.bias': (outputs,)}
    if slope:
        shapes[name[:-1] + '1.weight'] = (outputs,)
    return shapes


def block_shapes(p, version, inputs, c):
    prelu = not version.residual
    out = {**layer(p + 'conv0.0.0', c // 2, inputs, slope=prelu), **layer(p + 'conv0.1.0', c, c // 2, slope=prelu)}
    for k in range(8):
        q = f'{p}convblock.{k}.'
        if prelu:
            out.update(layer(q + '0', c, c, slope=True))
        else:
            out.update({q + 'beta': (1, c, 1, 1), **layer(q + 'conv', c, c)})
    if prelu:
        return {**out, **layer(p + 'lastconv', 5, c, 4)}
    return {**out, **layer(p + 'lastconv.0', 4 * (5 + (version.carried or 1)), c, 4)}


def refiner_shapes():
    """contextnet and unet of 4.0."""
    out, c = {}, 16
    for kind, widths in (('contextnet.conv', ((3, c), (c, 2 * c), (2 * c, 4 * c), (4 * c, 8 * c))),
                         ('unet.down', ((17, 2 * c), (4 * c, 4 * c), (8 * c, 8 * c), (16 * c, 16 * c)))):
        for i, (inputs, outputs) in enumerate(widths):
            p = f'{kind}{i + (kind[0] == "c")}.'
            out.update(layer(p + 'conv1.0', outputs, inputs, slope=True))
            out.update(layer(p + 'conv2.0', outputs, outputs, slope=True))
    for i, (inputs, outputs) in enumerate(((32 * c, 8 * c), (16 * c, 4 * c), (8 * c, 2 * c), (4 * c, c))):
        out.update(layer(f'unet.up{i}.0', outputs, inputs, 4, slope=True))
    return {**out, **layer('unet.conv', 3, c)}


def rife_shapes(name, divisor=1):
    version = rife.VERSIONS[name]
    out, seen = {}, 6 + 2 * version.features + 1
    for i, width in enumerate(version.widths):
        inputs = seen if i == 0 else seen + 1 + version.carried + 4
        out.update(block_shapes(f'block{i}.', version, inputs, width // divisor))
    if version.deep_head:
        h = version.head
        out.update({**layer('encode.cnn0', h, 3), **layer('encode.cnn1', h, h), **layer('encode.cnn2', h, h),
                    **layer('encode.cnn3', version.features, h, 4)})
    elif version.head:
        out.update({**layer('encode.0', version.head, 3), **layer('encode.1', version.features, version.head, 4)})
    return {**out, **(refiner_shapes() if name == '4.0' else {})}


def rescale(sd, key, channels, factor):
    """Multiplies some output channels of a transposed convolution."""
    sd[key + '.weight'][:, channels] *= factor
    sd[key + '.bias'][channels] *= factor


def rife_weights(name, seed, divisor=1, steps=STEPS):
    version = rife.VERSIONS[name]
    sd = filled(rife_shapes(name, divisor), seed)
    per = 4 if version.residual else 1      # channels that the shuffle makes one of
    rms = lambda x: x.square().mean().sqrt().item()
    for i in range(len(version.widths)):
        seen = {}
        rife.interpolate(sd, name, *moving(SIZE, SIZE), 0.5, rec=seen.__setitem__)
        key = f'block{i}.lastconv' + ('.0' if version.residual else '')
        before = lambda kind: seen[f'stage{i - 1}.{kind}'] if i else 0
        rescale(sd, key, slice(0, 4 * per), steps[i] / rms(seen[f'stage{i}.flow'] - before('flow')))
        mask = seen[f'stage{i}.mask'] - (before('mask') if version.adds_mask else 0)
        rescale(sd, key, slice(4 * per, 5 * per), 1.5 / rms(mask))
        if version.carried:
            rescale(sd, key, slice(5 * per, None), 1 / rms(seen[f'stage{i}.carried']))
    return sd


def surplus(name, seed):
    """What published files hold beyond the network: the teacher's block, and a network that guesses the time."""
    version = rife.VERSIONS[name]
    c, inputs = 8, 6 + 1 + 3 + 1 + 4 + 2 * version.features + version.carried
    if name == '4.0':
        return filled(block_shapes('block_tea.', version, inputs + 6, c), seed)
    caltime = layer('caltime.0', 8, 9 + 2 * version.features)
    return filled({**block_shapes('teacher.', version, inputs, c), **caltime}, seed)


def film_network(seed, filters=64, flow_widths=(32, 64, 128, 256)):
    net = film.Film(filters, flow_widths).eval()
    net.load_state_dict(filled({k: tuple(v.shape) for k, v in net.state_dict().items()}, seed))
    rms = lambda xs: sum(x.square().mean().item() for x in xs) ** 0.5 / len(xs) ** 0.5
    sides = film.frame(SIZE, SIZE)
    pair = [F.pad(x, sides) for x in moving(SIZE, SIZE)]
    flow = net.predict_flow
    for estimator, levels, pixels in ((flow._predictor, slice(3, None), 0.1),
                                      *((e, slice(2 - k, 3 - k), 0.5) for k, e in enumerate(flow._predictors))):
        seen = net.stages(*pair, torch.full((1, 1), 0.5))
        last = estimator._convs[-1][0]
        factor = pixels / rms(seen['forward_residual'][levels])
        last.weight.mul_(factor), last.bias.mul_(factor)
    # The picture: around a mid grey, mostly between 0 and 1, so that the clamp acts on a few pixels.
    out = net.fuse.output_conv
    raw = net.stages(*pair, torch.full((1, 1), 0.5))['raw'][0]
    factor = 0.25 / raw.std().item()
    out.weight.mul_(factor), out.bias.copy_(0.5 + (out.bias - raw.mean((0, 2, 3))) * factor)
    return net
