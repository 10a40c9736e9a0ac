"""Embedding of image sets: decoding in worker processes, batches in the fastest safe format.

Letters: N images, B images in a batch, D embedding dimension.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ram_cli.datasets import ImageSet
from ram_cli.engine.collectives import merge_rows
from ram_cli.engine.inference import Embed, chosen_engine, fast_inference
from ram_cli.engine.interrupt import batches_of, leave_stopping_to_parent
from ram_cli.engine.runtime import Runtime
from ram_cli.engine.shaped import ShapedItem, collate_shaped
from ram_cli.errors import ModelError
from ram_cli.models import Embedder, l2_normalise
from ram_cli.processes import process_count, process_index
from ram_cli.progress import SILENT, Reporter
from ram_cli.views import (
    EvaluationViews,
    Fit,
    InputSpec,
    LandmarkViews,
    exact_batches,
    normalise,
    resize_batch,
)

SINGLE_SCALE = (1.0,)

_SECTION = 64
"""Batches between two moments at which what is there is handed on, and kept if it is to be."""

_CPU_BATCH = 16
"""Crops of 224 x 224 whose pixels a CPU takes at once of whole images: one image of 1024 x 768.
Feature maps of more leave its caches, and four such images together take half as long again."""


def embed_images(
    model: Embedder,
    images: ImageSet,
    *,
    runtime: Runtime,
    size: int | None = None,
    scales: Sequence[float] = SINGLE_SCALE,
    batch_size: int = 64,
    workers: int = 0,
    reporter: Reporter = SILENT,
    description: str = "embed",
    pooled: bool = False,
    fit: Fit = "crop",
) -> Tensor:
    """Embed images without augmentation: centre crops, or whole in their exact shapes.

    Args:
        model: Moved to the runtime's device and put in eval mode; its training mode is restored.
        images: The images, N.
        runtime: Where and in which precision to compute.
        size: Side of the crop, or longer side of the whole image, in pixels; None for the model's
            own.
        scales: Factors on that size whose vectors are combined, see `embed_batch`.
        batch_size: B; of whole images, as many as have the pixels of so many 224 x 224 crops.
        workers: Processes that decode; 0 decodes here.
        reporter: Told of every batch.
        description: What the reporter calls it.
        pooled: Stop before the projection; D is then the width of the pooled features.
        fit: "crop" for centre crops, "whole" for whole images.

    Returns:
        Unit vectors `[N, D]`, float32, on the CPU, in the order of `images`.

    Raises:
        UnreadableImageError: A file cannot be decoded.
        ModelError: A vector is not finite.
    """
    vectors = torch.zeros(len(images), model.channels if pooled else model.dimension)
    for rows, part, _ in embed_sections(
        model,
        images,
        runtime=runtime,
        size=size,
        scales=scales,
        batch_size=batch_size,
        workers=workers,
        reporter=reporter,
        description=description,
        pooled=pooled,
        fit=fit,
    ):
        vectors[rows] = part
    return vectors


def embed_sections(
    model: Embedder,
    images: ImageSet,
    *,
    runtime: Runtime,
    size: int | None = None,
    scales: Sequence[float] = SINGLE_SCALE,
    batch_size: int = 64,
    workers: int = 0,
    reporter: Reporter = SILENT,
    description: str = "embed",
    pooled: bool = False,
    fit: Fit = "crop",
    done: int = 0,
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Embed images as `embed_images` does, and give what is there every few thousand images.

    Arguments are those of `embed_images`, and `done`, the batches that an earlier call has given.
    Yields indices of images `[S]`, their unit vectors `[S, D]`, and the batches given so far.
    """
    spec = model.spec if size is None else model.spec.with_size(size)
    batches = _batches(images, spec.size, batch_size, fit, runtime)
    sections = [batches[i : i + _SECTION] for i in range(done, len(batches), _SECTION)]
    # Whole batches to each process of a job: a vector does not depend on how many there are.
    mine = [section[process_index() :: process_count()] for section in sections]
    loader = DataLoader(
        _IndexedViews(images, spec.size, fit),
        batch_sampler=[batch for section in mine for batch in section],
        collate_fn=collate_shaped,
        num_workers=workers,
        pin_memory=runtime.device.type == "cuda",
        worker_init_fn=leave_stopping_to_parent if workers else None,
        generator=torch.Generator(),  # leaves the global one alone, see `Trainer`
    )
    training = model.training
    place(model, runtime).eval()
    try:
        embed = fast_inference(
            model,
            runtime,
            size=spec.size,
            images=_work(len(images), scales),
            any_shape=fit == "whole" or tuple(scales) != SINGLE_SCALE,
            pooled=pooled,
            reporter=reporter,
        )
        width = model.channels if pooled else model.dimension
        # cuDNN compiles kernels for every number of images; for the last batch that took seconds.
        many = runtime.device.type == "cuda" and fit == "crop" and len(images) > batch_size
        least = batch_size if many else None
        before = sum(map(len, batches[:done]))
        with reporter.task(description, len(images), done=before) as task:
            loaded = batches_of(loader)
            for section, own in zip(sections, mine, strict=True):
                rows = torch.tensor([index for batch in section for index in batch])
                places = torch.empty(len(images), dtype=torch.int64)
                places[rows] = torch.arange(len(rows))
                vectors = torch.zeros(len(rows), width)
                for number, batch in enumerate(islice(loaded, len(own))):
                    for among, views in zip(batch.places, batch.views, strict=True):
                        vectors[places[batch.images[among]]] = embed_batch(
                            model, views if least is None else filled(views, least), spec,
                            runtime=runtime, scales=scales, pooled=pooled, embed=embed,
                        )[: len(views)]  # fmt: skip
                    together = section[number * process_count() : (number + 1) * process_count()]
                    task.advance(sum(map(len, together)))
                done += len(section)
                merge_rows(vectors)
                _check_finite(model, vectors)
                yield rows, vectors, done
    finally:
        model.train(training)


