"""A wan-serve for tests: started on a free port with the tiny checkpoints, on the CPU, and stopped or killed."""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
TOOLS = pathlib.Path(os.environ.get("WAN_TOOLS", ROOT / "build/release/tools"))
TINY = ROOT / "tests/golden/checkpoints"
T2V = "fal-ai/wan/v2.2-a14b/text-to-video"
I2V = "fal-ai/wan/v2.2-a14b/image-to-video"
V2V = "fal-ai/wan/v2.2-a14b/video-to-video"
S2V = "fal-ai/wan/v2.2-14b/speech-to-video"


def add_key(file):
    """A key in a file that is made for it, and the options of a server that asks for it."""
    made = subprocess.run([str(TOOLS / "wan-serve"), "key", "add", "clients", "--keys", str(file)],
                          capture_output=True, text=True, check=True)
    return made.stdout.strip(), ["--keys", str(file)]


class Server:
    """`with Server() as server: server.call("GET", "/health")`."""

    def __init__(self, *options, data=None, size="64x64", models=None):
        self.folder = None if data else tempfile.TemporaryDirectory(prefix="wan-serve-")
        self.data = pathlib.Path(data) if data else pathlib.Path(self.folder.name) / "data"
        self.options = list(options)
        self.models = models or {
            "t2v": ROOT / "tests/nano/Wan2.2-T2V-A14B-nano",
            "i2v": TINY / "Wan2.2-I2V-A14B",
            "s2v": TINY / "Wan2.2-S2V-14B",
        }
        self.size = size
        self.port = None
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        """Throws where the server ended badly, also in the middle: unless a test has failed already."""
        status = self.stop()
        said = self.text().decode(errors="replace")[-4000:]
        if self.folder:
            self.folder.cleanup()
        if status and not any(error):
            raise RuntimeError(f"wan-serve ended with status {status}:\n{said}")

    @property
    def base(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        """Returns when it answers. The port stays the same over restarts."""
        command = [str(TOOLS / "wan-serve"), "--listen", f"127.0.0.1:{self.port or 0}", "--data", str(self.data), "--device", "cpu",
                   "--size-override", self.size]
        for task, model in self.models.items():
            command += ["--model", f"{task}={model}"]
        self.log = open(self.data.parent / "serve.log", "ab")
        position = self.log.tell()
        # A group of its own: killing the server's processes reaches no test.
        self.process = subprocess.Popen(command + self.options, stdout=self.log, stderr=self.log, start_new_session=True)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = re.search(rb"listens at https?://[^:]+:(\d+)", self.text()[position:])
            if found:
                self.port = int(found.group(1))
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f"wan-serve did not start:\n{self.text().decode(errors='replace')[-4000:]}")

    def text(self):
        return (self.data.parent / "serve.log").read_bytes()

    def stop(self):
        """SIGTERM; returns the exit status."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process = None
        self.log.close()
        return status

    def kill(self):
        """kill -9 of the server alone."""
        self.process.kill()
        self.process.wait()
        self.process = None
        self.log.close()

    def kill_all(self):
        """kill -9 of the server and its workers at once: they are one group of processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        self.log.close()

    def workers(self):
        """Process numbers of its workers."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == self.process.pid:
                    found.append(int(entry.name))
            except (OSError, IndexError):
                continue
        return found

    def call(self, method, path, body=None, headers=None, timeout=120):
        """Status, headers and JSON (or bytes) of an answer, whatever its status."""
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method,
                                         headers={"Content-Type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                status, head, content = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            status, head, content = error.code, error.headers, error.read()
        if "json" in (head.get("Content-Type") or ""):
            content = json.loads(content)
        return status, head, content

    def submit(self, endpoint=T2V, **values):
        status, _, answer = self.call("POST", "/queue/" + endpoint, values)
        if status != 200:
            raise RuntimeError(f"submit: {status} {answer}")
        return answer["request_id"]

    def status(self, job):
        return self.call("GET", f"/queue/fal-ai/wan/requests/{job}/status")[2]

    def wait(self, job, seconds=300):
        """The status of an ended job."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.status(job)
            if status.get("status") == "COMPLETED":
                return status
            time.sleep(0.05)
        raise RuntimeError(f"job {job} has not ended: {status}\n{self.text().decode(errors='replace')[-3000:]}")

    def result(self, job):
        """What the result call answers."""
        return self.call("GET", f"/queue/fal-ai/wan/requests/{job}")[2]

    def video(self, job):
        """The bytes of a finished job's video."""
        status, _, answer = self.call("GET", f"/queue/fal-ai/wan/requests/{job}")
        if status != 200:
            raise RuntimeError(f"result: {status} {answer}")
        path = "/" + answer["video"]["url"].split("/", 3)[3]
        return self.call("GET", path)[2]
