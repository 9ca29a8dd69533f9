#!/usr/bin/env python3
"""Writes a set of samples of the layout of this folder with other values, shapes and faults: make_samples.py SEED FOLDER.

Needs numpy and gguf (whose tables and quantiser serve for GGUF). What each file must do is that of index.json beside this
script. The values are computed here from the published layouts in float64, or in float32 where a layout says so; no
code of the program is used. The same seed gives the same files.
"""

import argparse
import json
import pathlib
import sys

from sample_set import gguf_files, loras, plain_files, quantised, torch_files, torch_files_bad
from sample_set.common import SampleSet


def index_of(samples, layout):
    """The index of the layout with what is different in this set. Exits where a file is absent or one too many."""
    files = layout["files"]
    wanted = set(files) | {entry["expected"] for entry in files.values() if "expected" in entry}
    if wanted != samples.written:
        sys.exit(f"make_samples: not written {sorted(wanted - samples.written)}, not in the index "
                 f"{sorted(samples.written - wanted)}; make both agree")
    described = {name: entry | samples.changes.get(name, {}) for name, entry in files.items()}
    return layout | {"files": described, "seed": samples.seed}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seed", type=int)
    parser.add_argument("folder", type=pathlib.Path, help="created; must not exist")
    options = parser.parse_args()
    if options.folder.exists():
        sys.exit(f"make_samples: {options.folder} exists; name a folder that does not")
    samples = SampleSet(options.folder, options.seed)
    for part in (plain_files, quantised, gguf_files, torch_files, torch_files_bad, loras):
        part.write(samples)
    layout = json.loads((pathlib.Path(__file__).parent / "index.json").read_text())
    (options.folder / "index.json").write_text(json.dumps(index_of(samples, layout), indent=1) + "\n")
    print(f"{len(layout['files'])} samples of seed {options.seed} in {options.folder}")


if __name__ == "__main__":
    main()
