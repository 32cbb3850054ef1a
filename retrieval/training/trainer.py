"""The training loop of every task and configuration."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Literal, NamedTuple, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn
from tqdm import tqdm

from core.errors import UserError
from core.frozen import Frozen
from retrieval.training.distributed import ProcessGroup
from retrieval.training.ema import WeightEma, copy_tensors, trained_tensors
from retrieval.training.gradient_cache import GradientStep, Part, StepResult, Tensors
from retrieval.training.run_folder import CHECKPOINT, WEIGHTS, TrainingRunFolder, read_weights
from retrieval.training.validation import Scores


class Batch(NamedTuple):
    """This process's share of a batch: its parts, and labels (rows first) that the loss needs of every photo."""

    parts: list[Part]
    labels: dict[str, Tensor]


class Task(Protocol):
    """What is trained, on what, and how its success is measured.

    Attributes:
        model: its trained weights are kept.
        objective: owns the loss's own parameters; may have none.
        steps_per_epoch: the same in every process.
    """

    steps_per_epoch: int

    @property
    def model(self) -> nn.Module: ...  # noqa: D102  # see above

    @property
    def objective(self) -> nn.Module: ...  # noqa: D102  # see above

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps first..last-1, the same in every run of the same seed."""
        ...

    def embed(self, part: Part) -> dict[str, Tensor]:
        """Vectors of a part."""
        ...

    def loss(self, embeddings: Tensors, labels: Tensors) -> dict[str, Tensor]:
        """Weighted terms over the whole batch."""
        ...

    def after_step(self, labels: Tensors) -> None:
        """Called with this process's labels once the weights have changed."""
        ...

    def validate(self) -> Scores:
        """Scores on photos that are not trained on; called in the main process only."""
        ...

    def state(self) -> dict[str, Any]:
        """What else a resumed run needs: tensors and plain values."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        ...


class LoopConfig(Frozen):
    """Length, optimiser, precision, checkpoints and validation of a run."""

    epochs: int = Field(gt=0)
    batch: int = Field(gt=0, description="photos a step, of all processes together")
    chunk: int = Field(0, ge=0, description="photos embedded at a time on one device; 0: all (gradient caching)")
    learning_rate: float = Field(gt=0.0)
    weight_decay: float = Field(0.0, ge=0.0)
    betas: tuple[float, float] = (0.9, 0.999)
    warm_up: float = Field(0.05, ge=0.0, lt=1.0, description="share of the steps")
    schedule: Literal["cosine", "constant"] = "cosine"
    clip: float = Field(1.0, ge=0.0, description="largest norm of the gradient; 0: no limit")
    average: float = Field(0.0, ge=0.0, lt=1.0, description="decay of the moving average of the weights; 0: none")
    bf16: bool = False
    compile: bool = Field(False, description="torch.compile the model; minutes at the start, faster steps on a GPU")
    checkpoint_steps: int = Field(1000, gt=0)
    validate_epochs: int = Field(1, ge=0, description="0: never")
    select: str = Field("geoscore", description="the validation score whose best weights are kept")
    patience: int = Field(0, ge=0, description="validations without a better score before stopping; 0: never stop")
    tensorboard: bool = True

    def identity(self) -> dict[str, object]:
        """The settings that change what is learned; a checkpoint is resumed only with the same."""
        return self.model_dump(mode="json", exclude={"compile", "checkpoint_steps", "tensorboard", "chunk"})


def learning_rate_factor(step: int, steps: int, warm_up: int, schedule: Literal["cosine", "constant"]) -> float:
    """Share of the full learning rate at a step: linear warm-up, then half a cosine down to 0.01.

    A function of the step alone, so that a resumed run needs no state for it.
    """
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    if schedule == "constant":
        return 1.0
    progress = (step - warm_up) / max(1, steps - warm_up)
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


class Trainer:
    """Trains a task to the end, from the last checkpoint of its run folder if there is one.

    Args:
        recipe: JSON of everything a checkpoint depends on; another recipe's checkpoint is refused.
    """

    def __init__(
        self, task: Task, loop: LoopConfig, run: TrainingRunFolder, process_group: ProcessGroup, seed: int, recipe: str
    ) -> None:
        self.task, self.loop, self.run = task, loop, run
        self.process_group, self.seed, self.recipe = process_group, seed, recipe
        self.steps = loop.epochs * task.steps_per_epoch
        if self.steps == 0:
            raise UserError(f"loop.batch: {loop.batch} is more than the photos there are: use a smaller batch")
        groups = _parameter_groups(task, loop.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, loop.learning_rate, betas=loop.betas)
        self.ema = WeightEma(task.model, loop.average)
        autocast = torch.bfloat16 if loop.bf16 else None
        self._gradients = GradientStep(task.embed, task.loss, task.objective, process_group, autocast)
        self.step, self.best_score, self.validations_since_best = 0, -float("inf"), 0

    def fit(self) -> Scores:
        """Train; the scores of the best weights, which are in the model and on disk afterwards."""
        self.process_group.broadcast_weights(self.task.model)
        self.process_group.broadcast_weights(self.task.objective)
        self._resume()
        if self.loop.compile:
            self.task.model.compile()
        with ExitStack() as stack:
            self._train(self._tensorboard(stack))
        return self._load_best()

    def _train(self, writer: Any) -> None:
        hidden = not self.process_group.is_main
        started = time.perf_counter()
        with tqdm(total=self.steps, initial=self.step, desc="train", disable=hidden, unit="step") as bar:
            for batch in self.task.batches(self.step, self.steps):
                result, norm = self._optimise(batch)
                now = time.perf_counter()
                self._report(result, norm, now - started, bar, writer)
                started = now
                if self._end_step(writer):
                    return

    def _optimise(self, batch: Batch) -> tuple[StepResult, float]:
        """One optimisation step: the loss's terms and the norm of the gradient."""
        self.task.model.train()
        warm_up = round(self.loop.warm_up * self.steps)
        factor = learning_rate_factor(self.step, self.steps, warm_up, self.loop.schedule)
        for group in self.optimiser.param_groups:
            group["lr"] = self.loop.learning_rate * factor
        self.optimiser.zero_grad(set_to_none=True)
        seed = (self.seed * 1_000_003 + self.step) * 4096 + self.process_group.rank * 64
        result = self._gradients(batch.parts, batch.labels, seed)
        norm = self._sum_and_clip(result)
        self.optimiser.step()
        self.ema.update()
        self.task.after_step(batch.labels)
        self.step += 1
        return result, norm

    def _sum_and_clip(self, result: StepResult) -> float:
        parameters = [p for group in self.optimiser.param_groups for p in group["params"] if p.grad is not None]
        self.process_group.sum_gradients(parameter.grad for parameter in parameters)
        norm = float(nn.utils.clip_grad_norm_(parameters, self.loop.clip or float("inf")))
        if not all(abs(value) < float("inf") for value in (*result.terms.values(), norm)):
            raise UserError(
                f"the loss is not a finite number at step {self.step + 1} ({result.terms}, gradient norm {norm}): "
                "lower loop.learning_rate or set loop.bf16=false, and run again from the last checkpoint"
            )
        return norm

    def _end_step(self, writer: Any) -> bool:
        """Validate and save what is due after a step; True to stop early."""
        epoch, rest = divmod(self.step, self.task.steps_per_epoch)
        last, stop = self.step == self.steps, False
        validates = bool(self.loop.validate_epochs) and rest == 0 and (epoch % self.loop.validate_epochs == 0 or last)
        if validates:
            self._validate(writer)
            patience = self.loop.patience
            stop = self.process_group.broadcast_flag(bool(patience) and self.validations_since_best >= patience)
        if validates or last or rest == 0 or self.step % self.loop.checkpoint_steps == 0:
            self._save_checkpoint()
        return stop

    def _validate(self, writer: Any) -> None:
        if self.process_group.is_main:
            self.task.model.eval()
            with self.ema.in_place(), torch.no_grad():
                scores = self.task.validate()
                self._save_if_best(scores)
            self.run.log({"step": self.step, "validation": scores})
            for name, value in scores.items() if writer else ():
                writer.add_scalar(f"validation/{name}", value, self.step)
        self.process_group.barrier()

    def _save_if_best(self, scores: Scores) -> None:
        if self.loop.select not in scores:
            raise UserError(f"loop.select: no score {self.loop.select!r}; there are {', '.join(scores)}")
        sign = -1.0 if self.loop.select.endswith("_km") else 1.0
        score = sign * scores[self.loop.select]
        if score > self.best_score:
            self.best_score, self.validations_since_best = score, 0
            self.run.save_weights(trained_tensors(self.task.model))
        else:
            self.validations_since_best += 1

    def _load_best(self) -> Scores:
        """Put the best (or, without validation, the last averaged) weights into the model and score them."""
        if self.process_group.is_main and not self.loop.validate_epochs:
            with self.ema.in_place():
                self.run.save_weights(trained_tensors(self.task.model))
        self.process_group.barrier()
        copy_tensors(read_weights(self.run.folder / WEIGHTS), trained_tensors(self.task.model))
        self.task.model.eval()
        if not self.process_group.is_main:
            return {}
        with torch.no_grad():
            return self.task.validate()

    def _report(self, result: StepResult, norm: float, seconds: float, bar: Any, writer: Any) -> None:
        if not self.process_group.is_main:
            return
        loss, speed = sum(result.terms.values()), result.photos / max(seconds, 1e-9)
        learning_rate = self.optimiser.param_groups[0]["lr"]
        values = {"loss": loss, "lr": learning_rate, "grad_norm": norm, "images_per_s": round(speed, 2)}
        self.run.log({"step": self.step, "photos": result.photos, **values, "terms": result.terms})
        for name, value in (*values.items(), *result.terms.items()) if writer else ():
            writer.add_scalar(f"train/{name}", value, self.step)
        bar.update(1)
        bar.set_postfix_str(f"loss {loss:.3f}, {speed:,.0f} images/s", refresh=False)

    def _save_checkpoint(self) -> None:
        if self.process_group.is_main:
            self.run.save_state(
                CHECKPOINT,
                {
                    "recipe": self.recipe,
                    "step": self.step,
                    "best": self.best_score,
                    "stale": self.validations_since_best,
                    "model": trained_tensors(self.task.model),
                    "objective": self.task.objective.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "average": self.ema.state(),
                    "task": self.task.state(),
                },
            )
        self.process_group.barrier()

    def _resume(self) -> None:
        state = self.run.load_checkpoint(self.recipe)
        trained = trained_tensors(self.task.model)
        if self.process_group.is_main:
            model_bytes = sum(tensor.numel() * tensor.element_size() for tensor in trained.values())
            # Old and new checkpoint (model, two moments, average), old and new best weights.
            self.run.check_space(2 * (4 * model_bytes) + 2 * model_bytes)
            self.run.drop_log_after(state["step"] if state else 0)
        if state is None:
            return
        copy_tensors(state["model"], trained)
        self.task.objective.load_state_dict(state["objective"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.ema.load(**state["average"])
        self.task.load_state(state["task"])
        self.step, self.best_score, self.validations_since_best = state["step"], state["best"], state["stale"]

    def _tensorboard(self, stack: ExitStack) -> Any:
        """A summary writer that `stack` closes; None where none is wanted."""
        if not (self.loop.tensorboard and self.process_group.is_main):
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                'loop.tensorboard: TensorBoard is not installed: pip install "geosleuth[train]", or set it to false'
            ) from error
        writer = SummaryWriter(str(self.run.folder / "tensorboard"), purge_step=self.step + 1)
        stack.callback(writer.close)
        return writer


def _parameter_groups(task: Task, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices with weight decay; biases, norms and temperatures without."""
    trained = [p for module in (task.model, task.objective) for p in module.parameters() if p.requires_grad]
    matrices, others = [p for p in trained if p.dim() > 1], [p for p in trained if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
