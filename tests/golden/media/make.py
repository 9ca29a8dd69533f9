"""Makes the files of this folder: tiny pictures, sounds and videos, and in expected.safetensors what other libraries make of
them (Pillow 11.3, pillow-heif 1.8, torch 2.11, librosa 0.11 with soxr 1.1). Needs ffmpeg. Usage: python make.py

Pillow 13 resizes rows first in some shapes; the reference was made by older ones, which always take columns first."""
import pathlib
import struct
import subprocess
import zlib

import librosa
import numpy as np
import pillow_heif
import soundfile
import torch
from PIL import Image, ImageOps
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
random = np.random.default_rng(7)
expected = {}


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-fflags", "+bitexact", *arguments[:-1], "-flags", "+bitexact",
                    "-fflags", "+bitexact", str(HERE / arguments[-1])], check=True)


def picture():
    """24 wide, 16 high: smooth, and different in every corner."""
    y, x = np.mgrid[0:16, 0:24]
    return np.stack([x * 10, y * 15, 255 - x * 5 - y * 6], -1).astype(np.uint8)


def keep(name, rgb):
    expected["image." + name] = np.ascontiguousarray(rgb)


def pillow(name):
    keep(name, np.asarray(ImageOps.exif_transpose(Image.open(HERE / name)).convert("RGB")))


