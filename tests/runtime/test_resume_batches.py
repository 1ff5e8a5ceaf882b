"""A resumed prediction computes each image in the company that it would have had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import drawn_fields
import pytest
import tiny_export
from tiny_images import picture

from wbczoo.errors import UsageError
from wbczoo.runtime import Session
from wbczoo.runtime.cells import Cells
from wbczoo.runtime.part_file import part_of
from wbczoo.runtime.resume import write_rows
from wbczoo.runtime.rows import Layout

BATCH, IMAGES = 4, 11
Advance = Callable[[int], object]


class StoppedError(Exception):
    """What stops a run in these tests."""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A model whose answers depend on what else is in the batch."""
    folder = tmp_path_factory.mktemp("company")
    return Session(tiny_export.write_model(folder / "model.onnx", company=True), device="cpu")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images, of which the third is refused: its batch is one smaller."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(IMAGES):
        (folder / f"{number:02}.png").write_bytes(b"x" if number == 2 else picture(number))
    return sorted(folder.iterdir())


def stop_after(rows: int) -> Callable[[int], AbstractContextManager[Advance]]:
    """A watch that lets so many rows be written, counting those that stood there before."""

    @contextmanager
    def watch(before: int) -> Iterator[Advance]:
        count = before

        def advance(more: int) -> None:
            nonlocal count
            count += more
            if count >= rows:
                raise StoppedError

        yield advance

    return watch


@pytest.mark.parametrize("layout", ["jsonl", "csv"])
def test_stopped_after_any_row_it_goes_on_to_equal_bytes(
    session: Session, paths: list[Path], tmp_path: Path, layout: Layout
) -> None:
    whole = tmp_path / f"whole.{layout}"

    def write(out: Path, watch: Callable[[int], AbstractContextManager[Advance]]) -> None:
        write_rows(
            out, session, iter(paths), layout=layout, batch_size=BATCH, workers=1,
            resume=part_of(out).exists(), watch=watch,
        )  # fmt: skip

    write(whole, stop_after(IMAGES + 1))
    cut = set()
    for stop in range(1, IMAGES):
        out = tmp_path / f"{stop}.{layout}"
        with pytest.raises(StoppedError):
            write(out, stop_after(stop))
        cut.add(part_of(out).read_bytes().count(b".png") % BATCH)
        write(out, stop_after(IMAGES + 1))
        assert out.read_bytes() == whole.read_bytes(), stop
    assert cut == {0, 1, 2, 3}  # every place of a batch was cut


@pytest.fixture(scope="module")
def cropping(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """The same of a model that was trained on cells."""
    folder = tmp_path_factory.mktemp("cropping")
    return Session(drawn_fields.write_model(folder / "model.onnx", company=True), device="cpu")


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Fields of several cells, of which two are named twice in a row."""
    folder = tmp_path_factory.mktemp("fields")
    return sorted(
        [*drawn_fields.write_fields(folder), folder / "00-two.png", folder / "04-one.png"]
    )


@contextmanager
def unwatched(before: int) -> Iterator[Advance]:
    yield int


@pytest.mark.parametrize("layout", ["jsonl", "csv"])
@pytest.mark.parametrize("cells", ["one", "all"])
def test_cut_between_two_cells_none_is_lost_or_doubled(
    cropping: Session, fields: list[Path], tmp_path: Path, layout: Layout, cells: Cells
) -> None:
    out, part = tmp_path / "rows", part_of(tmp_path / "rows")
    made_by = part.with_name("rows.part.json")

    def write(rest: list[Path], *, resume: bool = False) -> int:
        done = write_rows(
            out, cropping, iter(rest), layout=layout, batch_size=3, workers=1, cells=cells,
            resume=resume, watch=unwatched,
        )  # fmt: skip
        return done.count.images

    with pytest.raises(StoppedError):  # leaves what says by what the rows were made
        write_rows(out, cropping, iter(fields), layout=layout, batch_size=3, workers=1,
                   cells=cells, watch=stop_after(1))  # fmt: skip
    kept = made_by.read_bytes()
    assert write(fields, resume=True) == len(fields)
    whole = out.read_bytes()
    records = whole.splitlines(keepends=True)
    assert len(records) == {"one": 8, "all": 13}[cells] + (layout == "csv")
    for count in range(1, len(records)):
        out.unlink()
        # What a kill leaves: so many rows, and at times a half-written one.
        part.write_bytes(b"".join(records[:count]) + records[count][: 9 * (count % 2)])
        made_by.write_bytes(kept)
        assert write(fields, resume=True) == len(fields)
        assert out.read_bytes() == whole, count


def test_rows_of_another_choice_of_cells_are_not_gone_on_with(
    cropping: Session, fields: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(StoppedError):
        write_rows(tmp_path / "rows", cropping, iter(fields), layout="jsonl", cells="one",
                   watch=stop_after(2))  # fmt: skip
    before = part_of(tmp_path / "rows").read_bytes()
    with pytest.raises(UsageError, match="another choice of --cells"):
        write_rows(tmp_path / "rows", cropping, iter(fields), layout="jsonl", cells="all",
                   resume=True, watch=unwatched)  # fmt: skip
    assert part_of(tmp_path / "rows").read_bytes() == before
