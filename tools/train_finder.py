"""The finder of white cells is trained here, in about fifteen minutes on one idle processor core.

    python tools/train_finder.py ../shared/data wbczoo/cells/finder.onnx

reads the boxes of BCCD, Raabin-WBC and PBC, draws smears and pictures of other things, and writes
the network. `--without raabin` leaves a laboratory out, so that it can be measured with
`wbczoo bench locate --network`; Bio-Net is never trained on.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from finder.boxed import Boxed, read_platelets, read_sets
from finder.drawn import draw_other
from finder.learn import Finder, export, heat_loss, reach_loss
from finder.red_cells import outline
from finder.views import SIDE, Scene, View, draw_view, tiled, turned

from wbczoo_datasets.fields import render_field

# How often each kind is shown. Platelets are PBC's.
SHARES = {"bccd": 0.25, "raabin": 0.22, "pbc": 0.17, "platelet": 0.09, "drawn": 0.17, "other": 0.1}
CROWDS = (0, 0, 1, 1, 2, 3, 5, 8, 14)
# Up to which share of the views a white cell is from so many to so many pixels wide: what is asked
# for, then what is too small or too large, where the red cells beside are of the size asked for.
Wide = tuple[float, float, float]
_SMALL: tuple[Wide, ...] = ((0.65, 8, 32), (0.8, 2.5, 8), (1, 26, 80))
_LARGE: tuple[Wide, ...] = ((0.5, 9, 40), (0.93, 36, 220), (1, 2.5, 9))
BATCH = 16
RATE = 2.5e-3


def read_scenes(data: Path, without: list[str]) -> dict[str, list[Scene]]:
    """All that is trained on, by kind; images in which no cell was boxed do show one."""
    sets = read_sets(data)
    scenes = {
        name: [_scene(image, shrink=int(name == "bccd")) for image in sets[name] if image.boxes]
        for name in ("bccd", "raabin", "pbc")
        if name not in without
    }
    if "pbc" not in without:
        scenes["platelet"] = [_scene(image, usual=140) for image in read_platelets(data)]
    fields = [render_field(CROWDS[i % 9], np.random.default_rng(10**6 + i)) for i in range(500)]
    scenes["drawn"] = [Scene.of(f.image, f.boxes, f.red, usual=160, shrink=1) for f in fields]
    others = [draw_other(np.random.default_rng(i)) for i in range(400)]
    scenes["other"] = [Scene.of(image, (), usual=60) for image in others]
    return scenes


def _scene(image: Boxed, *, usual: float = 100, shrink: int = 0) -> Scene:
    """Red cells have the boxes that came with the image, or else those of lone ones."""
    pixels = image.read()
    alone, others = outline(pixels, image.boxes)
    return Scene.of(pixels, image.boxes, image.red or alone, others, usual=usual, shrink=shrink)


@dataclass
class Bank:
    """Views that are drawn once and shown again and again, turned anew each time."""

    small: list[View]
    large: list[View]


def draw_bank(scenes: dict[str, list[Scene]], rng: np.random.Generator, size: int) -> Bank:
    """So many small views and a third as many large ones, of each kind by its share."""
    whole = sum(SHARES[kind] for kind in scenes)
    bank = Bank([], [])
    for kind, among in scenes.items():
        count = round(size * SHARES[kind] / whole)
        for number in range(count):
            scene = among[rng.integers(len(among))]
            bank.small.append(draw_view(scene, rng, SIDE // 2, _choose(rng, _SMALL)))
            if number % 3 == 0:
                bank.large.append(draw_view(scene, rng, SIDE, _choose(rng, _LARGE)))
    for kind in ("platelet", "drawn", "other"):  # what looks like a cell where there is none
        empty = [scene for scene in scenes.get(kind, ()) if not len(scene.boxes)]
        close, wider = ((8, 60), (10, 80)) if kind == "other" else ((24, 110), (30, 220))
        for number in range(size // 10 if empty else 0):
            scene = empty[rng.integers(len(empty))]
            bank.small.append(draw_view(scene, rng, SIDE // 2, close))
            if number % 3 == 0:
                bank.large.append(draw_view(scene, rng, SIDE, wider))
    return bank


def _choose(rng: np.random.Generator, ways: Sequence[Wide]) -> tuple[float, float]:
    drawn = rng.random()
    return next((low, high) for share, low, high in ways if drawn < share)


def draw_batch(bank: Bank, rng: np.random.Generator) -> list[torch.Tensor]:
    """Half of the views are large, half are four small ones side by side."""

    def some(views: list[View], count: int) -> list[View]:
        return [turned(views[number], rng) for number in rng.integers(len(views), size=count)]

    views = some(bank.large, BATCH // 2)
    views += [tiled(some(bank.small, 4)) for _ in range(BATCH - BATCH // 2)]
    names = ("light", "heat", "counts", "reach", "near")
    return [torch.from_numpy(np.stack([getattr(v, n) for v in views])).float() for n in names]


def train(bank: Bank, steps: int, seed: int) -> Finder:
    """AdamW, a warm start of 100 steps, and a rate that falls to nothing as a cosine."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Finder().train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-3)
    start, sums = time.monotonic(), np.zeros(2)
    for step in range(steps):
        rate = RATE * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        light, heat, counts, reach, near = draw_batch(bank, rng)
        logits, sides = network(light.to(memory_format=torch.channels_last))
        white, red = (
            heat_loss(logits[:, kind], heat[:, kind], counts[:, kind])
            + 2.5 * reach_loss(sides[:, 4 * kind : 4 * kind + 4], reach[:, kind], near[:, kind])
            for kind in (0, 1)
        )
        optimiser.zero_grad()
        (white + 0.5 * red).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        sums += [float(white.detach()), float(red.detach())]
        if step % 100 == 99:
            spent = time.monotonic() - start
            click.echo(
                f"{step + 1:5} {spent:5.0f} s  white {sums[0] / 100:.3f}  red {sums[1] / 100:.3f}",
            )
            sums[:] = 0
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--without", action="append", default=[], choices=["bccd", "raabin", "pbc"])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--views", type=int, default=24_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    scenes = read_scenes(options.data, options.without)
    bank = draw_bank(scenes, np.random.default_rng(options.seed), options.views)
    network = train(bank, options.steps, options.seed)
    aside = options.target.with_suffix(".part")
    export(network, aside)
    aside.replace(options.target)


if __name__ == "__main__":
    main()
