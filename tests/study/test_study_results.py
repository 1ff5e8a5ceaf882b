"""Results survive a dying writer, and give the figures that an evaluation gives."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_study import context, trial

from wbczoo.errors import WbczooError
from wbczoo.metrics import measure
from wbczoo.study.report.tally import measure_seeds
from wbczoo.study.run.heads import run_heads
from wbczoo.study.run.results import append_results, read_results
from wbczoo.study.run.row import Answered, answers_of, make_row


@pytest.fixture(scope="module")
def row(smears: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A done trial."""
    ((_, found),) = run_heads([trial()], context(smears, tmp_path_factory.mktemp("row")))
    assert isinstance(found, dict)
    return found


def test_a_line_that_a_dying_process_tore_is_dropped_and_cut_off(
    row: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    assert read_results(path) == {}
    assert append_results(path, [row]) == 1
    other = {**row, "key": "other"}
    path.write_bytes(path.read_bytes() + json.dumps(other).encode()[:200])
    assert list(read_results(path)) == [row["key"]]
    assert append_results(path, [other]) == 1
    assert read_results(path) == {row["key"]: row, "other": other}


def test_packed_results_count_with_those_beside_them(row: dict[str, Any], tmp_path: Path) -> None:
    path, packed = tmp_path / "results.jsonl", tmp_path / "results.jsonl.xz"
    append_results(path, [row])
    packed.write_bytes(lzma.compress(path.read_bytes()))
    path.unlink()
    assert read_results(path) == {row["key"]: row}
    append_results(path, [{**row, "key": "other"}])
    assert list(read_results(path)) == [row["key"], "other"]
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(WbczooError, match="xz cannot be read"):
        read_results(path)


def test_a_trial_is_written_once(row: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert append_results(path, [row]) == 1
    before = path.read_bytes()
    assert append_results(path, [{**row, "seconds": 0.0}]) == 0
    assert path.read_bytes() == before


def test_many_trials_are_written_at_once_less_those_that_are_there(
    row: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    # As another program may write JSON: with spaces.
    path.write_text(json.dumps(row) + "\n")
    others = [{**row, "key": name} for name in ("b", "c")]
    assert append_results(path, [others[0], {**row, "seconds": 0.0}, others[1]]) == 2
    assert read_results(path) == {row["key"]: row, "b": others[0], "c": others[1]}
    assert len(path.read_text().splitlines()) == 3
    assert append_results(path, []) == 0


def test_a_damaged_line_is_told_with_its_number(row: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_results(path, [row])
    path.write_bytes(path.read_bytes() + b'{"format": 1}\n' + path.read_bytes())
    with pytest.raises(WbczooError, match="line 2"):
        read_results(path)


def test_answers_by_photograph_give_the_figures_of_an_evaluation(
    smears: Path, tmp_path: Path
) -> None:
    """Whatever the files were answered: figures and intervals are those of `measure`."""
    shared = context(smears, tmp_path)
    split = shared.library.split(trial(protocol="report"), None)
    numbers, rows = split.test, split.tested
    targets = split.targets("test", numbers)
    generator = np.random.default_rng(0)
    likely = {task.name: generator.dirichlet([0.5] * len(task.classes), len(numbers))
              for task in split.tasks}  # fmt: skip
    found = make_row(trial(protocol="report"), [Answered(split, numbers, likely)], seconds=1,
                     device="cpu")  # fmt: skip
    assert found["leaky"]
    assert found["files"] == len(numbers)
    for task in split.tasks:
        photographs = answers_of(found, task.name)
        assert len({one.photograph for one in photographs}) == found["photographs"]
        assert sum(sum(one.counts) for one in photographs) == len(numbers)
        ours = measure_seeds([found], task.name)
        theirs = measure(
            task, targets[task.name], likely[task.name], [rows.groups[n] for n in numbers],
            [rows.samples[n].label for n in numbers],
        )  # fmt: skip
        for name, figure in ours.items():
            assert figure["value"] == pytest.approx(theirs[name]["value"])
            # The order of the rows decides which draws the bootstrap makes.
            assert figure["low"] == pytest.approx(theirs[name]["low"], abs=0.03)
            assert figure["high"] == pytest.approx(theirs[name]["high"], abs=0.03)
        bins = np.array(found["tasks"][task.name]["reliability"])
        assert bins[:, 0].sum() == len(numbers)
        assert bins[:, 2].sum() / len(numbers) == pytest.approx(ours["accuracy"]["value"])
