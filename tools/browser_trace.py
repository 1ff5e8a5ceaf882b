"""What a driven Chromium says of its own work: its trace, and its processes' time and memory."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter, defaultdict
from typing import Any

import psutil
import websocket

Event = dict[str, Any]

_CATEGORIES = (
    "devtools.timeline", "disabled-by-default-devtools.timeline",
    "disabled-by-default-devtools.timeline.frame", "loading", "v8",
)  # fmt: skip
# What events of a trace are called, by the work that they are.
_WORK = {
    "script": ("FunctionCall", "EvaluateScript", "v8.callFunction", "RunMicrotasks", "MinorGC",
               "MajorGC"),
    "style": ("UpdateLayoutTree", "ScheduleStyleRecalculation"),
    "layout": ("Layout",),
    "paint": ("PrePaint", "Paint", "PaintImage", "Layerize", "UpdateLayer", "Commit"),
    "raster": ("RasterTask", "Rasterize"),
    "image decode": ("Decode Image", "Decode LazyPixelRef", "ImageDecodeTask"),
}  # fmt: skip


class Trace:
    """The browser's trace from here on, until `end`.

    Args:
        driver: a Chromium that selenium drives.
    """

    def __init__(self, driver: Any) -> None:
        address = driver.capabilities["goog:chromeOptions"]["debuggerAddress"]
        with urllib.request.urlopen(f"http://{address}/json/version") as told:
            socket = json.load(told)["webSocketDebuggerUrl"]
        # Chromium lets no page elsewhere in: whoever names an origin is none of ours.
        self._socket = websocket.create_connection(socket, suppress_origin=True, timeout=120)
        config = {"recordMode": "recordAsMuchAsPossible", "includedCategories": [*_CATEGORIES],
                  "excludedCategories": ["*"]}  # fmt: skip
        self._send(1, "Tracing.start", traceConfig=config, transferMode="ReportEvents")
        while json.loads(self._socket.recv()).get("id") != 1:
            pass

    def _send(self, number: int, method: str, **params: Any) -> None:
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))

    def end(self) -> list[Event]:
        """All events, in their order in time."""
        self._send(2, "Tracing.end")
        found: list[Event] = []
        while (told := json.loads(self._socket.recv())).get("method") != "Tracing.tracingComplete":
            if told.get("method") == "Tracing.dataCollected":
                found += told["params"]["value"]
        self._socket.close()
        return sorted(found, key=lambda event: event.get("ts", 0))


def work_of(events: list[Event]) -> dict[str, float]:
    """Milliseconds of processor for each kind of work, without what it called of other kinds."""
    kinds = {name: kind for kind, names in _WORK.items() for name in names}
    found = dict.fromkeys(_WORK, 0.0)
    open_ones: dict[tuple[int, int], list[tuple[float, str | None]]] = defaultdict(list)
    for event in sorted(events, key=lambda each: (each.get("ts", 0), -each.get("dur", 0))):
        if event["ph"] != "X":
            continue
        stack = open_ones[event["pid"], event["tid"]]
        while stack and stack[-1][0] <= event["ts"]:
            stack.pop()
        kind, used = kinds.get(event["name"]), event.get("tdur", 0) / 1000
        above = stack[-1][1] if stack else None
        if kind is not None and above is not None:
            found[above] -= used
        if kind is not None:
            found[kind] += used
        stack.append((event["ts"] + event.get("dur", 0), kind or above))
    return found


def frames_of(events: list[Event]) -> tuple[int, int, float]:
    """Frames that were drawn, those that were dropped, and seconds from the first to the last."""
    drawn = [event["ts"] for event in events if event["name"] == "DrawFrame"]
    told = Counter(event["name"] for event in events)
    return len(drawn), told["DroppedFrame"], (drawn[-1] - drawn[0]) / 1e6 if drawn else 0.0


def spent(driver: Any) -> float:
    """Milliseconds of processor that all processes of a browser have used."""
    times = [each.cpu_times() for each in _processes(driver)]
    return 1000 * float(sum(each.user + each.system for each in times))


def memory(driver: Any) -> tuple[float, float]:
    """MB that the largest process of a browser holds, and all, what they share counted once."""
    sizes = [each.memory_full_info().pss / 1e6 for each in _processes(driver)]
    return max(each.memory_info().rss / 1e6 for each in _processes(driver)), sum(sizes)


def _processes(driver: Any) -> list[psutil.Process]:
    return [
        each
        for each in psutil.Process(driver.service.process.pid).children(recursive=True)
        if each.status() != psutil.STATUS_ZOMBIE
    ]
