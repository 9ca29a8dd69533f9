"""Pictures and sounds from a generator."""
import math
import struct
import wave

import torch


def picture(g, *shape):
    """Smooth random uint8 data: coarse noise enlarged, plus a little fine noise; [3,T,H,W]."""
    coarse = torch.randn(1, 3, max(1, shape[0] // 2), 4, 4, generator=g)
    x = torch.nn.functional.interpolate(coarse, size=shape, mode='trilinear', align_corners=False)[0]
    return (128 + 80 * x + 8 * torch.randn(3, *shape, generator=g)).clamp(0, 255).to(torch.uint8)


def glide(g, seconds, rate, channels):
    """A tone with overtones that glides and swells like a voice, over a little noise: float32 [samples, channels]"""
    n = round(seconds * rate)
    t = torch.arange(n, dtype=torch.float64) / rate
    pitch = 140 + 60 * torch.sin(2 * math.pi * 0.7 * t)
    phase = 2 * math.pi * torch.cumsum(pitch, 0) / rate
    voice = sum(torch.sin(k * phase) / k for k in (1, 2, 3, 5))
    swell = 0.5 + 0.5 * torch.sin(2 * math.pi * 2.3 * t)
    x = torch.stack([(0.12 + 0.03 * c) * voice * swell for c in range(channels)], 1)
    return (x + 0.01 * torch.randn(n, channels, generator=g, dtype=torch.float64)).float()


def write_wav(path, x, rate, floating=False):
    """x float32 [samples, channels], 16-bit integers or floats."""
    if not floating:
        with wave.open(path, 'wb') as f:
            f.setnchannels(x.shape[1]), f.setsampwidth(2), f.setframerate(rate)
            f.writeframes((x * 32767).round().to(torch.int16).numpy().tobytes())
        return
    data, align = x.contiguous().numpy().tobytes(), 4 * x.shape[1]
    form = struct.pack('<HHIIHH', 3, x.shape[1], rate, rate * align, align, 32)  # 3: IEEE float, which `wave` does not write
    chunks = b'fmt ' + struct.pack('<I', len(form)) + form + b'data' + struct.pack('<I', len(data)) + data
    with open(path, 'wb') as f:
        f.write(b'RIFF' + struct.pack('<I', 4 + len(chunks)) + b'WAVE' + chunks)
