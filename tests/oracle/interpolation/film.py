"""FILM as modules that torch.jit.script takes, with the tensor names of the published TorchScript archive.

A pyramid is a list of tensors, finest first. Flows are x, y in pixels of their level.
"""
from collections import OrderedDict
from typing import Dict, List

import torch
import torch.nn.functional as F
from torch import nn

# of the image pyramid, of the fusion, of a subtree; those with own predictors
LEVELS, FUSED, SUBLEVELS, SPECIALISED = 7, 5, 4, 3
ALIGN = 64


def frame(height: int, width: int):
    """The centred padding to multiples of 64, as F.pad takes it: left, right, top, bottom."""
    x, y = -width % ALIGN, -height % ALIGN
    return x // 2, x - x // 2, y // 2, y - y // 2


def upsample(flow: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(flow * 2, size=like.shape[2:4], mode='bilinear', align_corners=False)


def warp(image: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Reads the image at each pixel's place plus its flow; beyond the border its nearest pixel."""
    h, w = image.shape[2], image.shape[3]
    x = torch.linspace(-1 + 1 / w, 1 - 1 / w, w, dtype=flow.dtype, device=flow.device)
    y = torch.linspace(-1 + 1 / h, 1 - 1 / h, h, dtype=flow.dtype, device=flow.device)
    grid = torch.stack((x + flow[:, 0] * (2 / w), y[:, None] + flow[:, 1] * (2 / h)), 3)
    return F.grid_sample(image, grid, mode='bilinear', padding_mode='border', align_corners=False)


def convolution(inputs: int, outputs: int, size: int = 3, active: bool = True) -> nn.Sequential:
    """Keeps the size: an even kernel gets its extra row and column of zeros at the bottom and on the right."""
    parts = OrderedDict()
    if size == 2:
        parts['pad'] = nn.ZeroPad2d((0, 1, 0, 1))
    parts['0'] = nn.Conv2d(inputs, outputs, size, padding=size // 2 if size % 2 else 0)
    if active:
        parts['1'] = nn.LeakyReLU(0.2)
    return nn.Sequential(parts)


class Subtree(nn.Module):
    """Features of one level's picture at this size and below, twice the channels at each half."""

    def __init__(self, filters: int):
        super().__init__()
        widths = [3] + [filters << i for i in range(SUBLEVELS)]
        self.convs = nn.ModuleList(nn.Sequential(convolution(a, b), convolution(b, b))
                                   for a, b in zip(widths, widths[1:]))

    def forward(self, picture: torch.Tensor, depth: int) -> List[torch.Tensor]:
        out: List[torch.Tensor] = []
        for i, layers in enumerate(self.convs):
            if i < depth:
                picture = layers(picture if i == 0 else F.avg_pool2d(picture, 2))
                out.append(picture)
        return out


class Extract(nn.Module):
    """The cascaded pyramid: a level has its own subtree's features, and the deeper ones of finer levels' subtrees."""

    def __init__(self, filters: int):
        super().__init__()
        self.sublevels = SUBLEVELS
        self.extract_sublevels = Subtree(filters)

    def forward(self, pictures: List[torch.Tensor]) -> List[torch.Tensor]:
        levels = len(pictures)
        parts: List[List[torch.Tensor]] = [[] for _ in range(levels)]
        for start in range(levels):
            subtree = self.extract_sublevels(pictures[start], min(self.sublevels, levels - start))
            for depth, features in enumerate(subtree):
                parts[start + depth].insert(0, features)
        return [torch.cat(p, 1) for p in parts]


class Estimator(nn.Module):
    """Flow from one feature map to another."""

    def __init__(self, features: int, width: int):
        super().__init__()
        self._convs = nn.ModuleList([
            convolution(features * 2, width), convolution(width, width), convolution(width, width),
            convolution(width, width // 2, 1), convolution(width // 2, 2, 1, False)])

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        x = torch.cat((a, b), 1)
        for layer in self._convs:
            x = layer(x)
        return x


class PredictFlow(nn.Module):
    """Residual flows, finest first. `_predictors`, coarsest first, are those of the finest levels; `_predictor` is the
    one of all others."""

    def __init__(self, filters: int, widths: List[int]):
        super().__init__()
        features = [filters * ((2 << i) - 1) for i in range(len(widths))]
        estimators = [Estimator(f, w) for f, w in zip(features, widths)]
        self._predictor = estimators[-1]
        self._predictors = nn.ModuleList(estimators[-2::-1])

    def forward(self, a: List[torch.Tensor], b: List[torch.Tensor]) -> List[torch.Tensor]:
        residual = self._predictor(a[-1], b[-1])
        out = [residual]
        flow = residual
        own = len(self._predictors)
        for i in range(len(a) - 2, own - 1, -1):
            flow = upsample(flow, a[i])
            residual = self._predictor(a[i], warp(b[i], flow))
            out.insert(0, residual)
            flow = flow + residual
        for k, estimator in enumerate(self._predictors):
            i = own - 1 - k
            flow = upsample(flow, a[i])
            residual = estimator(a[i], warp(b[i], flow))
            out.insert(0, residual)
            flow = flow + residual
        return out


class Fuse(nn.Module):
    """The decoder, coarsest first."""

    def __init__(self, filters: int):
        super().__init__()
        self.output_conv = nn.Conv2d(filters, 3, 1)
        aligned = [2 * (3 + 2 + filters * ((1 << min(i + 1, SUBLEVELS)) - 1)) for i in range(FUSED)]
        above, convs = aligned[-1], []
        for i in range(FUSED - 2, -1, -1):
            width = filters << min(i, SPECIALISED)
            convs.append(nn.ModuleList([
                convolution(above, width, 2, False), convolution(aligned[i] + width, width),
                convolution(width, width)]))
            above = width
        self.convs = nn.ModuleList(convs)

    def forward(self, aligned: List[torch.Tensor]) -> torch.Tensor:
        x = aligned[-1]
        for k, layers in enumerate(self.convs):
            beside = aligned[len(aligned) - 2 - k]
            x = F.interpolate(x, size=beside.shape[2:4], mode='nearest')
            x = layers[2](layers[1](torch.cat((beside, layers[0](x)), 1)))
        return self.output_conv(x)


class Film(nn.Module):
    def __init__(self, filters: int = 64, flow_widths: List[int] = (32, 64, 128, 256)):
        super().__init__()
        self.levels, self.fused = LEVELS, FUSED     # a script reads attributes, not the module's constants
        self.extract = Extract(filters)
        self.predict_flow = PredictFlow(filters, flow_widths)
        self.fuse = Fuse(filters)

    def pyramid(self, picture: torch.Tensor) -> List[torch.Tensor]:
        out = [picture]
        for _ in range(self.levels - 1):
            out.append(F.avg_pool2d(out[-1], 2))
        return out

    def flows(self, residuals: List[torch.Tensor]) -> List[torch.Tensor]:
        """Sums of the residuals, of the levels that the fusion takes."""
        out = [residuals[-1]]
        for k in range(self.levels - 1):
            residual = residuals[self.levels - 2 - k]
            out.insert(0, residual + upsample(out[0], residual))
        return out[:self.fused]

    def stages(self, x0: torch.Tensor, x1: torch.Tensor, batch_dt: torch.Tensor) -> Dict[str, List[torch.Tensor]]:
        """Every intermediate pyramid by name; `raw` is the picture."""
        pictures0, pictures1 = self.pyramid(x0), self.pyramid(x1)
        features0, features1 = self.extract(pictures0), self.extract(pictures1)
        forward, backward = self.predict_flow(features0, features1), self.predict_flow(features1, features0)
        forward_flow, backward_flow = self.flows(forward), self.flows(backward)
        t = batch_dt[:, :, None, None]
        aligned: List[torch.Tensor] = []
        for i in range(self.fused):
            # Backward warping: the flow from the second picture to the first tells where to read the first one.
            into0, into1 = backward_flow[i] * t, forward_flow[i] * (1 - t)
            aligned.append(torch.cat((warp(torch.cat((pictures0[i], features0[i]), 1), into0),
                                      warp(torch.cat((pictures1[i], features1[i]), 1), into1), into0, into1), 1))
        return {
    'forward_residual': forward,
    'backward_residual': backward,
    'forward_flow': forward_flow,
    'backward_flow': backward_flow,
    'aligned': aligned,
    'raw': [
        self.fuse(aligned)]}

    def forward(self, x0: torch.Tensor, x1: torch.Tensor, batch_dt: torch.Tensor) -> torch.Tensor:
        """x0, x1 [B,3,H,W] with sides that 64 divides, batch_dt [B,1] -> [B,3,H,W], not clamped."""
        return self.stages(x0, x1, batch_dt)['raw'][0]


def interpolate(net, first, second, time, rec=lambda name, x: None):
    """The picture at `time` in (0,1); flows and residuals are recorded as they are, the rest of a time by its name."""
    sides = frame(*first.shape[-2:])
    a, b = F.pad(first, sides), F.pad(second, sides)
    seen = net.stages(a, b, torch.full((1, 1), time, dtype=a.dtype))
    for name in ('forward_residual', 'backward_residual', 'forward_flow', 'backward_flow'):
        for k, x in enumerate(seen[name]):
            rec(f'{name}.{k}', x)
    raw = seen['raw'][0]
    left, top = sides[0], sides[2]
    result = raw[..., top:top + first.shape[-2], left:left + first.shape[-1]].clamp(0, 1)
    rec('aligned.4', seen['aligned'][4]), rec('raw', raw), rec('result', result)
    return result
