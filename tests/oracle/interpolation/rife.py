"""RIFE 4 on the state dict (bare names): flows from two pictures to the one between them, and a mask that blends them.

Pictures are [1,3,H,W] in [0,1]. A flow has four channels: x, y into the first picture, x, y into the second, in pixels.
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Version:
    """One architecture. `features` is how many channels the head makes of a picture, `head` its inner width."""
    widths: tuple
    scales: tuple = (8, 4, 2, 1)
    residual: bool = True           # blocks of ResConv and a pixel shuffle; 4.0 has plain convolutions with PReLU
    head: int = 0
    features: int = 0
    deep_head: bool = False         # encode.cnn0 to cnn3, else encode.0 and encode.1
    carried: int = 0                # feature channels that a block hands to the next
    adds_mask: bool = False         # a block's mask is added to the one before; else it replaces it


FOUR = (192, 128, 96, 64)
DEEP = dict(head=32, features=8, deep_head=True)
FIVE = Version((*FOUR, 32), (16, 8, 4, 2, 1), head=16, features=4, deep_head=True, carried=8)
VERSIONS = {
    '4.0': Version(FOUR, residual=False, adds_mask=True),
    '4.6': Version(FOUR, adds_mask=True),
    '4.7': Version(FOUR, head=16, features=4),                  # also 4.8, 4.9
    '4.13': Version(FOUR, **DEEP),                              # also 4.14 to 4.19, 4.24
    '4.20': Version((384, 192, 96, 48), **DEEP),
    '4.25': FIVE,
    '4.26': FIVE,
}
RESTART = 32                        # pixels: above them at stage 1, 4.0 starts again at twice the scales


def align(scale=1.0):
    """The authors' rule: sides are padded to a multiple of this."""
    return max(128, int(128 / scale))


def pad(picture, scale=1.0):
    """Zeros on the right and at the bottom."""
    to = align(scale)
    h, w = picture.shape[-2:]
    return F.pad(picture, (0, -w % to, 0, -h % to))


def warp(picture, flow):
    """Reads the picture at each pixel's place plus its flow [N,2,H,W]; beyond the border its nearest pixel."""
    h, w = flow.shape[-2:]
    rows = torch.linspace(-1, 1, h, dtype=flow.dtype).view(1, h, 1).expand(1, h, w)
    columns = torch.linspace(-1, 1, w, dtype=flow.dtype).view(1, 1, w).expand(1, h, w)
    x = columns + flow[:, 0] / ((w - 1) / 2)
    y = rows + flow[:, 1] / ((h - 1) / 2)
    return F.grid_sample(picture, torch.stack((x, y), -1), 'bilinear', 'border', align_corners=True)


def resize(x, factor):
    return F.interpolate(x, scale_factor=factor, mode='bilinear', align_corners=False)


def conv(sd, name, x, stride=1):
    return F.conv2d(x, sd[name + '.weight'], sd[name + '.bias'], stride=stride, padding=1)


def transposed(sd, name, x):
    return F.conv_transpose2d(x, sd[name + '.weight'], sd[name + '.bias'], stride=2, padding=1)


def active(sd, name, x, stride=1, layer=conv):
    """A Sequential of a layer (`.0`) and its activation: PReLU where the file has its slope (`.1.weight`)."""
    x = layer(sd, name + '.0', x, stride) if layer is conv else layer(sd, name + '.0', x)
    return F.prelu(x, sd[name + '.1.weight']) if name + '.1.weight' in sd else F.leaky_relu(x, 0.2)


def encode(sd, version, picture):
    if not version.deep_head:
        return transposed(sd, 'encode.1', conv(sd, 'encode.0', picture, 2))
    x = F.leaky_relu(conv(sd, 'encode.cnn0', picture, 2), 0.2)
    for name in ('encode.cnn1', 'encode.cnn2'):
        x = F.leaky_relu(conv(sd, name, x), 0.2)
    return transposed(sd, 'encode.cnn3', x)


