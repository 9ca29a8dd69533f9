"""A Python in which `import torch` works with the light set of libtorch that ./run installs: the libraries of CUDA that are
not there get stand-ins, which no computation on the CPU calls, and Python packages lie in a folder of their own."""

import os
import pathlib
import re
import subprocess
import sys

PACKAGES = ["typing_extensions==4.16.0", "numpy==2.2.6", "safetensors==0.8.0"]


def site_packages(deps):
    found = sorted(deps.glob("venv/lib/python3*/site-packages"))
    if not found:
        raise SystemExit(f"{deps}: no libtorch in it; ./run setup installs it")
    return found[0]


def install(python, folder, packages):
    """Packages by pip, without what they depend on, once."""
    stamp = folder / "packages.txt"
    wanted = "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"== installing {' '.join(packages)}", flush=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", folder, *packages],
                       check=True)
        stamp.write_text(wanted)


def undefined(library):
    """The libraries that a library names, and the functions of CUDA's libraries that it takes from them."""
    needed = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
    symbols = subprocess.run(["nm", "-D", "--undefined-only", library], check=True, capture_output=True, text=True).stdout
    names = re.findall(r" ((?:cublas|cudnn|cufft|curand|cusparse|cuFile|nccl|nvshmem)\w*)", symbols)
    return set(re.findall(r"NEEDED.*\[(.*)\]", needed)), set(names)


def stand_ins(folder, torch):
    """Empty libraries under the names of those that are missing, and one with their functions; returns the latter."""
    functions = folder / "functions.so"
    if functions.exists():
        return functions
    folder.mkdir(parents=True, exist_ok=True)
    here = {path.name for path in (torch / "lib").iterdir()}
    cuda = torch.parent / "nvidia/cu13/lib"
    here |= {path.name for path in cuda.iterdir()} if cuda.exists() else set()
    libraries, names = set(), set()
    for name in ("libtorch_cuda.so", "libtorch_python.so", "libtorch_nvshmem.so"):
        if (torch / "lib" / name).exists():
            more_libraries, more_names = undefined(torch / "lib" / name)
            libraries |= more_libraries
            names |= more_names

    def compile(output, source):
        subprocess.run(["gcc", "-shared", "-nostdlib", "-w", "-fno-builtin", "-o", output, f"-Wl,-soname,{output.name}",
                        "-x", "c", "-"], input=source, text=True, check=True)

    for name in libraries:
        if name.startswith(("libcu", "libnccl", "libnvshmem")) and name not in here:
            compile(folder / name, "")
    compile(folder / "part.so", "".join(f"void {name}(void) {{}}\n" for name in sorted(names)))
    (folder / "part.so").rename(functions)
    return functions


def with_torch(deps, folder):
    """deps: where ./run puts libtorch; folder: for what is made. Returns the program and its environment."""
    site = site_packages(deps)
    python = deps / "venv/bin/python3"
    install(python, folder / "packages", PACKAGES)
    variables = {**os.environ, "PYTHONPATH": f"{folder / 'packages'}:{site}", "PYTHONDONTWRITEBYTECODE": "1"}
    if not any((deps / name).exists() for name in os.listdir(deps) if name.startswith("full-")):
        functions = stand_ins(folder / "stand_ins", site / "torch")
        variables["LD_PRELOAD"] = str(functions)
        variables["LD_LIBRARY_PATH"] = f"{functions.parent}:{site / 'nvidia/cu13/lib'}"
    return python, variables


if __name__ == "__main__":
    # environment.py DEPS FOLDER ARGUMENT...: Python with these arguments.
    python, variables = with_torch(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve())
    os.execve(python, [str(python), *sys.argv[3:]], variables)
