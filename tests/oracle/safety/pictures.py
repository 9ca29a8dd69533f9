"""Pictures from a seed: soft colours, hard edges and a fine pattern, uint8 [H, W, 3]."""
import torch


def picture(height, width, seed):
    g = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing='ij')
    out = torch.zeros(height, width, 3)
    for c in range(3):
        a, b, p = (torch.rand((), generator=g).item() for _ in range(3))
        out[..., c] = 0.5 + 0.3 * torch.sin(6 * (a * x + b * y + p)) + 0.15 * torch.sin(40 * (b * x - a * y))
    for _ in range(4):
        top, left = (int(torch.randint(0, n, (), generator=g)) for n in (height, width))
        bottom, right = top + height // 4 + 1, left + width // 4 + 1
        out[top:bottom, left:right] = torch.rand(3, generator=g)
    out += 0.08 * torch.randn(height, width, 3, generator=g)
    return (out.clamp(0, 1) * 255).round().to(torch.uint8)
