"""Where the server is, and inputs to send to it.

WAN_SERVER: its base URL. WAN_SERVER_KEY: a key, where it wants one. WAN_MOST_FILE_BYTES: its limit of one file, where it
is below 512 MiB. The server renders with tiny checkpoints: `--size-override 64x64` and few steps.
"""
import io
import math
import os
import struct
import urllib.error
import urllib.request
import wave

BASE = os.environ["WAN_SERVER"].rstrip("/")
KEY = os.environ.get("WAN_SERVER_KEY", "")

T2V = "fal-ai/wan/v2.2-a14b/text-to-video"
I2V = "fal-ai/wan/v2.2-a14b/image-to-video"
V2V = "fal-ai/wan/v2.2-a14b/video-to-video"
S2V = "fal-ai/wan/v2.2-14b/speech-to-video"
WAVESPEED = "wavespeed-ai/wan-2.2/speech-to-video"

# Nothing listens there: the discard port of this machine.
NOWHERE = "http://127.0.0.1:9/nothing.png"


def picture():
    """A small PNG as an object of Pillow."""
    from PIL import Image
    image = Image.new("RGB", (96, 64))
    image.putdata([(x * 2, y * 3, 120) for y in range(64) for x in range(96)])
    return image


def png():
    buffer = io.BytesIO()
    picture().save(buffer, "PNG")
    return buffer.getvalue()


def wav(seconds, rate=16000):
    """A tone as a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        period = [int(8000 * math.sin(2 * math.pi * i / 100)) for i in range(100)]
        tone = struct.pack("<100h", *period)
        file.writeframes((tone * (int(rate * seconds) // 100 + 1))[: int(rate * seconds) * 2])
    return buffer.getvalue()


def aiff(seconds, rate=16000):
    """The same tone as an AIFF file."""
    with wave.open(io.BytesIO(wav(seconds, rate))) as file:
        samples = file.readframes(file.getnframes())
    swapped = b"".join(samples[i + 1:i + 2] + samples[i:i + 1] for i in range(0, len(samples), 2))
    # The rate as an extended float: 80 bits, of which 16 are sign and exponent.
    extended = struct.pack(">HQ", 16383 + rate.bit_length() - 1, rate << (64 - rate.bit_length()))
    common = struct.pack(">hIh", 1, len(samples) // 2, 16) + extended
    sound = struct.pack(">II", 0, 0) + swapped
    chunks = b"COMM" + struct.pack(">I", len(common)) + common + b"SSND" + struct.pack(">I", len(sound)) + sound
    return b"FORM" + struct.pack(">I", 4 + len(chunks)) + b"AIFF" + chunks


def fetch(url, headers=None, method="GET", data=None):
    """(status, headers, body) of a plain request, without a key; errors are answers, too."""
    request = urllib.request.Request(url, headers=headers or {}, method=method, data=data)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


def is_mp4(data):
    return data[4:8] == b"ftyp"