def filled(views: Tensor, count: int) -> Tensor:
    """Repeat the last of the views `[B, ...]` until there are `count` of them."""
    missing = max(0, count - len(views))
    return torch.cat([views, views[-1:].expand(missing, *views.shape[1:])]) if missing else views


def _check_finite(model: Embedder, vectors: Tensor) -> None:
    if not bool(torch.isfinite(vectors).all()):
        raise ModelError(
            f"{model.config.backbone} gives vectors that are not finite. "
            "Use --precision fp32, or another model."
        )


def arithmetic(runtime: Runtime, *, images: int, size: int, scales: Sequence[float]) -> str:
    """Number format of `embed_images`, and what runs the network if not torch: for keys of vectors.

    Vectors of one network by two engines differ in their last bits.
    """
    engine = chosen_engine(runtime, size=size, images=_work(images, scales))
    return runtime.precision if engine == "torch" else f"{runtime.precision}-{engine}"


def _work(images: int, scales: Sequence[float]) -> float:
    """How many images at scale 1 have the pixels of so many at all scales."""
    return images * sum(scale**2 for scale in scales)


class _IndexedViews(Dataset[ShapedItem]):
    """Views by index, each with the image it shows."""

    def __init__(self, images: ImageSet, size: int, fit: Fit) -> None:
        make = LandmarkViews if fit == "whole" else EvaluationViews
        self.views: Dataset[Tensor] = make(images, size)

    def __getitem__(self, index: int) -> ShapedItem:
        return ShapedItem(index, index, self.views[index])


def _batches(
    images: ImageSet, size: int, batch_size: int, fit: Fit, runtime: Runtime
) -> list[list[int]]:
    if fit == "whole":
        most = _CPU_BATCH if runtime.device.type == "cpu" else batch_size
        return exact_batches(images, size, min(batch_size, most))
    return [
        list(range(start, min(start + batch_size, len(images))))
        for start in range(0, len(images), batch_size)
    ]


def embed_batch(
    model: Embedder,
    views: Tensor,
    spec: InputSpec,
    *,
    runtime: Runtime,
    scales: Sequence[float] = SINGLE_SCALE,
    pooled: bool = False,
    embed: Embed | None = None,
) -> Tensor:
    """Embed one batch of views.

    Several scales are combined as (mean of v^p)^(1/p), L2-normalised, where p is GeM's own power
    if pooling is the model's last layer, else 1 (Radenović et al., TPAMI 2018).

    Args:
        model: In eval mode on the runtime's device.
        views: uint8 `[B, 3, S, S]`.
        spec: Whose mean and std to normalise by.
        runtime: Where and in which precision to compute.
        scales: Factors on S.
        pooled: Stop before the projection.
        embed: The network as `fast_inference` gives it; None for the model itself.

    Returns:
        Unit vectors `[B, D]`, float32, on the CPU.
    """
    if embed is None:
        embed = model.pool if pooled else model
    # Not inference mode: a network may be trained on afterwards and must own plain tensors.
    with torch.no_grad(), runtime.autocast():
        inputs = normalise(views.to(runtime.device, non_blocking=True), spec)
        if tuple(scales) == SINGLE_SCALE:
            vectors: Tensor = embed(inputs)
            return vectors.float().cpu()
        power = model.scale_power
        parts = [embed(resize_batch(inputs, scale)).float().pow(power) for scale in scales]
        return l2_normalise(torch.stack(parts).mean(dim=0).pow(1 / power)).cpu()


def place(model: Embedder, runtime: Runtime) -> Embedder:
    """Move a model to the runtime's device, in the memory format that convolutions are fast in."""
    model.to(device=runtime.device)
    model.to(memory_format=torch.channels_last)
    return model
