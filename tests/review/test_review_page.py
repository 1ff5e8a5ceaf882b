"""The page of a review in a real browser: keys, undo, tabs, names, a stop, and the signature."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra `review` is not installed")

from browser import chord, chromium, open_page, press, saved, text_of, wait_for
from drawn_review import decision, open_drawn, serving

from wbczoo.review.serve import begin_second
from wbczoo.review.session import LONGEST_NOTE, Action
from wbczoo.runtime.predict import load


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with chromium() as found:
        yield found


def script(driver: Any, code: str, *given: Any) -> Any:
    return driver.execute_script(code, *given)


def test_a_name_that_is_none_is_asked_for_again(driver: Any, tmp_path: Path) -> None:
    """What somebody without a name decided was refused, cell by cell, and lost."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    asked = "return document.getElementById('name-dialog').open"
    with serving(open_drawn(tmp_path / "review")) as address:
        driver.get(f"{address}/secret/")
        wait_for(lambda: script(driver, asked))
        entry = driver.find_element(By.ID, "name-input")
        for given in ("\n", "   \n", "a\u202eb\n", Keys.ESCAPE, Keys.ESCAPE, Keys.ESCAPE):
            entry.clear()
            entry.send_keys(given)
            assert wait_for(lambda: script(driver, asked))
        entry.clear()
        entry.send_keys("  Ada\u00a0 Ito \n")
        wait_for(lambda: script(driver, "return document.querySelector('.tile.current')"))
        assert text_of(driver, "name") == "Ada Ito"
        press(driver, "1")
        wait_for(lambda: saved(driver) and "1 of " in text_of(driver, "progress-text"))
        driver.find_element(By.ID, "name").click()
        entry.send_keys("?", Keys.ESCAPE)  # which leaves the name as it was
        assert text_of(driver, "name") == "Ada Ito"
        driver.get("about:blank")  # else it asks a server that has ended, which another test hears


