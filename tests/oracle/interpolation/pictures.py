"""Pairs of pictures [1,3,H,W], float32, whole multiples of 1/255."""
import torch


def levels(picture):
    """What eight bits keep."""
    return (picture.clamp(0, 1) * 255).round() / 255


def texture(height, width, seed, shift=(0.0, 0.0)):
    """Waves of some lengths and directions in each colour, and a bright square, all moved by shift (x, y) pixels."""
    g = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(height, dtype=torch.float64) - shift[1],
                          torch.arange(width, dtype=torch.float64) - shift[0], indexing='ij')
    out = torch.full((3, height, width), 0.5, dtype=torch.float64)
    for _ in range(8):
        angle, phase, length = torch.rand(3, generator=g, dtype=torch.float64) * torch.tensor([3.15, 6.3, 30.0])
        colour = torch.rand(3, 1, 1, generator=g, dtype=torch.float64) * 0.15
        out += colour * torch.sin((x * angle.cos() + y * angle.sin()) * 6.2832 / (length + 5) + phase)
    side = max(3, min(height, width) // 5)
    inside = ((x - shift[0] - width / 3).abs() < side / 2) & ((y - shift[1] - height / 3).abs() < side / 2)
    return torch.where(inside, torch.tensor([0.95, 0.8, 0.2], dtype=torch.float64).view(3, 1, 1), out)


def moving(height, width, seed=1):
    """Texture that moves by some pixels."""
    move = (min(width, 100) / 20, -min(height, 100) / 30)
    return tuple(levels(texture(height, width, seed, s)).float()[None] for s in ((0.0, 0.0), move))


def disc(side, centre, radius):
    """A bright disc with a soft edge of one pixel before a dark, faintly sloped ground."""
    y, x = torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * 2, indexing='ij')
    cover = (radius + 0.5 - torch.hypot(x - centre[0], y - centre[1])).clamp(0, 1)
    ground = 0.1 + 0.1 * (x + y) / (2 * side)
    colour = torch.tensor([0.9, 0.7, 0.3], dtype=torch.float64).view(3, 1, 1)
    return levels(ground + cover * (colour - ground)).float()[None]


def centre(picture, side):
    """The disc's centre (x, y) in pixels: the mean place of what is brighter than the ground, by red."""
    y, x = torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * 2, indexing='ij')
    weight = (picture[0, 0].double() - 0.35).clamp(min=0)
    return tuple((weight * place).sum().item() / weight.sum().item() for place in (x, y))


# Side of the picture, radius, centres (x, y) in the first and second picture.
CIRCLES = ((64, 10, ((24, 30), (36, 34))), (128, 18, ((48, 60), (72, 66))))
