"""How quick the review's page is with 10 000 drawn cells, in a Chromium that is driven.

`python tools/measure_review.py` prints a line for each figure, and the machine's load at the time:
on a machine that is busy the page waits for a core as everything does, so the processor's time is
told beside the clock's.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests" / "review")]

from browser import chromium, press, saved, wait_for  # noqa: E402
from drawn_review import open_drawn, serving  # noqa: E402

KEYS = 100

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


def spent(driver: Any) -> float:
    """Milliseconds of processor that the page's main thread has used."""
    told = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return 1000 * float(next(each["value"] for each in told if each["name"] == "TaskDuration"))


def tell(what: str, value: str) -> None:
    """A line."""
    print(f"{what}: {value} (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)")  # noqa: T201


def main() -> None:
    """Draw, serve, drive, and print."""
    with tempfile.TemporaryDirectory() as place:
        review = open_drawn(Path(place) / "review", photographs=250, cells=40, flagged=20)
        with serving(review) as address, chromium() as driver:
            driver.get(f"{address}/secret/")
            driver.execute_script("sessionStorage.setItem('wbczoo-reviewer', 'Ada')")
            measure(driver, f"{address}/secret/")


def measure(driver: Any, address: str) -> None:
    """Print the figures of a page."""
    begun = time.perf_counter()
    driver.get(address)
    picture = "return [...document.querySelectorAll('.tile img')].some((i) => i.naturalWidth)"
    wait_for(lambda: driver.execute_script(picture))
    tell("first picture", f"{time.perf_counter() - begun:.2f} s")
    driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    time.sleep(2)
    driver.execute_script(LATENCIES)
    before = spent(driver)
    for number in range(KEYS):
        press(driver, "1234 "[number % 5])
    wait_for(lambda: saved(driver), 120)
    used = (spent(driver) - before) / KEYS
    taken = sorted(driver.execute_script("return window.taken"))
    tell("key to painted change, median and 95th percentile",
         f"{taken[len(taken) // 2]:.0f} and {taken[int(0.95 * len(taken))]:.0f} ms, of which the "
         f"page's own work for a decision, its saving included, is {used:.0f} ms")  # fmt: skip
    before = spent(driver)
    times = driver.execute_async_script(SCROLL)
    used = (spent(driver) - before) / len(times)
    tell("scrolling", f"{1000 * (len(times) - 1) / (times[-1] - times[0]):.0f} frames/s, each "
         f"{used:.1f} ms of the page's own work")  # fmt: skip
    sizes = [
        each.memory_info().rss / 1e6
        for each in psutil.process_iter(["cmdline"])
        if "--type=renderer" in " ".join(each.info["cmdline"] or [])
    ]
    tell("memory of the largest renderer", f"{max(sizes):.0f} MB")


if __name__ == "__main__":
    main()
