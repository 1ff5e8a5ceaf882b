"""The server is killed again and again while a browser decides: nothing that it said is lost."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra `review` is not installed")

import drawn_fields
from browser import chromium, open_page, press, saved, wait_for

from wbczoo.review.check import check_folder

# Each answer of the server that reached the page, by the tokens of what it confirms.
LISTEN = """
window.confirmed = [];
const ask = window.fetch;
window.fetch = async (...given) => {
  const answer = await ask(...given);
  if (answer.ok && String(given[0]).endsWith("api/act")) {
    const told = await answer.clone().json();
    const written = told.results.filter((each) => !each.refused && !each.conflict && !each.same);
    window.confirmed.push(...written.map((each) => each.token));
  }
  return answer;
};
"""


def begin(fields: Path, model: Path, out: Path) -> tuple[subprocess.Popen[str], str]:
    """A server in a process of its own, and its address."""
    command = [sys.executable, "-m", "wbczoo", "review", str(fields), "--model", str(model),
               "--out", str(out), "--no-browser", "--reviewer", "Ada"]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    """End it as nothing can prevent."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.nightly  # test_a_page_reconnects_by_itself... shows the same once
def test_no_confirmed_decision_is_lost(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    kills = request.config.getoption("--kills")
    drawn_fields.write_fields(tmp_path / "fields")
    model = drawn_fields.write_model(tmp_path / "model.onnx")
    out, chance = tmp_path / "review", random.Random(0)
    process, address = begin(tmp_path / "fields", model, out)
    try:
        with chromium() as driver:
            open_page(driver, address)
            driver.execute_script(LISTEN)
            for _ in range(kills):
                end = time.monotonic() + chance.uniform(0.02, 0.6)
                while time.monotonic() < end:
                    press(driver, *(chance.choice("1234nsuU ") for _ in range(3)))
                kill(process)
                press(driver, *(chance.choice("1234") for _ in range(3)))
                process, again = begin(tmp_path / "fields", model, out)
                assert again == address
            wait_for(lambda: saved(driver), 60)
            confirmed = driver.execute_script("return window.confirmed")
            shown = driver.execute_script("return document.getElementById('progress').value")
    finally:
        kill(process)
    assert check_folder(out).faults == []
    lines = [json.loads(line) for line in (out / "review.jsonl").read_text().splitlines()]
    written = [line.get("token") for line in lines]
    steps = [token for n, token in enumerate(written) if token and token != written[n - 1]]
    assert len(steps) == len(set(steps))
    print(f"{kills} kills, {len(confirmed)} actions confirmed, {len(steps)} steps in the log")
    lost = set(confirmed) - set(written)
    assert len(confirmed) > kills
    assert not lost, lost
    decided: dict[str, str | None] = {}
    for line in lines:
        if "box" in line:
            decided[f"{line['image']} {line['box']}"] = line["to"]
    assert sum(to is not None for to in decided.values()) == shown
