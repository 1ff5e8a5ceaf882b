"""Chromium, driven, where it is installed; a test that asks for it is skipped elsewhere."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def chromium(width: int = 1400, height: int = 900, *, dark: bool = False) -> Iterator[Any]:
    """A browser without a window.

    Skips the test where Chromium, its driver or selenium is not installed, with a sentence.
    """
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed: apt-get install chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for each in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars",
                 f"--window-size={width},{height}"):  # fmt: skip
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(driver))
    try:
        if dark:
            media = [{"name": "prefers-color-scheme", "value": "dark"}]
            found.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        yield found
    finally:
        found.quit()


def wait_for(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What a function gives, once it gives something."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"{what} gave {found!r}"
        time.sleep(0.02)
    return found


def open_page(driver: Any, address: str, name: str = "Ada") -> None:
    """Open a review's page, and say who reviews."""
    from selenium.webdriver.common.by import By

    driver.get(address)
    wait_for(
        lambda: driver.execute_script(
            "return !document.getElementById('main').hidden"
            " || document.getElementById('name-dialog').open"
        )
    )
    if driver.execute_script("return document.getElementById('name-dialog').open"):
        driver.find_element(By.ID, "name-input").send_keys(name + "\n")
    wait_for(lambda: driver.execute_script("return document.querySelector('.tile.current')"))


def press(driver: Any, *keys: str) -> None:
    """Press keys, one after the other."""
    from selenium.webdriver import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


def chord(driver: Any, *keys: str) -> None:
    """Press keys together, the last one among the others."""
    from selenium.webdriver import ActionChains

    *held, last = keys
    chain = ActionChains(driver)
    for key in held:
        chain.key_down(key)
    chain.send_keys(last)
    for key in reversed(held):
        chain.key_up(key)
    chain.perform()


def text_of(driver: Any, name: str) -> str:
    """The text of the element of an id."""
    found: str = driver.execute_script(
        "return document.getElementById(arguments[0]).textContent", name
    )
    return found


def saved(driver: Any) -> bool:
    """Whether the page says that all is saved."""
    return text_of(driver, "saved") == "All saved"
