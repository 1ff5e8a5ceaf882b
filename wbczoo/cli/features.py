"""`wbczoo features`: what a model makes of images before it answers, in one file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from wbczoo.cli.images import (
    images_argument,
    images_from,
    null_option,
    ray_option,
    tell_count,
    watch,
)
from wbczoo.cli.runtime_options import cells_option, model_argument, runtime_device_option
from wbczoo.runtime.batches import BATCH


@click.command("features")
@model_argument
@images_argument
@click.option(
    "--layer",
    type=click.Choice(["pooled", "sequence", "fused"]),
    default="pooled",
    show_default=True,
    help="The backbone's mean, what the sequence branch gives, or both, which the heads read.",
)
@click.option(
    "--out",
    type=click.Path(),
    required=True,
    help="The file or URL, .npz or .parquet; the second needs pyarrow.",
)
@click.option("--overwrite", is_flag=True, help="Replace what --out names.")
@null_option
@click.option("--batch-size", type=click.IntRange(min=1), default=BATCH, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Threads that decode and compute.")
@ray_option
@cells_option
@runtime_device_option
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    images: tuple[str, ...],
    layer: Any,
    out: str,
    overwrite: bool,
    null: bool,
    batch_size: int,
    workers: int | None,
    cluster: str | None,
    cells: Any,
    device: Any,
) -> None:
    """Write the features that an export computes of images, and its answers, without torch.

    \b
    Example:
      wbczoo features leukocyte-small smears/ --layer pooled --out features.npz
    """
    from wbczoo.images.file import claim_file
    from wbczoo.progress import tell
    from wbczoo.runtime.devices import cores
    from wbczoo.runtime.features import check_format, gather, write_features
    from wbczoo.runtime.output import Output
    from wbczoo.runtime.predict import predict_paths
    from wbczoo.runtime.rows import Count, Row, count_row
    from wbczoo.runtime.session import Session
    from wbczoo.runtime.stopping import ended_by_signals

    output = Output(out)
    check_format(output.path)
    found = images_from(images, null=null)
    if not output.is_url:
        claim_file(output.path, "--out", overwrite=overwrite, inputs=[*found.places, model])
    output.check(overwrite=overwrite)
    ctx.with_resource(ended_by_signals())
    session = Session(
        model, device=device, parallel=workers or cores() if cluster is None else 1,
        threads=None if cluster is None else 1,
    )  # fmt: skip
    compute: Callable[[Iterable[Any]], Iterator[Row]] = partial(
        predict_paths, session, batch_size=batch_size, workers=workers if cluster is None else 1,
        cells=cells, layers=(layer,),
    )  # fmt: skip
    if cluster is not None:
        from wbczoo.runtime.cluster import on_cluster

        compute = ctx.with_resource(
            on_cluster(cluster, compute, batch_size=batch_size, provider=session.provider)
        )
    count, before = Count(0, 0), None

    def counted() -> Iterator[Row]:
        nonlocal count, before
        for row in compute(found):
            one = count_row(row, before)
            count, before = count + one, row
            advance(one.images)
            if "error" in row:
                tell(f"{row['path']}: {row['error']}")
            yield row

    with watch(found.total) as advance:
        features = gather(counted(), layer)
    tell_count(count, found, "computed")
    if not len(features.values):
        tell(f"nothing to write: {out} was not written")
        ctx.exit(1)
    write_features(output.path, session.file, features)
    if output.is_url:
        output.put(output.path)
    vectors, width = features.values.shape
    tell(f"{out}: {vectors} vectors of {width} numbers, layer {layer}")
    ctx.exit(count.exit_code)
