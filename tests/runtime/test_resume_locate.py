"""Found cells in a file: stopped anywhere, a run goes on to the same bytes, or says why not."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import drawn_fields
import pytest
from commands import Completed, call

from wbczoo.runtime.locate import write_located
from wbczoo.runtime.rows import Layout

Run = Callable[..., Completed]

KILLER = Path(__file__).with_name("killed_prediction.py")


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Fields of none to several cells and two that are refused; two are named twice in a row."""
    folder = tmp_path_factory.mktemp("fields")
    (folder / "02-half.png").write_bytes(b"x")
    written = drawn_fields.write_fields(folder)
    return sorted(map(str, [*written, folder / "00-two.png", folder / "02-half.png"]))


class StoppedError(Exception):
    """What stops a run in these tests."""


class Watch:
    """Lets so many images be written."""

    def __init__(self, images: int = 1000) -> None:
        self.left = images

    def __call__(self, before: int) -> Watch:
        return self

    def __enter__(self) -> Callable[[int], object]:
        return self.advance

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, more: int) -> None:
        self.left -= more
        if self.left <= 0:
            raise StoppedError


@pytest.mark.parametrize("layout", ["jsonl", "csv"])
def test_cut_anywhere_no_cell_is_lost_or_doubled(
    fields: list[str], tmp_path: Path, layout: Layout
) -> None:
    out, part, state = (tmp_path / name for name in ("rows", "rows.part", "rows.part.json"))
    with pytest.raises(StoppedError):  # leaves what says by what the rows were made
        write_located(out, fields, layout=layout, watch=Watch(1))
    made_by = state.read_bytes()
    done = write_located(out, fields, layout=layout, resume=True, watch=Watch())
    assert done.count.images == len(fields)
    assert done.computed == len(fields) - (layout == "jsonl")  # a table's last image is done anew
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    whole = out.read_bytes()
    records = whole.splitlines(keepends=True)
    assert len(records) > len(fields) or layout == "jsonl"
    for count in range(1, len(records)):
        out.unlink()
        part.write_bytes(b"".join(records[:count]) + records[count][: 9 * (count % 2)])
        state.write_bytes(made_by)
        again = write_located(out, fields, layout=layout, resume=True, watch=Watch())
        assert (again.count, out.read_bytes()) == (done.count, whole), count


def test_a_killed_call_goes_on_with_the_same_call_alone(
    fields: list[str], wbczoo: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.csv"
    command = ["locate", *fields, "--format", "csv", "--out", str(out)]
    printed = wbczoo(*command[:-2], expect=3)
    trapped = [sys.executable, str(KILLER), "half-row", "4", *command]
    assert subprocess.run(trapped, check=False).returncode == -signal.SIGKILL
    kept = (tmp_path / "rows.csv.part").read_bytes()
    assert printed.stdout.encode().startswith(kept[: kept.rfind(b"\n") + 1])
    for more, reason in (
        ((), "Give --resume to go on"),
        (("--resume", "--overwrite"), "give one"),
        (("--resume", "--least", "0.5"), "another lowest score"),
        (("--resume", "--format", "jsonl"), "another row format"),
        (("--resume", "--format", "geojson"), "goes on behind rows"),
    ):
        assert call([*command, *more]) == 2
        assert reason in capfd.readouterr().err
    assert call(["locate", *fields[3:], *command[-4:], "--resume"]) == 2
    assert "Row 1 of" in capfd.readouterr().err
    assert (tmp_path / "rows.csv.part").read_bytes() == kept
    done = wbczoo(*command, "--resume", "--draw", str(tmp_path / "drawn"), expect=3)
    assert out.read_text(encoding="utf-8") == printed.stdout
    assert "3 refused" in done.stderr
    assert "nothing is left to resume" in wbczoo(*command, "--resume").stderr
    assert "with --out" in wbczoo(*command[:-2], "--resume", expect=2).stderr
