#!/usr/bin/env python3
"""make.py DEPS OUT [--golden]: the cases of the safety checkers' tests, once for each state of this folder. DEPS: where ./run
put libtorch. --golden: those that lie in the repository, always anew."""

import hashlib
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import environment

# Without what they ask for but these networks do not use.
TRANSFORMERS = ["transformers==4.57.6", "huggingface_hub==0.36.0", "tokenizers==0.22.1", "pillow==11.3.0", "filelock==3.20.0",
                "packaging==25.0", "pyyaml==6.0.3", "regex==2025.9.18", "requests==2.32.5", "urllib3==2.5.0",
                "charset_normalizer==3.4.4", "idna==3.11", "certifi==2025.10.5", "tqdm==4.67.1", "fsspec==2025.9.0",
                "sympy==1.14.0", "mpmath==1.3.0", "jinja2==3.1.6", "markupsafe==3.0.3"]
DIFFUSERS = ["diffusers==0.35.2"]


def main():
    deps, out = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    golden = sys.argv[3:] == ["--golden"]
    state = hashlib.sha256("".join(TRANSFORMERS + DIFFUSERS).encode())
    for path in sorted([*HERE.glob("*.py"), HERE.parent / "environment.py"]):
        state.update(path.read_bytes())
    stamp = out / "state.txt"
    if not golden:
        if stamp.exists() and stamp.read_text() == state.hexdigest():
            return
        shutil.rmtree(out, ignore_errors=True)
    folder = (out.parent if not golden else HERE.parents[2] / "build") / "oracle"
    python, variables = environment.with_torch(deps, folder)
    environment.install(python, folder / "transformers", TRANSFORMERS)
    environment.install(python, folder / "diffusers", DIFFUSERS)
    variables["PYTHONPATH"] = f"{folder / 'transformers'}:{variables['PYTHONPATH']}"
    variables["HF_HUB_OFFLINE"] = "1"
    subprocess.run([python, HERE / "cases.py", out, "--diffusers", folder / "diffusers", *sys.argv[3:]], env=variables,
                   check=True)
    if not golden:
        stamp.write_text(state.hexdigest())


if __name__ == "__main__":
    main()
