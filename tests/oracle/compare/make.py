#!/usr/bin/env python3
"""make.py DEPS FOLDER: makes tests/golden/compare anew. DEPS: where ./run put libtorch; FOLDER: for Python packages. Needs the
program ffmpeg."""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import environment

# scikit-image and lpips with what they import.
PACKAGES = ["scikit-image==0.26.0", "numpy==2.2.6", "scipy==1.17.1", "networkx==3.6.1", "pillow==12.0.0", "imageio==2.37.2",
            "lazy-loader==0.4", "packaging==25.0", "lpips==0.1.4", "torchvision==0.26.0", "tqdm==4.67.1", "sympy==1.14.0",
            "mpmath==1.3.0"]


def main():
    deps, folder = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    python, variables = environment.with_torch(deps, folder)
    environment.install(python, folder / "compare", PACKAGES)
    variables["PYTHONPATH"] = f"{folder / 'compare'}:{variables['PYTHONPATH']}"
    subprocess.run([python, HERE / "cases.py", HERE.parents[1] / "golden/compare"], env=variables, check=True)


if __name__ == "__main__":
    main()
