"""The pictures of the review's page, of drawn fields, in a Chromium that is driven."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wbczoo_datasets.fields import render_field


def photograph_review(root: Path, pictures: Path) -> None:
    """Photograph the page, light, with its keys in dark, narrow, and what is signed.

    Args:
        root: of the repository.
        pictures: the folder to write into; nothing is where Chromium cannot be driven.
    """
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ModuleNotFoundError:
        webdriver = None
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if webdriver is None or browser is None or driver is None:
        sys.stderr.write(
            "chromium is not driven here: the review's pictures are left as they are\n"
        )
        return
    with tempfile.TemporaryDirectory() as place:
        fields = Path(place) / "smears"
        fields.mkdir()
        for seed in range(24):
            image = render_field(9, np.random.default_rng(seed)).image
            Image.fromarray(image).save(fields / f"field-{seed:02d}.png")
        ranges = Path(place) / "ranges.csv"
        ranges.write_text("class,low,high\nneutrophil,40,75\nlymphocyte,20,45\nmonocyte,2,10\n")
        command = [sys.executable, "-m", "wbczoo", "review", "smears", "--out", "reviewed",
                   "--model", root / "exports" / "leukocyte-nano", "--no-browser",
                   "--reviewer", "A. Ito", "--ranges", ranges, "--micrometres", "0.09"]  # fmt: skip
        with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            try:
                for shot in (_light, _dark, _narrow, _signed):
                    options = webdriver.ChromeOptions()
                    options.binary_location = browser
                    for each in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
                        options.add_argument(each)
                    page = webdriver.Chrome(options=options, service=Service(driver))
                    page.set_script_timeout(600)
                    try:
                        shot(page, address, pictures)
                    finally:
                        page.quit()
            finally:
                server.terminate()


def _show(page: Any, address: str, out: Path, size: tuple[int, int], *keys: str) -> None:
    """Open a review's page, press keys, and photograph it."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    page.set_window_size(*size)
    page.get(address)
    ready = "return [...document.querySelectorAll('.tile img')].filter(i => i.naturalWidth).length"
    WebDriverWait(page, 300).until(lambda _: page.execute_script(ready) > 20)
    ActionChains(page).send_keys(*keys).perform()
    time.sleep(3)
    _save(page, out)


def _save(page: Any, out: Path) -> None:
    with Image.open(io.BytesIO(page.get_screenshot_as_png())) as shown:
        shown.convert("RGB").save(out, quality=82)


def _light(page: Any, address: str, pictures: Path) -> None:
    _show(page, address, pictures / "review.jpg", (1400, 1000), "5", "3", "4", "5", "m")


def _dark(page: Any, address: str, pictures: Path) -> None:
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    _show(page, address, pictures / "review-keys.jpg", (1400, 1000), "?")


def _narrow(page: Any, address: str, pictures: Path) -> None:
    _show(page, address, pictures / "review-narrow.jpg", (640, 1200), ".")


def _signed(page: Any, address: str, pictures: Path) -> None:
    confirm = """
        const told = await (await fetch('api/review')).json();
        const shown = (await (await fetch('api/cells')).json()).cells;
        const cells = shown.map((_, cell) => cell);
        const to = shown.map((each) => told.proposes[each[5]] ?? 'not_a_cell');
        const post = (path, body) => fetch(path, {method: 'POST', body: JSON.stringify(
            {by: told.reviewer, ...body})});
        await post('api/act', {actions: [{do: 'decide', token: 'all-of-them', cells, to,
            seen: cells.map(() => 1e6)}]});
        await post('api/sign', {});
        done();
    """
    page.set_window_size(900, 1000)
    page.get(address)
    page.execute_async_script(f"(async (done) => {{{confirm}}})(arguments[0])")
    page.get(f"{address}signed")
    time.sleep(1)
    _save(page, pictures / "review-signed.jpg")
