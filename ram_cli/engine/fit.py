"""The training loop: exact accumulation, checkpoints at any step, validation by a callback."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from ram_cli.engine.checkpoint import random_states, read_state, write_state
from ram_cli.engine.collectives import any_of, is_lost_process, joining, share, wait_for_all
from ram_cli.engine.interrupt import StopRequest, batches_of, leave_stopping_to_parent
from ram_cli.engine.log import RunLog, StepWindow
from ram_cli.engine.objective import EpochState, Objective
from ram_cli.engine.plan import EpochBatches, FitPlan
from ram_cli.engine.run_folder import Position, RunFolder
from ram_cli.errors import Interrupted, ModelError, NonFiniteLossError, TrainingError
from ram_cli.processes import is_first, process_count, process_index
from ram_cli.progress import SILENT, Reporter, Task

Validate = Callable[[nn.Module], Mapping[str, float]]
"""Metrics of a network on validation images; the higher their "score", the better."""
Watch = Callable[[int, Mapping[str, float]], None]
"""Be told how many epochs are done, and the metrics of the validation that followed."""
SaveModel = Callable[[nn.Module, Path, Mapping[str, float]], None]
"""Write a model folder with its metrics."""


class Trainer:
    """Trains one network in one run folder.

    Args:
        accelerator: From `make_accelerator`.
        model: The network to train.
        optimiser: Over its parameters.
        schedule: Of that optimiser, stepped after each optimiser step.
        objective: What to optimise.
        plan: How long and how often.
        run: Where to write.
        save_model: Writes a model folder.
        validate: Called between epochs, outside autograd, with the network in eval mode.
        watch: Called after a validation, before the checkpoint; what it raises ends the training.
        reporter: Receives progress.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimiser: Optimizer,
        schedule: LRScheduler,
        objective: Objective,
        plan: FitPlan,
        run: RunFolder,
        *,
        save_model: SaveModel,
        validate: Validate | None = None,
        watch: Watch | None = None,
        reporter: Reporter = SILENT,
    ) -> None:
        self.accelerator, self.objective, self.plan, self.run = accelerator, objective, plan, run
        self.save_model, self.reporter = save_model, reporter
        self.validate, self.watch = validate, watch
        self.model, self.optimiser = accelerator.prepare(model, optimiser)
        # Not "prepared": accelerate would step it once per process, while the plan counts steps.
        self.schedule = schedule
        accelerator.register_for_checkpointing(schedule)
        self.position = Position()
        self._epoch_state: EpochState = {}
        self._sampler, self._window = EpochBatches(), StepWindow()
        self._loader = self._make_loader()
        self._started = self._saved_at = time.monotonic()

    def fit(self) -> Position:
        """Train from the newest checkpoint, or the start, to the end; write `final/`.

        Returns:
            Where it ended, with the last validation metrics.

        Raises:
            Interrupted: Ctrl-C; a checkpoint was written first.
            NonFiniteLossError: The loss became NaN or infinite; checkpoints are kept as they are.
            CheckpointError: The checkpoint to resume from is damaged.
        """
        found = self.run.checkpoint()
        if found is not None:
            folder, self.position = found
            self._epoch_state = read_state(self.accelerator, folder)
        elif process_index():  # or dropout would drop the same of all their images
            torch.manual_seed(torch.initial_seed() + process_index())
        log = RunLog(self.run.path, self.accelerator, resume_step=self.position.step)
        self._started = time.monotonic() - self.position.seconds
        try:
            with StopRequest() as stop, self._task() as task:
                while self.position.epoch < self.plan.epochs:
                    self._train_epoch(task, log, stop)
                    self._end_epoch(task, log, stop)
        except RuntimeError as error:
            # A signal to all processes ends the loading ones at once, and so does their loss here.
            if stop.requested or is_lost_process(error):
                raise Interrupted(self._cut_off()) from error
            raise
        finally:
            log.close()
        if is_first():
            self.save_model(self._plain_model(), self.run.final, self.position.metrics)
        wait_for_all()
        return self.position

    def _train_epoch(self, task: Task, log: RunLog, stop: StopRequest) -> None:
        epoch, start = self.position.epoch, self.position.batch
        if start == 0:
            self.model.eval()
            with self._told_by_step():
                self._epoch_state = self.objective.prepare(self._plain_model(), epoch)
        self.model.train()
        keys = self.objective.batches(epoch, self._epoch_state)
        self._sampler.batches = [share(batch) for batch in keys[start:]]
        counts = [self.objective.count(batch) for batch in keys]
        batches = batches_of(self._loader)
        for first in range(start, len(keys), self.plan.accumulate):
            group = counts[first : first + self.plan.accumulate]
            sizes = [len(batch) for batch in keys[first : first + len(group)]]
            self._optimiser_step(list(islice(batches, len(group))), group, sizes, task)
            self.position = replace(
                self.position, batch=first + len(group), step=self.position.step + 1
            )
            last = first + len(group) == len(keys)
            self._window.report(log, epoch + 1, self.position.step, self.plan.log_every, last=last)
            if not last:
                self._pause_inside_epoch(stop)

    def _optimiser_step(
        self, batches: list[Any], counts: list[int], sizes: list[int], task: Task
    ) -> None:
        """One step whose gradient is the mean over all images of its batches.

        Every process has the loss of the whole batch and the gradient by its own part of it, and
        theirs are averaged: hence the factor.
        """
        whole = sum(counts)
        sums: dict[str, Tensor] = {}
        for place, (batch, count) in enumerate(zip(batches, counts, strict=True)):
            weight = count / whole
            with self._synchronised(last=place == len(batches) - 1):
                parts = self.objective.loss(self.model, batch, joining(sizes[place]))
                self.accelerator.backward(parts["loss"] * (weight * process_count()))
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value.detach() * weight
            if place < len(batches) - 1:
                task.advance(count)
        values = {name: float(value) for name, value in sums.items()}
        if not math.isfinite(values["loss"]):
            raise NonFiniteLossError(self.position.step + 1, values, self._kept())
        self._window.add(values, whole, float(self.schedule.get_last_lr()[0]))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if not self.accelerator.optimizer_step_was_skipped:
            self.schedule.step()
        task.advance(counts[-1], loss=values["loss"])

    def _synchronised(self, *, last: bool) -> AbstractContextManager[Any]:
        """Gradients of several processes are joined once per optimiser step."""
        return nullcontext() if last else self.accelerator.no_sync(self.model)

    def _end_epoch(self, task: Task, log: RunLog, stop: StopRequest) -> None:
        done = self.position.epoch + 1
        last = done == self.plan.epochs
        self.position = replace(
            self.position, epoch=done, batch=0, seconds=time.monotonic() - self._started
        )
        self._epoch_state = {}
        if self.validate is not None and (last or done % self.plan.val_every == 0):
            self._run_validation(task, log)
        (asked,) = any_of(stop.requested)
        if last or asked or done % self.plan.save_every == 0:
            self._save_checkpoint()
        if asked and not last:
            self._stop()

    def _run_validation(self, task: Task, log: RunLog) -> None:
        assert self.validate is not None
        self.model.eval()
        with torch.no_grad(), self._told_by_step():
            metrics = dict(self.validate(self._plain_model()))
        score, epoch = metrics["score"], self.position.epoch
        shown = {name: value for name, value in metrics.items() if name != "score"}
        log.write("validation", self.position.step, epoch=epoch, **shown)
        task.advance(0, **shown)
        self.position = replace(self.position, metrics=shown)
        if self.position.best_score is None or score > self.position.best_score:
            self.position = replace(self.position, best_score=score, best_epoch=epoch)
            if is_first():
                self.save_model(self._plain_model(), self.run.best, shown)
        if self.watch is not None:
            self.watch(epoch, metrics)

    def _pause_inside_epoch(self, stop: StopRequest) -> None:
        late = time.monotonic() - self._saved_at > 60 * self.plan.checkpoint_minutes
        due, asked = any_of(late, stop.requested)
        if due or asked:
            self.position = replace(self.position, seconds=time.monotonic() - self._started)
            self._save_checkpoint()
        if asked:
            self._stop()

    def _stop(self) -> None:
        raise Interrupted(
            f"at epoch {self.position.epoch + 1} of {self.plan.epochs}, "
            f"step {self.position.step}; go on with --resume {self.run.path}"
        )

    def _cut_off(self) -> str:
        """What to say when there was no time for a checkpoint."""
        found = self.run.checkpoint()
        what = "stopped" if process_count() == 1 else "a process of this job has ended"
        if found is None:
            return f"{what} before the first checkpoint; begin again with --resume {self.run.path}"
        return f"{what}; from step {found[1].step} on, go on with --resume {self.run.path}"

    def _save_checkpoint(self) -> None:
        for name, parameter in self._plain_model().named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise TrainingError(
                    f"weights {name} are not finite after step {self.position.step}. {self._kept()}"
                )
        states = random_states()
        if is_first():
            self.run.save_checkpoint(
                self.position,
                lambda folder: write_state(self.accelerator, self._epoch_state, folder, states),
            )
        wait_for_all()
        self._saved_at = time.monotonic()

    @contextmanager
    def _told_by_step(self) -> Iterator[None]:
        """A network that embeds no more has diverged: say after which step, and what is left."""
        try:
            yield
        except ModelError as error:
            step = self.position.step
            raise TrainingError(f"diverged by step {step}: {error} {self._kept()}") from error

    def _kept(self) -> str:
        found = self.run.checkpoint()
        if found is None:
            return "No checkpoint was written yet. Train again with a smaller --lr."
        return (
            f"The checkpoint after step {found[1].step} is kept. "
            "Train again with a smaller --lr or --precision fp32."
        )

    def _plain_model(self) -> nn.Module:
        model: nn.Module = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        return model

    def _task(self) -> AbstractContextManager[Task]:
        counts = [self.objective.image_count(epoch) for epoch in range(self.plan.epochs)]
        epoch, batch = self.position.epoch, self.position.batch
        done = sum(counts[:epoch])
        if batch:
            keys = self.objective.batches(epoch, self._epoch_state)
            done += sum(self.objective.count(keys_of) for keys_of in keys[:batch])
        return self.reporter.task("train", sum(counts), "images", done=done)

    def _make_loader(self) -> "DataLoader[Any]":
        workers = self.plan.workers
        return DataLoader(
            self.objective.dataset,
            batch_sampler=self._sampler,
            collate_fn=self.objective.collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.accelerator.device.type == "cuda",
            worker_init_fn=leave_stopping_to_parent if workers else None,
            # The loader draws a seed per epoch; from the global generator that would shift the
            # draws of dropout after a resume.
            generator=torch.Generator(),
        )
