#!/usr/bin/env python3
"""The tests of wan-serve with stock clients: makes a virtual environment with requirements.txt in DEPS, and runs every
test_*.py of this folder, or those that are named.   run.py DEPS [NAME...]"""

import os
import pathlib
import subprocess
import sys
import tempfile
import venv

import serving

HERE = pathlib.Path(__file__).resolve().parent


def environment(deps):
    """Its Python, with the packages of requirements.txt as they stand there now."""
    folder = deps / "clients"
    python = folder / "bin/python3"
    wanted = (HERE / "requirements.txt").read_text()
    stamp = folder / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted or subprocess.run([python, "-c", ""]).returncode:
        print("== installing the clients' packages", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", HERE / "requirements.txt"], check=True)
        stamp.write_text(wanted)
    return python


def run(python, name, variables):
    print(f"== {name}", flush=True)
    return subprocess.run([python, "-m", "unittest", "-v", name], env={**os.environ, **variables}).returncode


def main():
    deps, names = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    python = environment(deps)
    os.chdir(HERE)
    names = names or sorted(path.stem for path in HERE.glob("test_*.py"))
    failed = []
    # The clients' calls share one server, and one that asks for a key; the other tests start their own.
    clients = [name for name in names if name in ("test_fal", "test_wavespeed", "test_openai")]
    if clients:
        with tempfile.TemporaryDirectory() as folder:
            for key, options in (("", []), serving.add_key(pathlib.Path(folder, "keys.json"))):
                with_key = " with a key" if key else ""
                try:
                    with serving.Server("--max-file", "256MiB", "--answer-paths", *options) as server:
                        for name in clients:
                            told = {"WAN_SERVER": server.base, "WAN_SERVER_KEY": key, "WAN_MOST_FILE_BYTES": str(256 << 20)}
                            if run(python, name, told):
                                failed.append(name + with_key)
                except RuntimeError as error:
                    print(error, flush=True)
                    failed.append("the server" + with_key)
    for name in names:
        if name not in clients and run(python, name, {}):
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