def images():
    rgb = Image.fromarray(picture())
    alpha = Image.fromarray(np.tile(np.arange(24, dtype=np.uint8) * 10, (16, 1)))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    grey_alpha = rgb.convert("L")
    grey_alpha.putalpha(alpha)
    palette = rgb.quantize(32)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, image, options in [
        ("rgb.png", rgb, {}), ("rgba.png", rgba, {}), ("grey.png", rgb.convert("L"), {}), ("grey_alpha.png", grey_alpha, {}),
        ("palette.png", palette, {"transparency": 3}), ("bits.png", rgb.convert("1"), {}), ("turned.png", rgb, {"exif": exif}),
        ("rgb.bmp", rgb, {}), ("palette.bmp", palette, {}), ("rgb.tiff", rgb, {"compression": "tiff_lzw"}),
        ("turned.tiff", rgb, {"tiffinfo": {274: 6}}), ("animated.gif", palette, {"save_all": True, "append_images": [palette.rotate(180)]}),
        ("lossless.webp", rgba, {"lossless": True, "exact": True}), ("turned.webp", rgb, {"lossless": True, "exif": exif}),
        ("lossy.webp", rgb, {"quality": 95}), ("grey.jpg", rgb.convert("L"), {"quality": 95}),
        ("subsampled.jpg", rgb, {"quality": 95, "subsampling": 2}), ("cmyk.jpg", rgb.convert("CMYK"), {"quality": 95, "subsampling": 0}),
        ("progressive.jpg", rgb, {"quality": 95, "progressive": True, "subsampling": 0}),
        ("animated.webp", rgb, {"save_all": True, "append_images": [rgb.rotate(180)], "lossless": True}),
    ]:
        image.save(HERE / name, **options)
        pillow(name)
    # Read without an expectation of Pillow's: their pixels are rgb.png's.
    rgb.save(HERE / "turned.avif", quality=95, subsampling="4:4:4", exif=exif)  # as irot
    pillow_heif.register_heif_opener()
    rgb.save(HERE / "exif.heic", quality=95, chroma=444, exif=exif)  # in Exif only, where it does not count
    rgb.save(HERE / "rgb.jp2")
    rgb.save(HERE / "rgb.j2k", no_jp2=True)
    rgb.convert("CMYK").save(HERE / "cmyk.jp2")
    rgb.convert("YCbCr").save(HERE / "sycc.jp2")
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        name = f"orientation{orientation}.jpg"
        rgb.save(HERE / name, quality=95, subsampling=0, exif=exif)
        pillow(name)
    # 16 bits: what is read is the upper 8, as Pillow reads them for RGB.
    deep = picture().astype(np.uint16) * 257 - 100 * (picture() > 0)
    for name, values, kind in [("rgb16.png", deep, 2), ("grey16.png", deep[..., :1], 0)]:
        lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        (HERE / name).write_bytes(png(24, 16, 16, kind, zlib.compress(lines)))
        keep(name, np.broadcast_to((values >> 8).astype(np.uint8), (16, 24, 3)))
    # 240 million pixels claimed in a hundred bytes.
    (HERE / "huge.png").write_bytes(png(16000, 15000, 8, 2, zlib.compress(bytes(64))))
    # The animation's first frame as a part of a larger canvas.
    animated = bytearray((HERE / "animated.webp").read_bytes())
    animated[24:27], animated[27:30] = (32 - 1).to_bytes(3, "little"), (20 - 1).to_bytes(3, "little")
    at = animated.index(b"ANMF") + 8
    animated[at:at + 6] = (4 // 2).to_bytes(3, "little") + (2 // 2).to_bytes(3, "little")
    (HERE / "offset.webp").write_bytes(animated)
    canvas = np.zeros((20, 32, 3), np.uint8)
    canvas[2:18, 4:28] = picture()
    keep("offset.webp", canvas)


def png(width, height, depth, kind, pixels):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)) +
            chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def resizes():
    source = random.integers(0, 256, (21, 29, 3), dtype=np.uint8)
    expected["resize.source"] = source
    image = Image.fromarray(source)
    for height, width in [(21, 12), (8, 29), (30, 23), (9, 40), (1, 1)]:
        for name, filter in [("triangle", Image.BILINEAR), ("lanczos", Image.LANCZOS)]:
            expected[f"resize.{name}.{height}x{width}"] = np.asarray(image.resize((width, height), filter))
    for height, width in [(6, 24), (24, 6), (21, 29), (13, 13)]:
        expected[f"resize.cover.{height}x{width}"] = np.asarray(ImageOps.fit(image, (width, height), Image.LANCZOS))
    planes = torch.from_numpy(source).permute(2, 0, 1).float().div(255)
    signed = planes.sub(0.5).div(0.5)[None]
    for height, width in [(8, 12)]:
        out = torch.nn.functional.interpolate(signed, size=(height, width), mode="bicubic")
        expected[f"resize.bicubic.{height}x{width}"] = out[0].numpy()
    for height, width in [(12, 24), (24, 12), (12, 12)]:
        # Resize(shorter) and CenterCrop, as torchvision does them on pictures and on tensors.
        short = min(height, width)
        rows, columns = (short, int(short * 29 / 21))
        cut_y, cut_x = round((rows - height) / 2), round((columns - width) / 2)
        box = (cut_x, cut_y, cut_x + width, cut_y + height)
        if rows < height or columns < width:
            pad_y, pad_x = max(0, height - rows), max(0, width - columns)
            box = None
        small = image.resize((columns, rows), Image.BILINEAR)
        floats = torch.nn.functional.interpolate((planes * 2 - 1)[None], size=(rows, columns), mode="bilinear", antialias=True)[0]
        if box is None:
            bars = (pad_x // 2, (pad_x + 1) // 2, pad_y // 2, (pad_y + 1) // 2)
            small = torch.nn.functional.pad(torch.from_numpy(np.array(small)).permute(2, 0, 1), bars).permute(1, 2, 0).numpy()
            floats = torch.nn.functional.pad(floats, bars)
            cut_y, cut_x = round((small.shape[0] - height) / 2), round((small.shape[1] - width) / 2)
            small, floats = small[cut_y:cut_y + height, cut_x:cut_x + width], floats[:, cut_y:cut_y + height, cut_x:cut_x + width]
        else:
            small, floats = np.asarray(small.crop(box)), floats[:, cut_y:cut_y + height, cut_x:cut_x + width]
        expected[f"resize.shorter.{height}x{width}"] = np.ascontiguousarray(small)
        expected[f"resize.shorter_float.{height}x{width}"] = np.ascontiguousarray(floats.numpy())


def sounds():
    def speech_like(rate, seconds, channels):
        t = np.arange(int(rate * seconds)) / rate
        tone = 0.3 * np.sin(2 * np.pi * (200 * t + 900 * t * t)) * (0.5 + 0.5 * np.sin(2 * np.pi * 9 * t))
        noise = 0.05 * random.standard_normal((len(t), channels))
        return (tone[:, None] * np.linspace(1, 0.4, channels) + noise).astype(np.float32)
    for name, rate, channels, kind in [("telephone.wav", 8000, 1, "PCM_U8"), ("studio.wav", 192000, 1, "PCM_24"),
                                       ("stereo.wav", 22050, 2, "FLOAT"), ("cd.wav", 44100, 2, "PCM_16"),
                                       ("three.wav", 12000, 3, "PCM_16"), ("wide.wav", 16000, 1, "PCM_32"), ("sound.flac", 48000, 1, "PCM_16")]:
        soundfile.write(HERE / name, speech_like(rate, 0.017, channels), rate, subtype=kind)
        expected["sound." + name] = librosa.load(HERE / name, sr=16000)[0]
    soundfile.write(HERE / "empty.wav", np.zeros((0, 1), np.float32), 16000, subtype="PCM_16")
    for name, options in [("tone.mp3", ["-ac", "2"]), ("tone.m4a", []), ("tone.ogg", [])]:
        ffmpeg("-f", "lavfi", "-i", "sine=500:r=44100:d=0.25", *options, "-b:a", "32k", name)


def videos():
    # Frame k is grey of level 40 + 20 k, with a white block in the top left corner.
    base = "color=black:s=32x18:r=10:d=0.8,format=gray,geq=lum='if(lt(X,8)*lt(Y,6),255,40+20*N)',format=yuv444p"
    lossless = ["-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv444p"]
    ffmpeg("-f", "lavfi", "-i", base, *lossless, "upright.mp4")
    # ffmpeg 5's own players turn these by that many degrees, against the clock.
    for degrees in (90, 180, 270):
        ffmpeg("-i", str(HERE / "upright.mp4"), "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}", f"rotated{degrees}.mp4")
    # Frames at 0, 0.1, 0.2, 0.3 s, then 0.8, 1.3, 1.8, 2.3 s.
    ffmpeg("-f", "lavfi", "-i", base + ",settb=1/1000,setpts='if(lt(N,4),N,5*N-12)*100'", "-vsync", "passthrough", *lossless, "variable.mkv")
    ffmpeg("-f", "lavfi", "-i", base + ",scale=35:27,setsar=2/1", *lossless, "odd_wide_pixels.mkv")
    ffmpeg("-f", "lavfi", "-i", base, "-f", "lavfi", "-i", "sine=500:r=9000:d=1", *lossless, "-c:a", "pcm_s16le", "pcm_sound.mkv")
    ffmpeg("-f", "lavfi", "-i", base, "-f", "lavfi", "-i", "sine=500:r=48000:d=1", *lossless, "-c:a", "aac", "aac_sound.mp4")


images()
resizes()
sounds()
videos()
save_file(expected, HERE / "expected.safetensors")