def test_200_cells_are_reviewed_and_signed_by_keys_alone(driver: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    review = open_drawn(tmp_path / "review", photographs=10, cells=20, flagged=8)
    with serving(review) as address:
        open_page(driver, f"{address}/secret/")
        assert "200 looked at, 25 flagged left" in text_of(driver, "progress-text")
        chord(driver, Keys.CONTROL, Keys.ENTER)
        assert "25 flagged cells are unseen" in text_of(driver, "sign-text")
        press(driver, Keys.ENTER)  # shows the first
        press(driver, "1", "2", "3", "4", "n", "s", " ", "u", chr(0xE008) + "U" + chr(0xE008))
        press(driver, ".", *(["2"] * 18))
        wait_for(lambda: saved(driver) and " 0 flagged left" in text_of(driver, "progress-text"))
        press(driver, Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.END, Keys.HOME)
        chord(driver, Keys.SHIFT, " ")
        wait_for(lambda: saved(driver))
        chord(driver, Keys.CONTROL, Keys.ENTER)
        wait_for(lambda: "stand behind" in text_of(driver, "sign-text"))
        unseen = review.view("Ada")[1].to_dict()["accepted"]
        asked = f"{unseen} cells were not looked at and count as proposed. Sign?"
        assert asked in text_of(driver, "sign-text")
        press(driver, Keys.ENTER)
        wait_for(lambda: "Signed by Ada" in text_of(driver, "banner"))
        assert f"In {tmp_path / 'review'}: differential.html" in text_of(driver, "banner")
        press(driver, "1")
        assert "signed" in text_of(driver, "say")
        link = script(driver, "return document.querySelector('#banner a').href")
        driver.get(link)
        assert "White cell differential" in driver.page_source
        # The one complaint that is allowed: an icon is no part of that page.
        errors = [
            each["message"]
            for each in driver.get_log("browser")
            if "favicon" not in each["message"]
        ]
        assert errors == []
    document = json.loads((tmp_path / "review" / "differential.json").read_text())
    assert document["unseen"] == 0
    assert document["skipped"] == 1
    assert document["classes"]["not_a_cell"]["reviewed"] == 1


def test_what_is_hostile_in_a_name_stays_text(driver: Any, tmp_path: Path) -> None:
    review = open_drawn(tmp_path / "<img src=x onerror=document.title='broken'>")
    hostile = "<script>document.title='broken'</script>"
    by = "<b onmouseover=alert(1)>Eve"
    review.act(by, [
        Action.model_validate({"do": "note", "token": "note-token", "text": hostile}),
        Action.model_validate(decision(0, to="monocyte")),
    ])  # fmt: skip
    with serving(review) as address:
        open_page(driver, f"{address}/secret/", by)
        for name in ("Sign…", "Keys"):
            script(driver, "[...document.querySelectorAll('nav button')].find(b => b.textContent"
                   " === arguments[0]).click()", name)  # fmt: skip
            script(driver, "document.querySelector('dialog[open]').close()")
        assert driver.title.startswith("Review")
        assert (
            script(
                driver, "return document.querySelectorAll('img[src=x], main b[onmouseover]').length"
            )
            == 0
        )
        assert "onerror" in text_of(driver, "cell-path")
        assert script(driver, "return document.getElementById('note-comment').value") == hostile
        # A longer one would be refused, and with it what is sent in the same request.
        areas = "return [...document.querySelectorAll('textarea')].map((area) => area.maxLength)"
        assert script(driver, areas) == [LONGEST_NOTE] * 4


def test_two_tabs_see_one_another_and_nothing_is_lost(driver: Any, tmp_path: Path) -> None:
    review = open_drawn(tmp_path / "review", photographs=2, cells=10, flagged=5)
    with serving(review) as address:
        open_page(driver, f"{address}/secret/", "Ada")
        first = driver.current_window_handle
        driver.switch_to.new_window("tab")
        script(driver, "1")
        driver.get(f"{address}/secret/")
        wait_for(lambda: script(driver, "return document.querySelector('.tile.current')"))
        script(driver, "sessionStorage.setItem('wbczoo-reviewer', 'Bea'); location.reload()")
        wait_for(lambda: script(driver, "return document.querySelector('.tile.current')"))
        press(driver, "1")
        wait_for(lambda: saved(driver))
        second = driver.current_window_handle
        driver.switch_to.window(first)
        wait_for(lambda: "1 of 20 looked at, 3 flagged left" in text_of(driver, "progress-text"))
        press(driver, "2")
        wait_for(lambda: saved(driver))
        driver.switch_to.window(second)
        wait_for(lambda: "2 of 20 looked at, 2 flagged left" in text_of(driver, "progress-text"))
        driver.close()
        driver.switch_to.window(first)
    assert [entry["by"] for entry in review.log.entries[1:]] == ["Bea", "Ada"]


def test_a_page_reconnects_by_itself_and_sends_what_waited(driver: Any, tmp_path: Path) -> None:
    review = open_drawn(tmp_path / "review")
    with serving(review) as address:
        port = int(address.rpartition(":")[2])
        open_page(driver, f"{address}/secret/")
        press(driver, "1")
        wait_for(lambda: saved(driver))
    press(driver, "2", "3")
    wait_for(lambda: "Not connected" in text_of(driver, "saved"))
    assert len(review.log.entries) == 2
    with serving(open_drawn(tmp_path / "review"), port=port):
        wait_for(lambda: saved(driver))
    assert len(open_drawn(tmp_path / "review").log.entries) == 4


@pytest.mark.parametrize(
    ("width", "dark"),
    [
        (1400, False),
        pytest.param(1400, True, marks=pytest.mark.nightly),
        pytest.param(640, False, marks=pytest.mark.nightly),
    ],
)
def test_axe_finds_nothing_to_complain_of(tmp_path: Path, width: int, dark: bool) -> None:
    axe_of = pytest.importorskip("axe_core_python.selenium", reason="axe is not installed").Axe
    review = open_drawn(tmp_path / "review", photographs=4, cells=20, flagged=9)
    with chromium(width, 900, dark=dark) as driver, serving(review) as address:
        open_page(driver, f"{address}/secret/")
        driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
        press(driver, "1", "n")
        for shown in ("", "help-dialog", "sign-dialog"):
            if shown:
                script(driver, "document.getElementById(arguments[0]).showModal()", shown)
            found = axe_of().run(driver)["violations"]
            assert found == [], json.dumps(found, indent=1)
            if shown:
                script(driver, "document.getElementById(arguments[0]).close()", shown)


def test_chosen_cells_are_dragged_onto_a_class(driver: Any, tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    review = open_drawn(tmp_path / "review", photographs=2, cells=10, flagged=5)
    with serving(review) as address:
        open_page(driver, f"{address}/secret/")
        chord(driver, Keys.SHIFT, Keys.ARROW_RIGHT)
        tile = driver.find_element(By.CSS_SELECTOR, ".tile.current")
        onto = driver.find_element(By.CSS_SELECTOR, 'tr[data-to="monocyte"]')
        ActionChains(driver).drag_and_drop(tile, onto).perform()
        wait_for(lambda: review.version > 1)
        wait_for(lambda: saved(driver))
    found = [entry["to"] for entry in review.log.entries[1:]]
    assert found == ["monocyte"] * 2


def test_the_map_of_the_current_cell_is_drawn_when_it_is_asked_for(
    driver: Any, tmp_path: Path
) -> None:
    review = open_drawn(tmp_path / "review", photographs=2, cells=4, flagged=5)
    opened = partial(load, "leukocyte-small", device="cpu")
    with serving(review, open_session=opened) as address:
        open_page(driver, f"{address}/secret/")
        assert script(driver, "return document.getElementById('map').hidden")
        script(driver, "document.getElementById('map-toggle').click()")
        width = "return document.getElementById('map-image').naturalWidth"
        wait_for(lambda: script(driver, width), 60)
        assert "Drawing" not in text_of(driver, "map-text")
        source = "return document.getElementById('map-image').getAttribute('src')"
        before = script(driver, source)
        press(driver, "1")  # the next cell has a map of its own
        wait_for(lambda: script(driver, source) not in (before, None))
    with serving(review) as address:  # without the model
        open_page(driver, f"{address}/secret/")
        script(driver, "document.getElementById('map-toggle').click()")
        wait_for(lambda: "There is no map" in text_of(driver, "map-text"))


def test_the_page_of_a_second_reviewer_is_blind(driver: Any, tmp_path: Path) -> None:
    review = open_drawn(tmp_path / "review", photographs=2, cells=4, flagged=5)
    review.act("Ada", [Action.model_validate(decision(0, 1, 2, to="monocyte"))])
    begin_second(review, "Ada", "Bea")
    with serving(review, {"first": "Ada", "second": "Bea"}) as address:
        driver.get(f"{address}/second/")
        wait_for(lambda: script(driver, "return document.querySelector('.tile.current')"))
        assert "0 of 8 looked at" in text_of(driver, "progress-text")
        assert not script(driver, "return document.querySelector('.tile.seen')")
        assert "Ada" not in script(driver, "return document.getElementById('main').innerText")
        press(driver, "1")
        wait_for(lambda: saved(driver))
        driver.get(f"{address}/first/")
        wait_for(lambda: "3 of 8 looked at" in text_of(driver, "progress-text"))
    assert review.log.entries[-1]["by"] == "Bea"


def test_a_missed_cell_is_added_by_keys_alone_and_by_dragging(driver: Any, tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    review = open_drawn(tmp_path / "review", photographs=1, cells=4, flagged=9)
    driver.get_log("browser")  # of other tests
    with serving(review) as address:
        open_page(driver, f"{address}/secret/")
        script(driver, "document.querySelector('.side').scrollTop = 1e4")
        press(driver, "a", Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
        above = "const top = (it) => document.querySelector(it).getBoundingClientRect().top;"
        assert script(driver, f"{above} return top('#field') >= top('.side')")
        chord(driver, Keys.SHIFT, Keys.ARROW_RIGHT)
        assert review.version == 1
        press(driver, "3")
        wait_for(lambda: "1 of 5 looked at" in text_of(driver, "progress-text"))
        added = review.cells[4]
        left, top, right, bottom = added.box
        assert (right - left, bottom - top) == (27, 24)  # the size of the others, and wider
        assert ((left + right) // 2, (top + bottom) // 2) == (163, 126)
        shown = "return document.querySelector('.tile.current img').naturalWidth"
        wait_for(lambda: script(driver, shown))
        assert "decided by Ada" in text_of(driver, "cell-title")
        press(driver, "u")
        wait_for(lambda: "0 of 4 looked at" in text_of(driver, "progress-text"))
        assert len(driver.find_elements(By.CSS_SELECTOR, "#field-boxes rect")) == 4
        script(driver, "document.getElementById('add').click()")
        field = driver.find_element(By.ID, "field")
        chain = ActionChains(driver).move_to_element_with_offset(field, -30, 40)
        chain.click_and_hold().move_by_offset(50, 45).release().perform()
        script(driver, "document.querySelector('tr[data-to=neutrophil] button').click()")
        wait_for(lambda: "1 of 5 looked at" in text_of(driver, "progress-text"))
        press(driver, "a", Keys.ESCAPE, "2")  # leaves the mode: the key decides a cell again
        wait_for(lambda: review.view("Ada")[0].decided[5].to == "lymphocyte")
        errors = [each["message"] for each in driver.get_log("browser")]
        assert errors == []


@pytest.mark.parametrize("width", [400, 1280, 1600])
def test_no_number_of_the_count_is_cut(driver: Any, tmp_path: Path, width: int) -> None:
    review = open_drawn(tmp_path / "review", photographs=12, cells=40, flagged=9)
    review.ranges = {"neutrophil": (40.0, 75.0)} if width == 1600 else None
    sizes = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
    try:
        with serving(review) as address:
            open_page(driver, f"{address}/secret/")
            assert script(driver, "return innerWidth") == width
            cut = """
                const box = document.getElementById('count-box');
                const end = box.getBoundingClientRect().right + 0.5;
                return [...box.querySelectorAll('th, td')].filter((each) => each.offsetWidth)
                    .filter((each) => each.scrollWidth > each.clientWidth
                        || each.getBoundingClientRect().right > end).map((each) => each.outerHTML)
            """
            wait_for(lambda: script(driver, cut) == [])
            columns = """
                return [...document.querySelectorAll('#count thead th')]
                    .filter((each) => each.offsetWidth).map((each) => each.textContent)
            """
            shown = script(driver, columns)
            assert shown[:3] == ["class", "cells", "%"]
            assert len(shown) >= {400: 3, 1280: 5, 1600: 7}[width]
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_undo_leads_to_the_cell_that_the_next_key_decides(driver: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    review = open_drawn(tmp_path / "review", photographs=10, cells=20, flagged=8)
    with serving(review) as address:
        open_page(driver, f"{address}/secret/")
        current = "return Number(document.querySelector('.tile.current').dataset.cell)"
        first = script(driver, current)
        press(driver, "1")
        chord(driver, Keys.CONTROL, Keys.ARROW_DOWN)
        press(driver, Keys.END, "u", "2")  # at once: the key waits for the frame
        wait_for(lambda: saved(driver))
        assert text_of(driver, "say") == "Undone: eosinophil, was unidentified."
        assert {cell: each.to for cell, each in review.view("Ada")[0].decided.items()} == {
            first: "lymphocyte"
        }
        press(driver, "u")
        wait_for(lambda: "lymphocyte" in text_of(driver, "say"))
        press(driver, "U")
        wait_for(lambda: text_of(driver, "say") == "Done again: lymphocyte, was unidentified.")
        # What is said comes before the next frame is painted, which may lay the gallery out anew.
        wait_for(lambda: script(driver, "return document.querySelector('.tile.current') !== null"))
        assert script(driver, current) == first
        box = (
            "const {top, bottom} = document.querySelector('.tile.current').getBoundingClientRect();"
        )
        wait_for(lambda: script(driver, f"{box} return top >= 0 && bottom <= innerHeight"))


def test_notes_and_buttons_are_left_by_keys(driver: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    review = open_drawn(tmp_path / "review", photographs=1, cells=4, flagged=9)
    focus = "return document.activeElement.id"
    with serving(review) as address:
        open_page(driver, f"{address}/secret/")
        press(driver, ",", "pale")
        assert script(driver, focus) == "note-red_cells"
        press(driver, Keys.ESCAPE)
        assert script(driver, focus) == "gallery"
        driver.find_element(By.ID, "zoom").click()
        assert script(driver, focus) == "gallery"
        press(driver, "1", ",", " cells")
        chord(driver, Keys.CONTROL, Keys.ENTER)  # and the note is saved before
        wait_for(lambda: script(driver, "return document.getElementById('sign-dialog').open"))
        press(driver, Keys.ESCAPE)
        assert script(driver, focus) == "gallery"
        script(driver, "document.getElementById('undo').focus()")
        chord(driver, Keys.CONTROL, Keys.ENTER)
        wait_for(lambda: script(driver, "return document.getElementById('sign-dialog').open"))
    assert review.view("Ada")[0].notes == {"red_cells": "pale cells"}


def test_photographs_are_gone_through_and_what_was_decided_is_marked(
    driver: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.common.keys import Keys

    review = open_drawn(tmp_path / "review", photographs=3, cells=6, flagged=20)
    proposed = review.cells[0].proposed
    key, other = next((c.key, c.name) for c in review.choices if c.name != proposed)
    with serving(review) as address:
        open_page(driver, f"{address}/secret/")
        for seen in ("1 of 3", "2 of 3", "3 of 3"):
            assert text_of(driver, "photographs-seen") == f"{seen} photographs seen"
            chord(driver, Keys.CONTROL, Keys.ARROW_RIGHT)
        assert "field-0002" in text_of(driver, "cell-path")
        assert text_of(driver, "say") == "This is the last photograph."
        chord(driver, Keys.CONTROL, Keys.ARROW_LEFT)
        chord(driver, Keys.CONTROL, Keys.ARROW_LEFT)  # at its first cell that nobody looked at
        press(driver, key)
        decided = "return [...document.querySelectorAll('rect.decided')].map((r) => r.dataset.cell)"
        press(driver, "u", "U")
        wait_for(lambda: "Done again" in text_of(driver, "say"))
        assert script(driver, decided) == ["0"]
        tag = script(driver, "return document.querySelector('.tile.current .tag').innerText")
        share = round(100 * max(review.cells[0].probabilities))
        assert tag.split() == ["was:", str(proposed).capitalize(), f"{share}", "%", "✓"]
        assert f"was: {str(proposed).capitalize()}" in text_of(driver, "cell-title")
        assert other.capitalize() in text_of(driver, "cell-title")
