# SPDX-License-Identifier: MIT
"""Unpacks the CPython and pip that a go-embed-python module carries: unpack.py MODULE TARGET."""

import gzip
import json
import platform
import shutil
import sys
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
GO_MODE_DIR = 1 << 31


def unpack(source, target):
    for entry in json.loads((source / "files.json").read_text())["files"]:
        path = target / entry["name"]
        if entry["perm"] & GO_MODE_DIR:
            path.mkdir(parents=True, exist_ok=True)
        elif "symlink" in entry:
            path.symlink_to(entry["symlink"])
        else:
            packed = entry.get("compressed", False)
            name = source / (entry["name"] + ".gz" if packed else entry["name"])
            with (gzip.open if packed else open)(name, "rb") as data, open(path, "wb") as out:
                shutil.copyfileobj(data, out)
            path.chmod(entry["perm"] & 0o777)


def main(module, target):
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        sys.exit(f"unpack.py: the module has no CPython for {machine}")
    unpack(module / "python/internal/data" / f"linux-{ARCHITECTURES[machine]}", target)
    (library,) = target.glob("lib/python3.*")
    unpack(module / "pip/internal/data", library / "site-packages")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
