"""Plant small faults in the core by mutmut, and fail where the tests notice fewer than nine of ten.

    python tools/mutants.py [all]

`[tool.mutmut]` of pyproject.toml names the modules and the tests. Of each function's mutants those
are tried whose number ends in `SAMPLE`, or all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
GOAL = 0.9
SAMPLE = "7"
NOTICED = {1, 3, 36, -24, 24, 152, 255}  # mutmut's codes: a test failed, or it ran out of time


def main() -> int:
    """Run mutmut, and print the share of each module and the mutants that survived."""
    digits = "0-9" if sys.argv[1:] == ["all"] else SAMPLE
    tried = f"*__mutmut_*[{digits}]"
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "2", tried]
    subprocess.run(command, cwd=ROOT, check=True)
    noticed, planted, survived = Counter[str](), Counter[str](), []
    for meta in sorted((ROOT / "mutants" / "wbczoo").rglob("*.py.meta")):
        module = meta.relative_to(ROOT / "mutants").as_posix().removesuffix(".meta")
        codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
        for name, code in codes.items():
            if code is None:  # not in the sample
                continue
            planted[module] += 1
            noticed[module] += code in NOTICED
            survived += [name] if code not in NOTICED else []
    planted["all"], noticed["all"] = planted.total(), noticed.total()
    lines = [
        f"{module:40} {noticed[module]:5} of {number:5} {noticed[module] / number:6.1%}"
        for module, number in planted.items()
    ]
    sys.stdout.write("\n".join(["", *survived, *lines, ""]))
    return 0 if noticed["all"] >= GOAL * planted["all"] else 1


if __name__ == "__main__":
    sys.exit(main())
