"""cases.py OUT: frames and what other programs measure between them. See README.md."""

import io
import pathlib
import pickletools
import re
import subprocess
import sys
import tempfile

import lpips
import numpy as np
import torch
from safetensors.numpy import save_file
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

FRAMES, RATE, SIZE = 12, 10, (36, 48)
EQUAL, BROKEN = 3, 7


def picture(height, width, time=0.0):
    """uint8 [H, W, 3]: slopes and waves that move, and a square."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rgb = np.stack([128 + 100 * np.sin(x / 5 + time), 40 + 180 * y / height, 128 + 90 * np.cos((x + y) / 7 - time)], -1)
    left = int(4 + 2 * time) % max(1, width - 8)
    rgb[height // 4:height // 2, left:left + 6] = (250, 240, 20)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def noisy(rgb, deviation, seed):
    noise = np.random.default_rng(seed).normal(0, deviation, rgb.shape)
    return np.clip(np.rint(rgb + noise), 0, 255).astype(np.uint8)


def pairs():
    flat = np.full((20, 17, 3), 255, np.uint8)
    yield "noise", picture(40, 53), noisy(picture(40, 53), 12, 1)
    yield "moved", picture(33, 64), picture(33, 64, 1)
    yield "window", picture(11, 11), noisy(picture(11, 11), 30, 2)
    yield "white", flat, flat - 1
    yield "opposite", picture(24, 24), 255 - picture(24, 24)
    yield "wide", noisy(picture(16, 300), 40, 3), noisy(picture(16, 300), 40, 4)


def ssim(a, b):
    return structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
                                 channel_axis=2)


def by_ffmpeg(a, b):
    """PSNR of each frame, two decimals, of arrays [T, H, W, 3]."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = []
        for name, frames in (("a", a), ("b", b)):
            path = pathlib.Path(folder) / name
            path.write_bytes(np.ascontiguousarray(frames).tobytes())
            inputs += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{a.shape[2]}x{a.shape[1]}", "-i", path]
        log = pathlib.Path(folder) / "log"
        subprocess.run(["ffmpeg", "-v", "error", *inputs, "-lavfi", f"psnr=stats_file={log}", "-f", "null", "-"], check=True)
        return np.array([float(value) for value in re.findall(r"psnr_avg:(\S+)", log.read_text())])


def write_video(path, frames, pixels):
    height, width = frames.shape[1:3]
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r",
                    str(RATE), "-i", "-", "-fflags", "+bitexact", "-c:v", "ffv1", "-level", "3", "-slices", "4", "-pix_fmt",
                    pixels, "-flags", "+bitexact", "-fflags", "+bitexact", path], input=frames.tobytes(), check=True)


def videos(out, expected):
    a = np.stack([picture(*SIZE, n / 3) for n in range(FRAMES)])
    b = np.stack([noisy(frame, 2 + n, 10 + n) for n, frame in enumerate(a)])
    b[EQUAL] = a[EQUAL]
    b[BROKEN][:, :24] = 0
    for name, frames in (("a", a), ("b", b)):
        write_video(out / f"{name}.mkv", frames, "bgr0")
    expected["video.mse"] = np.array([mean_squared_error(x, y) for x, y in zip(a, b)])
    expected["video.ssim"] = np.array([ssim(x, y) for x, y in zip(a, b)])
    expected["video.ffmpeg_psnr"] = by_ffmpeg(a, b)


def uniform(stream, count):
    """float64 in [0, 1): the upper 53 bits of splitmix64 of each number from stream * 2^40 on."""
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint64) + np.uint64(stream << 40) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) * 2.0 ** -53


def made_up(net):
    """Weights that tests/models/lpips_test.cpp makes, too: of the n-th convolution, kernels from stream 3n, biases from
    stream 3n + 1; of the n-th linear layer from stream 1000 + n."""
    layers, heads, state = 0, 0, {}
    for name, value in net.state_dict().items():
        if name.startswith("net.") and name.endswith(".weight"):
            bound = np.sqrt(6.0 / np.prod(value.shape[1:]))
            drawn = (2 * uniform(3 * layers, value.numel()) - 1) * bound
        elif name.startswith("net."):
            drawn = (2 * uniform(3 * layers + 1, value.numel()) - 1) * 0.1
            layers += 1
        elif re.fullmatch(r"lin\d\.model\.1\.weight", name):
            drawn = uniform(1000 + heads, value.numel())
            heads += 1
        else:
            continue
        state[name] = torch.from_numpy(drawn.astype(np.float32)).reshape(value.shape)
    return state


def by_python_2(saved):
    """What torch.save wrote in its older form, with texts as Python 2 wrote them: SHORT_BINSTRING for BINUNICODE."""
    stream, out = io.BytesIO(saved), b""
    for _ in range(5):
        first = stream.tell()
        ends = [(position, op.name, argument) for op, argument, position in pickletools.genops(stream)]
        for (start, name, argument), end in zip(ends, [at for at, _, _ in ends[1:]] + [stream.tell()]):
            text = argument.encode() if name == "BINUNICODE" else b""
            out += b"U" + bytes([len(text)]) + text if name == "BINUNICODE" else saved[start:end]
        assert ends[0][0] == first
    return out + stream.read()


def distances(net, a, b, dtype):
    """What each layer adds. lpips.im2tensor is this scaling."""
    both = [torch.from_numpy(x.astype(np.float64)).to(dtype).permute(2, 0, 1)[None] / 127.5 - 1 for x in (a, b)]
    with torch.no_grad():
        total, layers = net.to(dtype)(*both, retPerLayer=True)
    each = np.array([layer.double().item() for layer in layers])
    assert abs(each.sum() - total.double().item()) < 1e-5 * each.sum()
    return each


def networks(out, expected):
    a, b = picture(65, 97), noisy(picture(65, 97, 0.4), 10, 30)
    expected["lpips.a"], expected["lpips.b"] = a, b
    for name in ("alex", "vgg"):
        net = lpips.LPIPS(net=name, pnet_rand=True, verbose=False)
        state = made_up(net)
        missing = net.load_state_dict(state, strict=False).missing_keys
        assert all(key.startswith(("lins.", "scaling_layer.")) for key in missing), missing
        single, double = distances(net, a, b, torch.float32), distances(net, a, b, torch.float64)
        expected[f"lpips.{name}.taps"] = double
        # What a port that adds in another order may differ by.
        expected[f"lpips.{name}.atol"] = np.maximum(8 * np.abs(single - double), 4e-6 * double)
        if name == "alex":
            heads = {key: value for key, value in state.items() if key.startswith("lin")}
            torch.save(heads, out / "alex_heads.pth")
            older = io.BytesIO()
            torch.save(heads, older, _use_new_zipfile_serialization=False)
            (out / "alex_heads_python2.pth").write_bytes(by_python_2(older.getvalue()))


def main():
    torch.set_num_threads(1)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    expected = {}
    for name, a, b in pairs():
        expected[f"pair.{name}.a"], expected[f"pair.{name}.b"] = a, b
        expected[f"pair.{name}.values"] = np.array(
            [mean_squared_error(a, b), peak_signal_noise_ratio(a, b, data_range=255), ssim(a, b)])
        expected[f"pair.{name}.ffmpeg_psnr"] = by_ffmpeg(a[None], b[None])
    videos(out, expected)
    networks(out, expected)
    save_file({key: np.ascontiguousarray(value) for key, value in expected.items()}, out / "expected.safetensors")


if __name__ == "__main__":
    main()
