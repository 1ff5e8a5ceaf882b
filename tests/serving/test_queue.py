"""Images of several callers are computed together, and none is changed or lost by it."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import tiny_export

pytest.importorskip("starlette")
from wbczoo.errors import WbczooError
from wbczoo.runtime import Session
from wbczoo.serving.queue import Outputs, Queue
from wbczoo.serving.refused import Refused

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 3, *tiny_export.SIZE), dtype=np.uint8)


@pytest.fixture(scope="module")
def session(model: Path) -> Session:
    return Session(model, device="cpu")


def test_each_gets_its_own_answer_and_batches_fill(session: Session) -> None:
    sizes: list[int] = []
    queue = Queue(99, most=8, wait=60, threads=2, seen=sizes.append)
    with queue.coming(session):  # until then whole batches alone are computed
        asked = [queue.ask(session, each) for each in PIXELS]
        first = [each.result() for each in asked[:16]]
    found = first + [each.result() for each in asked[16:]]
    assert Counter(sizes) == {8: 2, 4: 1}
    logits = np.stack([each["cell_logits"] for each in found])
    np.testing.assert_allclose(logits, tiny_export.expected_logits(PIXELS)["cell"], atol=1e-4)
    queue.close()


def test_nobody_waits_where_nobody_else_comes(session: Session) -> None:
    queue = Queue(9, most=8, wait=3600, threads=1)
    assert queue.ask(session, PIXELS[0]).result(60)["cell_logits"].shape == (4,)
    queue.close()


def test_images_of_several_models_and_sizes_are_never_mixed(
    session: Session, tmp_path: Path
) -> None:
    of_camera = Session(tiny_export.write_model(tmp_path / "m.onnx", camera=("h", "w")))
    sizes = [(20, 30, 3), (40, 10, 3)]
    queue = Queue(99, most=8, wait=60, threads=2)
    with queue.coming(session), queue.coming(of_camera):
        asked: list[Future[Outputs]] = []
        for number in range(9):
            asked.append(queue.ask(session, PIXELS[number]))
            asked.append(queue.ask(of_camera, np.full(sizes[number % 2], number, np.uint8)))
    expected = tiny_export.expected_logits(PIXELS[:9])["cell"]
    for number in range(9):
        mine, other = (each.result()["cell_logits"] for each in asked[2 * number : 2 * number + 2])
        np.testing.assert_allclose(mine, expected[number], atol=1e-4)
        even = np.full((1, 3, 2, 2), number, np.uint8)
        np.testing.assert_allclose(other, tiny_export.expected_logits(even)["cell"][0], atol=1e-4)
    queue.close()


def test_a_batch_that_fails_tells_all_of_its_callers_and_the_next_is_computed(
    session: Session,
) -> None:
    queue = Queue(9, most=8, wait=0, threads=1)
    wrong = queue.ask(session, np.zeros((3, 5, 5), np.uint8))
    with pytest.raises(WbczooError, match="reads uint8 pixels"):
        wrong.result(60)
    assert queue.ask(session, PIXELS[0]).result(60)
    queue.close()


def test_places_are_given_once_and_come_back(session: Session) -> None:
    queue = Queue(3, most=8, wait=0, threads=1)
    with queue.taken(2):
        with pytest.raises(Refused, match="All places"), queue.taken(2):
            pass
        with queue.taken(1):
            assert queue.full
    assert queue.in_hand == 0
    queue.close()


def test_what_waits_is_answered_when_it_closes(session: Session) -> None:
    queue = Queue(9, most=8, wait=3600, threads=1)
    with queue.coming(session):
        asked = [queue.ask(session, each) for each in PIXELS[:3]]
        queue.close()
    assert all(each.done() for each in asked)
