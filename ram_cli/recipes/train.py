"""`ram train`: metric learning of one network, the way teachers are made."""

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor, nn

from ram_cli.datasets import Dataset, ImageSet
from ram_cli.engine import (
    LabelledTuples,
    Objective,
    Runtime,
    SymmetricObjective,
    TuplesObjective,
)
from ram_cli.engine.fit import Validate
from ram_cli.engine.tuple_sources import Embed
from ram_cli.errors import ConfigError, DataError
from ram_cli.evaluation import label_metrics
from ram_cli.evaluation.extract import embed_images
from ram_cli.losses import METHODS
from ram_cli.models import Embedder
from ram_cli.progress import SILENT, Reporter
from ram_cli.recipes.common import (
    cache_bytes,
    can_validate,
    chosen_fit,
    open_dataset,
    open_runtime,
    training_pairs,
    validation_values,
    with_pinned,
    worker_count,
)
from ram_cli.recipes.comparison import Side
from ram_cli.recipes.copies import training_images
from ram_cli.recipes.networks import build_network, is_new
from ram_cli.recipes.outcome import TrainingResult, finished, open_tests, test_afterwards
from ram_cli.recipes.projection import start_projection
from ram_cli.recipes.training import (
    as_final,
    open_run,
    seed_everything,
    train_network,
    wants_copies,
)
from ram_cli.settings import TrainSettings
from ram_cli.views import Fit

_WITHIN_CLASSES = ("pool", "batch")
"""Kinds of mining whose batches hold several images of each class."""


def run_train(settings: TrainSettings, reporter: Reporter = SILENT) -> TrainingResult:
    """Train one network with labels.

    Raises:
        RamError: Something cannot be used or done; the message says what.
    """
    if settings.mining in _WITHIN_CLASSES and settings.batch_size % settings.images_per_class:
        raise ConfigError(
            f"batch_size: {settings.batch_size} images do not divide into classes of "
            f"{settings.images_per_class}. Use a multiple of --images-per-class."
        )
    runtime = open_runtime(settings, reporter)
    settings = as_final(with_pinned(settings, "backbone"))
    seed_everything(settings.seed)
    with open_run(settings, settings.backbone) as run:
        dataset = open_dataset(settings.dataset, settings, reporter)
        tests = open_tests(settings, dataset, reporter)
        images = dataset.train if settings.val else dataset.train_val
        _check_classes(images, dataset.name)
        model = build_network(
            settings.backbone,
            settings,
            reporter,
            dimension=settings.whitening,
            adapter=settings.adapter,
        )
        if settings.image_size is not None:
            model.set_input_size(settings.image_size)
        workers = worker_count(settings.workers, runtime)
        fit = chosen_fit(settings.fit, dataset)
        if _wants_start(settings) and run.checkpoint() is None:
            start_projection(
                model,
                images,
                seed=settings.seed,
                runtime=runtime,
                workers=workers,
                reporter=reporter,
                fit=fit,
            )
        shown, copies = training_images(
            images,
            dataset,
            settings.data_root,
            model.spec.size,
            wanted=wants_copies(settings, run),
            reporter=reporter,
        )
        position = train_network(
            settings,
            run,
            model,
            _objective(settings, model, dataset, shown, runtime, workers, reporter),
            dataset,
            runtime,
            reporter,
            validate=_validation(dataset, runtime, workers, fit)
            if settings.val and can_validate(dataset.val, reporter)
            else None,
            record={},
            copies=copies,
        )
        result = finished(run, position)

        def pairs(trained: Embedder) -> list[tuple[Side, Side]]:
            side = Side(result.model.name, trained, trained.spec.size)
            return [(side, side)]

        return test_afterwards(result, tests, settings, runtime, reporter, pairs)


def _check_classes(images: ImageSet, name: str) -> None:
    """Refuse what holds no negatives.

    Raises:
        DataError: There are no two classes.
    """
    if images.class_count < 2:
        raise DataError(
            f"{name} has {images.class_count} class to train on, and two are needed to tell apart. "
            "Lower --test-ratio or --val-ratio, or add classes."
        )


def _wants_start(settings: TrainSettings) -> bool:
    return settings.projection_start == "whitening" and is_new(settings.backbone)


def _objective(
    settings: TrainSettings,
    model: Embedder,
    dataset: Dataset,
    shown: ImageSet,
    runtime: Runtime,
    workers: int,
    reporter: Reporter,
) -> Objective:
    images = dataset.train if settings.val else dataset.train_val

    def embed(network: nn.Module, indices: Sequence[int]) -> Tensor:
        return embed_images(
            cast(Embedder, network),
            images.subset(indices),
            runtime=runtime,
            workers=workers,
            fit=chosen_fit(settings.fit, dataset),
        )

    if settings.mining == "hard" or settings.mining == "random":
        return _over_tuples(settings, model, dataset, shown, embed, runtime)
    objective = SymmetricObjective(
        shown,
        model.spec,
        embed,
        loss=settings.loss,
        margin=settings.loss_margin,
        mining=settings.mining,
        negatives=settings.negatives,
        pool_size=settings.pool_size,
        images_per_class=settings.images_per_class,
        batch_size=settings.batch_size,
        images_per_epoch=settings.images_per_epoch,
        seed=settings.seed,
        runtime=runtime,
        cache_bytes=cache_bytes(workers),
    )
    if objective.excluded_classes:
        reporter.warn(f"{objective.excluded_classes} classes of one image are not trained on")
    return objective


def _over_tuples(
    settings: TrainSettings,
    model: Embedder,
    dataset: Dataset,
    images: ImageSet,
    embed: Embed,
    runtime: Runtime,
) -> TuplesObjective:
    """Pairs of a class and negatives mined in each epoch, as landmark networks are trained."""
    source = LabelledTuples(
        images.labels,
        embed,
        pairs=training_pairs(dataset, val=settings.val),
        queries=settings.images_per_epoch,
        negatives=settings.negatives,
        mining="hard" if settings.mining == "hard" else "random",
        pool_size=settings.pool_size,
        pool_vectors=None,
        seed=settings.seed,
        device=runtime.device,
    )
    method = METHODS[settings.loss]
    return TuplesObjective(
        images,
        source,
        model.spec,
        method.function,
        {name: getattr(settings, name) for name in method.weights},
        teacher_vectors=None,
        symmetric=True,
        fit=chosen_fit(settings.fit, dataset),
        batch_size=settings.batch_size,
        seed=settings.seed,
        runtime=runtime,
    )


def _validation(dataset: Dataset, runtime: Runtime, workers: int, fit: Fit) -> Validate:
    """Symmetric retrieval on classes that are not trained on."""
    images = dataset.val

    def validate(network: nn.Module) -> Mapping[str, float]:
        model = cast(Embedder, network)
        vectors = embed_images(model, images, runtime=runtime, workers=workers, fit=fit)
        return validation_values(
            label_metrics(vectors, vectors, images.labels, images.labels, (1,), same_set=True)
        )

    return validate
