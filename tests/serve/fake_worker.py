#!/usr/bin/env python3
"""A worker that speaks the protocol (engine/serve/work/protocol.h), renders nothing, and misbehaves on request.

A job's field "behave" says how: see BEHAVIOURS. WAN_FAKE_START says the same of the start: never_ready, exit3,
die_idle. WAN_FAKE_BEAT: seconds between two words that it is alive; without it says none. Each start, each message that came and each job that was rendered is a JSON line of WAN_FAKE_LOG.
"""
import json
import os
import signal
import sys
import threading
import time

signal.signal(signal.SIGINT, signal.SIG_IGN)
lock = threading.Lock()
cancelled, stopping = set(), threading.Event()
current = [None]


def note(**fields):
    with open(os.environ["WAN_FAKE_LOG"], "a") as log:
        log.write(json.dumps(fields | {"pid": os.getpid()}) + "\n")


def say(**message):
    with lock:
        os.write(1, (json.dumps(message) + "\n").encode())


def die(number=signal.SIGKILL):
    os.kill(os.getpid(), number)
    time.sleep(60)


def beat(seconds):
    """Tells that it is alive, whatever its job does."""
    while True:
        say(**{"is": "alive"})
        time.sleep(seconds)


def first_time(folder, name):
    """Whether this is asked for the first time in the folder, over all processes."""
    try:
        os.close(os.open(os.path.join(folder, name), os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


def steps(job, count, seconds):
    """Makes steps until the job is cancelled or the worker stopped; whether it came to the end."""
    for step in range(count):
        say(**{"is": "progress"}, job=job["id"], stage="denoise", step=step, steps=count, expert="high",
            seconds_left=(count - step) * seconds)
        time.sleep(seconds)
        if stopping.is_set():
            sys.stdout.flush()
            os._exit(0)
        if job["id"] in cancelled:
            return False
    return True


def failed(job, kind, text, errors=()):
    say(**{"is": "failed"}, job=job["id"], kind=kind, text=text, errors=list(errors))


def done(job, behave):
    if behave != "no_output":
        with open(job["out"] + ".part", "w") as out:
            out.write("video of " + job["id"])
        os.rename(job["out"] + ".part", job["out"])
    said = {"safety": job["fields"]["safety"]} if "safety" in job["fields"] else {}
    say(**{"is": "done"}, job=job["id"], seed=job["fields"].get("seed", 7), prompt=job["fields"].get("prompt", ""),
        seconds=job["fields"].get("seconds", 10), bytes=1, **said)


def save(folder, name):
    """A finished file of saved work, as our worker makes them."""
    place = os.path.join(folder, name + ".encoded.safetensors")
    with open(place + ".part", "w") as out:
        out.write(name)
    os.rename(place + ".part", place)


def render(batch, job):
    """One job, as its behaviour is."""
    behave = job["fields"].get("behave", "")
    prompt = job["fields"].get("prompt", "")
    if prompt.startswith("behave:"):  # of requests over HTTP
        behave = prompt[7:]
    finished = os.path.join(batch["folder"], job["id"] + ".done")
    if job["withdrawn"] or job["id"] in cancelled:
        return None if job["withdrawn"] else failed(job, "cancelled", "taken back")
    say(**{"is": "turn"}, job=job["id"])
    current[0] = job["id"]
    if os.path.exists(finished):
        say(**{"is": "begun"}, job=job["id"])
        if behave == "die_made" and first_time(batch["folder"], "died again"):
            die()
        return done(job, behave)
    if behave == "die_preparing":
        die()
    if behave == "hang_preparing":
        time.sleep(600)
    say(**{"is": "begun"}, job=job["id"])
    note(rendered=job["id"])
    say(**{"is": "log"}, job=job["id"], level="INFO", message="step 1 of 2")
    if behave == "die":
        with open(job["out"] + ".part", "w") as out:
            out.write("half a video")
    if behave == "die" or (behave == "die_once" and first_time(batch["folder"], "died")):
        die()
    if behave == "exit7":
        print("about to give up", file=sys.stderr, flush=True)
        os._exit(7)
    if behave == "stopped" and first_time(batch["folder"], "stopped"):
        os.kill(os.getpid(), signal.SIGSTOP)
    if behave == "hang_once" and first_time(batch["folder"], "hung"):
        time.sleep(600)
    if behave == "save_and_hang":
        save(batch["folder"], "%032x" % len(os.listdir(batch["folder"])))
    if behave in ("hang", "save_and_hang"):
        # What an attempt leaves that gets nowhere.
        with open(os.path.join(batch["folder"], "%d.latents.safetensors.part" % os.getpid()), "w") as part:
            part.write("half a file")
        note(hangs=job["id"])
        while True:
            time.sleep(1)
    if behave == "garbage":
        os.write(1, b"this is no message\n")
    if behave == "huge":
        for _ in range(17):
            os.write(1, b"x" * (1 << 20))
    if behave == "deep":
        os.write(1, b"[" * 100000 + b"\n")
    if behave in ("garbage", "huge", "deep"):
        time.sleep(60)
    if behave == "wrong_ids":
        say(**{"is": "done"}, job="nobody", seed=1, seconds=1)
        say(**{"is": "sings"}, job=job["id"])
        say(**{"is": "progress"}, job=job["id"], step="many", stage="denoise", steps=[])
    if behave == "device" and first_time(batch["folder"], "lost"):
        failed(job, "device", "[device] cuda:0 can compute nothing more")
        time.sleep(60)
    if behave == "disk" and first_time(batch["folder"], "full"):
        return failed(job, "disk", "No space left on device")
    if behave == "request":
        return failed(job, "request", "[image_url] must be a picture", job["fields"]["errors"])
    if behave == "machine":
        return failed(job, "machine", "[memory] ran out")
    if not steps(job, 2, 0.01) or (behave == "slow" and not steps(job, 2000, 0.02)):
        return failed(job, "cancelled", "taken back")
    say(**{"is": "preview"}, job=job["id"])
    if behave != "no_output":
        open(finished, "w").close()
    if behave in ("die_finished", "die_made") and first_time(batch["folder"], "died"):
        with open(job["out"], "w") as out:
            out.write("video of " + job["id"])
        die()
    return done(job, behave)


def work(queue, came):
    while True:
        came.acquire()
        batch = queue.pop(0)
        os.makedirs(batch["folder"], exist_ok=True)
        with open(os.path.join(batch["folder"], "journal.jsonl"), "a") as journal:
            journal.write("{}\n")
        if any(job["fields"].get("behave") == "held" for job in batch["jobs"]):
            say(**{"is": "held"}, batch=batch["batch"])
            time.sleep(0.3)
        if any(job["fields"].get("behave") == "held_long" for job in batch["jobs"]):
            for _ in range(14):
                say(**{"is": "held"}, batch=batch["batch"])
                time.sleep(0.25)
        for job in batch["jobs"]:
            if job["fields"].get("behave") == "prepared":
                say(**{"is": "turn"}, job=job["id"])
        for job in batch["jobs"]:
            render(batch, job)
            current[0] = None
        say(**{"is": "memory"}, device_bytes=123, stage_seconds={"decode": 1.5})
        resident = any(job["fields"].get("resident") for job in batch["jobs"])
        if not any(job["fields"].get("behave") == "silent_end" for job in batch["jobs"]):
            say(**{"is": "batch"}, batch=batch["batch"], resident=resident)


def main():
    start = os.environ.get("WAN_FAKE_START", "")
    files = [int(name) for name in os.listdir("/proc/self/fd")]
    note(start=sys.argv[1:], files=[number for number in files if os.path.exists("/proc/self/fd/%d" % number)])
    if start == "exit3":
        print("[device] must be there", file=sys.stderr, flush=True)
        sys.exit(3)
    if start == "never_ready":
        time.sleep(600)
    say(**{"is": "ready"}, device="a fake card", pid=os.getpid())
    if start == "die_idle":
        die()
    if os.environ.get("WAN_FAKE_BEAT"):
        threading.Thread(target=beat, args=(float(os.environ["WAN_FAKE_BEAT"]),), daemon=True).start()
    queue, came = [], threading.Semaphore(0)
    threading.Thread(target=work, args=(queue, came), daemon=True).start()
    for line in sys.stdin:
        message = json.loads(line)
        note(**message)
        if any(job["fields"].get("behave") == "die_reading" and not job["withdrawn"] for job in message.get("jobs", [])):
            die()
        if message["do"] == "render":
            queue.append(message)
            came.release()
        elif message["do"] == "cancel":
            cancelled.add(message["job"])
        elif message["do"] == "stop":
            break
    stopping.set()
    # A job that makes steps ends the process itself.
    for _ in range(20):
        if current[0] is None:
            break
        time.sleep(0.05)
    os._exit(0)


main()