def block(sd, i, version, x, flow, scale):
    """-> increment of the flow, mask, carried features, all of the size of x."""
    p = f'block{i}.'
    x = resize(x, 1 / scale)
    if flow is not None:
        x = torch.cat((x, resize(flow, 1 / scale) / scale), 1)
    x = active(sd, p + 'conv0.1', active(sd, p + 'conv0.0', x, 2), 2)
    y = x
    for k in range(8):
        q = f'{p}convblock.{k}'
        y = F.leaky_relu(conv(sd, q + '.conv', y) * sd[q + '.beta'] + y, 0.2) if version.residual else active(sd, q, y)
    if version.residual:
        out, up = F.pixel_shuffle(transposed(sd, p + 'lastconv.0', y), 2), scale
    else:
        out, up = transposed(sd, p + 'lastconv', y + x), scale * 2
    out = resize(out, up)
    return out[:, :4] * up, out[:, 4:5], out[:, 5:5 + version.carried]


def context(sd, picture, flow):
    """The picture's features at halves of its size down to a sixteenth, each warped by the flow."""
    levels = []
    for i in range(1, 5):
        picture = active(sd, f'contextnet.conv{i}.conv2', active(sd, f'contextnet.conv{i}.conv1', picture, 2))
        flow = resize(flow, 0.5) * 0.5
        levels.append(warp(picture, flow))
    return levels


def refine(sd, first, second, warped, mask, flow):
    """4.0's unet -> what is added to the blended picture. The mask is the one before the sigmoid."""
    c0, c1 = context(sd, first, flow[:, :2]), context(sd, second, flow[:, 2:])
    x, skips = torch.cat((first, second, *warped, mask, flow), 1), []
    for i in range(4):
        p = f'unet.down{i}.'
        x = active(sd, p + 'conv2', active(sd, p + 'conv1', x, 2))
        skips.append(x)
        x = torch.cat((x, c0[i], c1[i]), 1)
    for i in range(4):
        x = active(sd, f'unet.up{i}', x, layer=transposed)
        if i < 3:
            x = torch.cat((x, skips[2 - i]), 1)
    return torch.sigmoid(conv(sd, 'unet.conv', x)) * 2 - 1


def interpolate(sd, name, first, second, time, scale=1.0, rec=lambda name, x: None):
    """The picture at `time` in (0,1) between two, in their dtype. `rec` gets each value of the README."""
    version = VERSIONS[name]
    h, w = first.shape[-2:]
    a, b = pad(first, scale), pad(second, scale)
    scales = [s / scale for s in version.scales]
    plane = torch.full_like(a[:, :1], time)
    heads = ()
    if version.head:
        heads = encode(sd, version, a), encode(sd, version, b)
        rec('head0', heads[0]), rec('head1', heads[1])

    def seen(flow):
        """Both pictures and their heads, as the flow shows them."""
        if flow is None:
            return (a, b, *heads)
        halves = flow[:, :2], flow[:, 2:]
        return tuple(warp(x, halves[k % 2]) for k, x in enumerate((a, b, *heads)))

    flow = mask = None
    carried = a[:, :0]
    views = seen(None)
    for i in range(len(version.widths)):
        given = lambda: torch.cat((*views, plane, *(() if mask is None else (mask, carried))), 1)
        step, new_mask, carried = block(sd, i, version, given(), flow, scales[i])
        if name == '4.0' and i == 1 and all(half.abs().max() > RESTART for half in step.chunk(2, 1)):
            scales = [s * 2 for s in scales]
            views = seen(None)
            flow, mask, _ = block(sd, 0, version, torch.cat((*views, plane), 1), None, scales[0])
            rec('restart.flow', flow), rec('restart.mask', mask)
            views = seen(flow)
            step, new_mask, _ = block(sd, 1, version, given(), flow, scales[1])
        flow = step if flow is None else flow + step
        mask = mask + new_mask if mask is not None and version.adds_mask else new_mask
        rec(f'stage{i}.flow', flow), rec(f'stage{i}.mask', mask)
        if version.carried:
            rec(f'stage{i}.carried', carried)
        views = seen(flow)
    blend = torch.sigmoid(mask)
    result = views[0] * blend + views[1] * (1 - blend)
    rec('mask', blend), rec('warped0', views[0]), rec('warped1', views[1])
    if name == '4.0':
        added = refine(sd, a, b, views[:2], mask, flow)
        rec('refined', (result + added).clamp(0, 1)[..., :h, :w])
    result = result[..., :h, :w]
    rec('result', result)
    return result
