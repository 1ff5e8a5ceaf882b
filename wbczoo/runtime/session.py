"""An exported model is opened here and asked about images."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wbczoo.cells.crop import explain_other_finder
from wbczoo.errors import UsageError, WbczooError
from wbczoo.images import Pixels
from wbczoo.progress import tell
from wbczoo.runtime import devices, onnx_file, opening
from wbczoo.runtime.answers import Answer, answer_of, choose_limits
from wbczoo.runtime.batches import BATCH, Sources, answered, several
from wbczoo.runtime.cells import Cells, Shown, alike, choose_cells, show
from wbczoo.runtime.folder import find_model
from wbczoo.runtime.model_file import check_against_card
from wbczoo.runtime.opening import Device, Engine, Network
from wbczoo.runtime.providers import reason_of
from wbczoo.runtime.sets import choose_floors
from wbczoo.runtime.stopping import TIME_LIMIT
from wbczoo.tasks import Task

# What a start needs only where features or maps are asked for is imported there.
if TYPE_CHECKING:
    from wbczoo.config import RunConfig
    from wbczoo.runtime.features import Features
    from wbczoo.runtime.layers import Layer, LayeredNetwork
    from wbczoo.runtime.maps import MappedNetwork


class Session:
    """An exported model, ready to answer; safe to ask from several threads.

    Pickled into another process, it opens its model again there, with the same arguments.

    Args:
        model: an export's folder, also one in a Triton repository, or its `model.onnx` alone.
        device: `cuda` and `tensorrt` fail where they cannot be had; `auto` takes CUDA where it
            can, else the CPU.
        engine: what computes. OpenVINO computes on the CPU alone.
        threads: processor threads of the network; all cores that the process may use if None.
        parallel: on the CPU, batches that `answers` computes at once, each by its share of the
            threads. As many as there are cores answer most images in a second; one answers one
            image soonest.
        fixed_batch: ask the network about exactly so many images each time, in buffers that stay
            on the device; on CUDA the graph is captured once and replayed where it allows that.
        spin: whether onnxruntime's threads on the CPU spin for a moment when they wait for one
            another. Asked about one image at a time they answer 5 to 12 % sooner so on an idle
            machine, and 16 to 26 % later where other work wants the cores: then switch it off.
        time_limit: seconds that the network may take for a batch, if it is no fixed one.
        unknown_above, unsure_below: limits of flags, where the model's own will not do; the
            second is a probability of every task.
        coverage: .8, .9, .95 or .99: answers then have the set of classes of which one is right
            for so many cells of each class, of the kind that validated the model.

    Attributes:
        file: what the model says of itself.
        path, tasks, preprocessing, config, version, weights_sha256: `file`'s own.
        provider: what computes, `CPUExecutionProvider`, `CUDAExecutionProvider`,
            `TensorrtExecutionProvider`, `OpenVINO fp32` or `OpenVINO bf16`.
        limits: of the flags of answers; None where there are none to be raised.
        coverage, floors: of the sets of answers; None where none are asked for.
        why_no_cuda: why `auto` took the CPU, or None.
        why_no_graph: why a fixed batch on CUDA is not a captured graph, or None.

    Raises:
        UsageError: if there is no such file, a number is below 1, or the engine has not the device.
        WbczooError: if it is no ONNX model, or not one that this version of wbczoo reads, or not
            the one of the card beside it, or if the device or engine cannot be had; the message
            says why and what to do.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        device: Device = "auto",
        engine: Engine = "onnxruntime",
        threads: int | None = None,
        parallel: int = 1,
        fixed_batch: int | None = None,
        spin: bool = True,
        time_limit: float = TIME_LIMIT,
        unknown_above: float | None = None,
        unsure_below: float | None = None,
        coverage: float | None = None,
    ) -> None:
        path = find_model(model)
        self._opened = partial(
            type(self), path.absolute(), device=device, engine=engine, threads=threads,
            parallel=parallel, fixed_batch=fixed_batch, spin=spin, time_limit=time_limit,
            unknown_above=unknown_above, unsure_below=unsure_below, coverage=coverage,
        )  # fmt: skip
        if threads is not None and threads < 1:
            raise UsageError(f"A model needs at least one thread, not {threads}.")
        if parallel < 1 or (fixed_batch is not None and fixed_batch < 1):
            raise UsageError(
                f"Batches at once ({parallel}) and the images of a fixed batch ({fixed_batch}) "
                "are at least 1."
            )
        onnx_file.check_self_contained(path)
        check_against_card(path)
        opened = opening.open_engine(
            engine, device, path, threads, parallel, fixed_batch, spin=spin
        )
        self._network = opened.network
        self.file = opened.file
        self.why_no_cuda, self.why_no_graph = opened.why_no_cuda, opened.why_no_graph
        self.path = path
        self.tasks: tuple[Task, ...] = self.file.tasks
        self.preprocessing = self.file.preprocessing
        self.version, self.weights_sha256 = self.file.version, self.file.weights_sha256
        self.time_limit = time_limit
        self.limits = choose_limits(self.file, unknown_above, unsure_below)
        self.coverage = coverage
        self.floors = choose_floors(self.file.sets, self.tasks, coverage, path)
        self.provider: str = self._network.provider
        on_cpu = self.provider == devices.CPU or self.provider.startswith("OpenVINO")
        self._parallel = parallel if on_cpu else 1
        self._share = max(1, (threads or devices.cores()) // self._parallel)
        # On a processor more at once leave its caches; a fixed batch would be filled up with zeros.
        self._most = BATCH if on_cpu and fixed_batch is None else sys.maxsize
        self._layered: LayeredNetwork | None = None
        self._mapped: MappedNetwork | None = None
        self._opening = threading.Lock()
        if other := explain_other_finder(self.file.finder_sha256):
            tell(f"{path}: {other}")

    def __reduce__(self) -> tuple[Any, ...]:
        return self._opened, ()

    @property
    def config(self) -> RunConfig:
        """The run's, of which the model was exported.

        Raises:
            WbczooError: if this version does not read it.
        """
        return self.file.config

    def run(
        self, pixels: Pixels, *, layers: Sequence[Layer] = (), maps: bool = False
    ) -> dict[str, NDArray[np.float32]]:
        """Ask the network about preprocessed images.

        Args:
            pixels: uint8 (N, 3, H, W), RGB, where (H, W) is the preprocessing's size; of a model
                that resizes by itself (N, H, W, 3), of the size that it reads.
            layers: what else is wanted, as of `features`.
            maps: part the logits over positions. For that the model is opened once more when
                maps are first asked for. Not together with layers.

        Returns:
            `<task>_logits` and `<task>_probabilities` of each task, float32 (N, classes); of a
            model that tells it `novelty` too, float32 (N,). Each layer, float32 (N, C). With
            maps of each task `<task>_map`, float32 (N, classes, h, w), what each position of the
            feature map adds to a logit, and `<task>_branch`, float32 (N, classes), what the
            sequence branch and the bias add; they sum up to the logits.

        Raises:
            UsageError: if the pixels are of another type or shape, or the model has no positions.
            WbczooError: if the network fails, as for want of memory, or its logits are no sums
                over positions.
        """
        if pixels.dtype != np.uint8 or not self.file.fits(pixels.shape):
            raise UsageError(
                f"The model reads uint8 pixels of shape {self.file.shape}, "
                f"not {pixels.dtype} {pixels.shape}."
            )
        network: Network | LayeredNetwork | MappedNetwork = self._network
        outputs = self.file.outputs
        if layers and maps:
            raise UsageError("Layers and maps are asked for one after the other.")
        if maps:
            network = self._open_maps()
            outputs = {**outputs, **network.shapes}
        elif layers:
            network = self._open_layers()
            outputs = {**outputs, **network.choose(layers)}
        if len(pixels) == 0:
            return {name: np.zeros((0, *shape), np.float32) for name, shape in outputs.items()}
        try:
            found = network.run([*outputs], np.ascontiguousarray(pixels), self.time_limit)
        except TimeoutError as error:
            raise WbczooError(
                f"{self.path} did not answer {len(pixels)} images: {error}. Its graph may have a "
                "loop without an end; if it has not, give it more time by --time-limit."
            ) from None
        except Exception as error:  # the runtimes' exceptions share no base of their own
            raise WbczooError(
                f"{self.path} failed on {len(pixels)} images: {reason_of(error)}. "
                "If memory ran out, use a smaller batch."
            ) from None
        for (name, shape), values in zip(outputs.items(), found, strict=True):
            if values.shape != (len(pixels), *shape):  # a graph may declare what it does not keep
                raise WbczooError(
                    f"{self.path} failed on {len(pixels)} images: {name} has the shape "
                    f"{values.shape}. The file is damaged; export the run again."
                )
        return dict(zip(outputs, found, strict=True))

    def answers(
        self,
        sources: Sources,
        *,
        batch_size: int = BATCH,
        workers: int | None = None,
        cells: Cells | None = None,
        layers: Sequence[Layer] = (),
        maps: bool = False,
    ) -> Iterator[Answer]:
        """Answer images one by one, in order; the next are decoded while a batch is computed.

        Args:
            sources: paths, bytes, Pillow images or uint8 arrays (H, W, 3), or one of them alone;
                see `wbczoo.images.decode`.
            batch_size: images, or cells, that are answered together; on a processor the network is
                asked about eight of them at once.
            workers: threads that decode; as many as there are cores if None. Where `parallel`
                batches are computed at once, the threads that compute them decode too.
            cells: of a model that was trained with the crop `cell`: `one`, the best cell of each
                image, which is the default; `all`, each cell; or `whole`, the image as it is.
            layers: whose features each answer has too, as of `features`.
            maps: each answer has maps too, as of `run`.

        Yields:
            for each source `{"tasks": {task: {"class", "probability", "probabilities"}}}`, where
            probabilities are of each class by name; or `{"error": reason}` if it was refused.
            Of a file there is its `"path"`.
            Under a coverage a task has `"set"`, the classes left open, the likeliest first.
            A model that tells it adds `"novelty"`, and one with limits `"flags"`, which holds of
            `unknown`, `unsure` and `contradicted` what is true (`wbczoo.runtime.flags`).
            An answer about a cell has `"box"`, [left, top, right, bottom] in pixels, and
            `"flags"`, which may hold `at-edge`; where no cell is found, there is
            `{"flags": ["no-cell"]}` and no class. Under `all` there is one for each cell, from
            the top to the bottom, and `"image"` is the place of its source, from 0.
            Layers stand under `"features"`, by name, float32 (C,); maps under `"maps"`, by task,
            as (map, branch) of shapes (classes, h, w) and (classes,).

        Raises:
            UsageError: if a number is below 1, or cells, layers or maps are asked of a model that
                has none.
            WbczooError: as `features` and `run` do.
        """
        if batch_size < 1 or (workers is not None and workers < 1):
            raise UsageError("The batch size and the number of workers are at least 1.")
        cells = choose_cells(cells, self.file)
        if layers:
            self._open_layers().choose(layers)
        if maps:
            self._open_maps()
        return answered(
            enumerate(several(sources)),
            lambda numbered: show(*numbered, self.file, cells),
            partial(self._answer, layers=layers, maps=maps),
            batch_size=batch_size,
            workers=workers or min(devices.cores(), 32),
            parallel=self._parallel,
            many=cells == "all",
        )

    def predict(
        self,
        sources: Sources,
        *,
        batch_size: int = BATCH,
        workers: int | None = None,
        cells: Cells | None = None,
    ) -> list[Answer]:
        """All `answers` in a list."""
        return list(self.answers(sources, batch_size=batch_size, workers=workers, cells=cells))

    def features(
        self,
        sources: Sources,
        *,
        layer: Layer = "pooled",
        batch_size: int = BATCH,
        workers: int | None = None,
        cells: Cells | None = None,
    ) -> Features:
        """What the network makes of images before it answers: a vector for each.

        It is read at an inner tensor of the graph. For that the model is opened once more when
        features are first asked for: as much time and memory again, and none before.

        Args:
            layer: `pooled`, the mean of the backbone's feature map; `sequence`, what the sequence
                branch gives; or `fused`, both in a row, which the heads read.

        Raises:
            UsageError: as `answers` does; if the model has no such layer.
            WbczooError: if the layers cannot be told from the graph.
        """
        from wbczoo.runtime.features import gather

        answers = self.answers(
            sources, batch_size=batch_size, workers=workers, cells=cells, layers=(layer,)
        )
        return gather(answers, layer, *self._open_layers().shapes[layer])

    def _open_layers(self) -> LayeredNetwork:
        from wbczoo.runtime.layers import open_layers

        with self._opening:
            if self._layered is None:
                self._layered = open_layers(self.file, self.provider, self._share)
        return self._layered

    def _open_maps(self) -> MappedNetwork:
        from wbczoo.runtime.maps import open_maps

        with self._opening:
            if self._mapped is None:
                self._mapped = open_maps(self.file, self.provider, self._share)
        return self._mapped

    def tell(
        self,
        known: Mapping[str, Any],
        outputs: Mapping[str, NDArray[np.float32]],
        layers: Sequence[Layer] = (),
    ) -> Answer:
        """The answer about one image, of which this is known and these are the outputs of `run`."""
        return answer_of(self.tasks, self.limits, outputs, known, layers, self.floors)

    def _answer(self, batch: list[Shown], layers: Sequence[Layer], maps: bool) -> list[Answer]:
        answers = [dict(shown.known) for shown in batch]
        for places, pixels in alike(batch, self._most):
            outputs = self.run(pixels, layers=layers, maps=maps)
            for row, place in enumerate(places):
                mine = {name: each[row] for name, each in outputs.items()}
                answers[place] = self.tell(batch[place].known, mine, layers)
        return answers
