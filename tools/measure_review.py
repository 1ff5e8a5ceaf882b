"""How quick the review's page is with 10 000 drawn cells, in a Chromium that is driven.

`python tools/measure_review.py` prints the rows of the table in `docs/review.md`, and the
machine's load at the time. On a machine that is busy the page waits for a core as everything does,
so the processor's time is told beside the clock's: of all the browser's processes, and by the
browser's own trace of each kind of work.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests" / "review")]

from browser import chromium, press, saved, wait_for  # noqa: E402
from browser_trace import Trace, frames_of, memory, spent, work_of  # noqa: E402
from drawn_review import open_drawn, serving  # noqa: E402

KEYS, LOADS = 100, 5

# From a key to the end of the frame that follows it, in milliseconds.
LATENCIES = """
window.taken = [];
document.addEventListener("keydown", () => {
  const begun = performance.now();
  requestAnimationFrame(() => {
    const after = new MessageChannel();
    after.port1.onmessage = () => window.taken.push(performance.now() - begun);
    after.port2.postMessage(0);
  });
}, true);
"""

SCROLL = """
const done = arguments[0], box = document.getElementById("gallery"), times = [];
const end = performance.now() + 5000;
function step(now) {
  times.push(now);
  box.scrollTop += 60;
  if (now < end) requestAnimationFrame(step); else done(times);
}
requestAnimationFrame(step);
"""

# From the navigation to the frame behind the first picture, in milliseconds.
FIRST = """
const done = arguments[0];
function look() {
  if (![...document.querySelectorAll(".tile img")].some((each) => each.naturalWidth)) return requestAnimationFrame(look);
  requestAnimationFrame(() => done(performance.now()));
}
look();
"""  # noqa: E501


def tell(what: str, value: str) -> None:
    """A row."""
    print(f"| {what} | {value} |", flush=True)  # noqa: T201


def main() -> None:
    """Draw, serve, drive, and print."""
    with tempfile.TemporaryDirectory() as place:
        review = open_drawn(Path(place) / "review", photographs=250, cells=40, flagged=20)
        with serving(review) as address, chromium() as driver:
            empty = memory(driver)[1]
            driver.get(f"{address}/secret/")
            driver.execute_script("sessionStorage.setItem('wbczoo-reviewer', 'Ada')")
            before = os.getloadavg()[0]
            for measure in (measure_first, measure_keys, measure_scrolling):
                driver.get(f"{address}/secret/")
                measure(driver)
            largest, together = memory(driver)
            tell("memory of the browser's largest process",
                 f"{largest:.0f} MB; of all {together:.0f} MB, {empty:.0f} of them before it had "
                 "a page")  # fmt: skip
            after = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
            tell("load of the machine, before and after", f"{before:.1f} and {after}")


def measure_first(driver: Any) -> None:
    """How long the first picture takes, of some loads of the page."""
    taken = []
    for _ in range(LOADS):
        driver.refresh()
        taken.append(driver.execute_async_script(FIRST))
        time.sleep(1)
    tell("first picture", f"median {statistics.median(taken):.0f} ms, longest {max(taken):.0f} ms")


def measure_keys(driver: Any) -> None:
    """How long a key takes to be seen."""
    driver.execute_async_script(FIRST)
    time.sleep(2)
    driver.execute_script(LATENCIES)
    before = spent(driver)
    for number in range(KEYS):
        press(driver, "1234 "[number % 5])
    wait_for(lambda: saved(driver), 120)
    used = (spent(driver) - before) / KEYS
    taken = sorted(driver.execute_script("return window.taken"))
    tell("a key to the painted change",
         f"median {taken[len(taken) // 2]:.0f} ms, 95th percentile "
         f"{taken[int(0.95 * len(taken))]:.0f} ms; all the browser's work for a decision, its "
         f"saving included, {used:.0f} ms")  # fmt: skip


def measure_scrolling(driver: Any) -> None:
    """How many frames a second are drawn while it is scrolled, and what each costs."""
    driver.execute_async_script(FIRST)
    time.sleep(2)
    before = spent(driver)
    frames = len(driver.execute_async_script(SCROLL))
    used = (spent(driver) - before) / frames
    trace = Trace(driver)
    frames = len(driver.execute_async_script(SCROLL))
    events = trace.end()
    drawn, dropped, seconds = frames_of(events)
    tell("scrolling", f"{(drawn - 1) / seconds:.0f} frames a second drawn, {dropped} dropped, each "
         f"{used:.1f} ms of all the browser's work")  # fmt: skip
    kinds = (f"{kind} {ms / frames:.1f}" for kind, ms in work_of(events).items())
    tell("of a frame's work, by the trace, ms", ", ".join(kinds))


if __name__ == "__main__":
    main()
