"""Feed mutated images to `wbczoo predict`: `tools/fuzz_predict.py --model exports/a`.

Exits 1 if there is a crash, a hang, a missing or misplaced row, an answer that is not the usual
one, a refusal without a sentence, anything else on stderr, or a peak memory of 1 GB or more.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import fuzz_images  # noqa: E402
import fuzz_run  # noqa: E402

LARGEST_PEAK = 1000.0  # MB


def main() -> int:
    """Draw, ask, and print what was seen."""
    parser = argparse.ArgumentParser(description="Feed mutated images to wbczoo predict.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=10.0, help="seconds for each image")
    parser.add_argument(
        "--together", action="store_true", help="in batches and threads as by default"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = fuzz_run.run(
            fuzz_images.cases(given.count, given.seed), given.model.resolve(), Path(folder),
            limit=given.limit, one_by_one=not given.together,
        )  # fmt: skip
    if found.peak_mb >= LARGEST_PEAK:
        found.faults.append(f"Its peak memory was {found.peak_mb:.0f} MB.")
    print(f"seed {given.seed}: {found.images} images in {found.seconds:.0f} s")  # noqa: T201
    print(f"answered {found.answered.total()}, refused {found.refused.total()}")  # noqa: T201
    for kind in sorted(found.answered | found.refused):
        print(f"  {kind}: {found.answered[kind]} answered, {found.refused[kind]} refused")  # noqa: T201
    print(f"longest wait for a row: {found.worst_gap:.2f} s, {found.slowest}")  # noqa: T201
    print(f"peak memory: {found.peak_mb:.0f} MB")  # noqa: T201
    for fault in found.faults[:50]:
        print(f"FAULT: {fault}")  # noqa: T201
    return bool(found.faults)


if __name__ == "__main__":
    sys.exit(main())
