"""A resumed prediction computes each image in the company that it would have had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import tiny_export
from tiny_images import picture

from wbczoo.runtime import Session
from wbczoo.runtime.resume import Layout, part_of, write_rows

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
