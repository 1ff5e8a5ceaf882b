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
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from finder.boxed import read_platelets, read_sets
from finder.drawn import draw_field, draw_other
from finder.learn import Finder, export, heat_loss, reach_loss
from finder.views import SIDE, Scene, View, draw_view, tiled, turned

# How often each kind is shown. Platelets are PBC's.
SHARES = {"bccd": 0.25, "raabin": 0.22, "pbc": 0.17, "platelet": 0.09, "drawn": 0.17, "other": 0.1}
CROWDS = (0, 0, 1, 1, 2, 3, 5, 8, 14)
BATCH = 16
RATE = 2.5e-3


def read_scenes(data: Path, without: list[str]) -> dict[str, list[Scene]]:
    """All that is trained on, by kind; images in which no cell was boxed do show one."""
    sets = read_sets(data)
    scenes = {
        name: [
            Scene.of(image.read(), image.boxes, shrink=int(name == "bccd"))
            for image in sets[name]
            if image.boxes
        ]
        for name in ("bccd", "raabin", "pbc")
        if name not in without
    }
    if "pbc" not in without:
        scenes["platelet"] = [Scene.of(p.read(), (), usual=140) for p in read_platelets(data)]
    fields = [draw_field(np.random.default_rng(10**6 + i), CROWDS[i % 9]) for i in range(400)]
    scenes["drawn"] = [Scene.of(image, boxes, usual=160, shrink=1) for image, boxes in fields]
    others = [draw_other(np.random.default_rng(i)) for i in range(240)]
    scenes["other"] = [Scene.of(image, (), usual=60) for image in others]
    return scenes


@dataclass
class Bank:
    """Views that are drawn once and shown again and again, turned anew each time."""

    small: list[View]
    large: list[View]


def draw_bank(scenes: dict[str, list[Scene]], rng: np.random.Generator, size: int) -> Bank:
    """So many small views and a third as many large ones, of each kind by its share.

    Small views show cells of the network's own sizes and smaller ones; large views show a third
    of the time parts of cells that are far too large, and the platelets and red cells beside.
    """
    whole = sum(SHARES[kind] for kind in scenes)
    bank = Bank([], [])
    for kind, among in scenes.items():
        count = round(size * SHARES[kind] / whole)
        for number in range(count):
            scene = among[rng.integers(len(among))]
            wide = (8, 26) if rng.random() < 0.8 else (2.5, 8)
            bank.small.append(draw_view(scene, rng, SIDE // 2, wide))
            if number % 3 == 0:
                size_of = rng.random()
                wide = (9, 36) if size_of < 0.5 else (36, 220) if size_of < 0.93 else (2.5, 9)
                bank.large.append(draw_view(scene, rng, SIDE, wide))
    for kind in ("platelet", "drawn", "other"):  # what looks like a cell where there is none
        empty = [scene for scene in scenes.get(kind, ()) if not len(scene.boxes)]
        close, wider = ((8, 60), (10, 80)) if kind == "other" else ((24, 110), (30, 220))
        for number in range(size // 10 if empty else 0):
            scene = empty[rng.integers(len(empty))]
            bank.small.append(draw_view(scene, rng, SIDE // 2, close))
            if number % 3 == 0:
                bank.large.append(draw_view(scene, rng, SIDE, wider))
    return bank


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
        losses = heat_loss(logits, heat, counts), reach_loss(sides, reach, near)
        optimiser.zero_grad()
        (losses[0] + 2.5 * losses[1]).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        sums += [float(loss.detach()) for loss in losses]
        if step % 100 == 99:
            spent = time.monotonic() - start
            click.echo(
                f"{step + 1:5} {spent:5.0f} s  heat {sums[0] / 100:.3f}  box {sums[1] / 100:.3f}",
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
