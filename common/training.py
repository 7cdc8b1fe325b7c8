"""The one training loop: rounds that can be stopped at any instant, a log, and a checkpoint when it is done.

A round is an epoch of a classifier or some hundred steps of the diffusion model. All draws of a round come from
generators named by (seed, round), so a saved round is all that a resumed run needs, and it ends with the bytes that an
uninterrupted run gives.
"""

import csv
import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from common import distributed, rng, storage
from common.config import TrainingConfig
from common.datasets import to_float
from common.errors import UserError


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclass(frozen=True)
class Labelled:
    """Images uint8 [N, C, H, W] and labels int64 [N], on the device that trains."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Job:
    """What a training is to leave behind: ``path``, recognised later by a digest of everything in ``made_from``."""

    path: Path
    made_from: Mapping[str, Any]  # JSON-like: configuration, data, seed

    @property
    def key(self) -> str:
        return storage.digest(self.made_from)

    @property
    def progress_path(self) -> Path:
        return self.path.with_name(self.path.name + ".progress")

    @property
    def log_path(self) -> Path:
        return self.path.with_name(self.path.name + ".log.csv")

    @property
    def seconds_path(self) -> Path:
        return self.path.with_name(self.path.name + ".seconds.json")


def is_done(job: Job, *, say: Callable[[str], None] = distributed.say) -> bool:
    """Whether the job's checkpoint is there and made from the same things; says why where it is not.

    Raises UserError where the file there was not written by this project, which is never overwritten.
    """
    if not job.path.is_file():
        return False
    found = storage.load_checkpoint(job.path, expect={}).get("made_from")
    if not isinstance(found, dict):
        raise UserError(f"{job.path} was not trained here and will not be overwritten: move it away to train anew")
    if found == storage.plain(job.made_from):
        job.progress_path.unlink(missing_ok=True)  # of a run killed between its last two steps
        say(f"{job.path} is there already and up to date")
        return True
    say(f"{job.path} is trained anew: {_difference(found, storage.plain(job.made_from))}")
    return False


def _difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> str:
    """What changed between two nested mappings, as `lr: 0.1 -> 0.2`."""
    changes = []
    for key in sorted(set(old) | set(new)):
        was, now = old.get(key, "nothing"), new.get(key, "nothing")
        if isinstance(was, dict) and isinstance(now, dict):
            changes.append(_difference(was, now, f"{prefix}{key}."))
        elif was != now:
            changes.append(f"{prefix}{key}: {was} -> {now}")
    return ", ".join(filter(None, changes))


Round = Callable[[int, tqdm], dict[str, float]]
"""(index of the round, progress bar in steps) -> measurements for the log"""


def run_rounds(
    job: Job,
    *,
    seed: int,
    rounds: int,
    steps_per_round: int,
    stateful: Mapping[str, Stateful],
    train_round: Round,
    score: Callable[[], float] | None = None,
    kept: Callable[[], Mapping[str, Any]],
    together: bool = False,
) -> None:
    """Train, saving progress after each round, and write the job's checkpoint, log and seconds.

    seed:      names, with the round, the draws of layers that know only the global generator (dropout)
    kept:      what of the trained things goes into the checkpoint
    score:     where given, the round with the greatest score is the one kept (the first of equal ones; NaN is the
               least), else the last
    together:  all processes train this one model, and the first alone writes

    Raises UserError where the progress file does not hold what such a training saves.
    """
    start = time.monotonic()
    done, history, best, before = _resume(job, stateful)
    writes = not together or distributed.is_first()
    if together:
        distributed.barrier()  # the first may take the saved progress away only when all have read it
    with tqdm(
        total=rounds * steps_per_round,
        initial=done * steps_per_round,
        unit="step",
        desc=job.path.name,
        position=distributed.local_rank(),
        disable=not writes,
    ) as bar:
        for index in range(done, rounds):
            with rng.global_draws(seed, "dropout", index, *([distributed.rank()] if together else [])):
                row: dict[str, Any] = {"round": index + 1, **train_round(index, bar)}
            if score is not None:
                row["score"] = score()
            history.append(row)
            bar.set_postfix({name: f"{value:.4g}" for name, value in row.items() if name != "round"})
            if score is not None and (best is None or _rank(row["score"]) > _rank(best["score"])):
                best = {"round": index + 1, "score": row["score"], "kept": storage.plain(kept())}
            elapsed = before + time.monotonic() - start
            if writes:
                _save_progress(job, stateful, history=history, best=best, seconds=elapsed)
    if not writes:
        return
    best = best or {"round": rounds, "score": None, "kept": kept()}
    storage.write_text(job.log_path, _csv(history))
    storage.write_json(job.seconds_path, {"seconds": round(before + time.monotonic() - start, 1)})
    final = {**best["kept"], "epoch": best["round"], "best_acc": best["score"], "made_from": job.made_from}
    storage.save_checkpoint(job.path, final)
    job.progress_path.unlink(missing_ok=True)


def _rank(score: float) -> float:
    return -math.inf if math.isnan(score) else score  # no comparison with NaN holds: it would stay the best


def _resume(
    job: Job, stateful: Mapping[str, Stateful]
) -> tuple[int, list[dict[str, Any]], dict[str, Any] | None, float]:
    if not job.progress_path.is_file():
        return 0, [], None, 0.0
    expect = {"key": str, "history": list, "state": dict, "seconds": float}
    progress = storage.load_checkpoint(job.progress_path, expect=expect)
    if progress["key"] != job.key:
        print(f"{job.progress_path} belongs to other settings or data: starting from the beginning")
        return 0, [], None, 0.0
    try:
        best = progress["best"]
        for name, thing in stateful.items():
            thing.load_state_dict(progress["state"][name])
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{job.progress_path} does not hold what this training saves ({type(error).__name__}: {error}): "
            "delete it to start from the beginning"
        ) from error
    return len(progress["history"]), progress["history"], best, progress["seconds"]


def _save_progress(
    job: Job, stateful: Mapping[str, Stateful], *, history: list, best: dict | None, seconds: float
) -> None:
    state = {name: thing.state_dict() for name, thing in stateful.items()}
    content = {"key": job.key, "history": history, "best": best, "state": state, "seconds": seconds}
    storage.save_checkpoint(job.progress_path, content)


def _csv(history: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def shuffled_batches(count: int, batch_size: int, *, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Every index 0 … count - 1 once, in random order, in batches of nearly equal size and at most ``batch_size``.

    Equal sizes, because a last batch of one or two samples upsets batch normalisation.
    """
    order = torch.randperm(count, generator=generator)
    return order.tensor_split(num_batches(count, batch_size))


def num_batches(count: int, batch_size: int) -> int:
    return -(-count // batch_size)


def batches(data: Labelled, batch_size: int, *, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
    """Shuffled (images in [0, 1], labels, indices into the data) on the data's device."""
    for indices in shuffled_batches(len(data), batch_size, generator=generator):
        there = indices.to(data.images.device)
        yield to_float(data.images[there]), data.labels[there], there


@torch.no_grad()
def answer(classifier: nn.Module, images: torch.Tensor, *, batch_size: int = 1000) -> torch.Tensor:
    """Logits [n, K] of uint8 images [n, C, H, W], in evaluation mode."""
    classifier.eval()
    return torch.cat([classifier(to_float(part)) for part in images.split(batch_size)])


def accuracy(classifier: nn.Module, data: Labelled) -> float:
    """Fraction of labels that are the classifier's argmax, in evaluation mode."""
    return float((answer(classifier, data.images).argmax(dim=1) == data.labels).double().mean())


def selection_score(classifier: nn.Module, selection: Labelled | None) -> Callable[[], float] | None:
    """The accuracy that picks the epoch, or None where the last one is kept."""
    return None if selection is None else lambda: accuracy(classifier, selection)


def adam(parameters: Any, config: TrainingConfig) -> torch.optim.Adam:
    """The optimiser of every published classifier.

    Not the fused one, whose CPU kernel takes moments to lie in memory as their weights do: those of a resumed training
    do not, and would be mixed up.
    """
    return torch.optim.Adam(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, amsgrad=True)


BatchLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]
"""(logits [B, K], labels [B], indices into the training set [B], epoch) -> loss, a scalar"""


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor, epoch: int) -> torch.Tensor:
    return F.cross_entropy(logits, labels)


def train_classifier(
    job: Job,
    classifier: nn.Module,
    data: Labelled,
    config: TrainingConfig,
    *,
    selection: Labelled | None,
    seed: int,
    loss: BatchLoss = cross_entropy,
) -> None:
    """Train by mini-batch Adam with a loss per batch; the epoch most accurate on ``selection`` is kept, or the last."""
    optimizer = adam(classifier.parameters(), config)

    def train_epoch(epoch: int, bar: tqdm) -> dict[str, float]:
        classifier.train()
        total, correct = 0.0, 0
        for images, labels, indices in batches(
            data, config.batch_size, generator=rng.torch_generator(seed, "batches", epoch)
        ):
            logits = classifier(images)
            batch_loss = loss(logits, labels, indices, epoch)
            optimizer.zero_grad(set_to_none=True)
            batch_loss.backward()
            optimizer.step()
            total += batch_loss.item() * len(labels)
            correct += int((logits.argmax(dim=1) == labels).sum())
            bar.update()
        return {"loss": total / len(data), "train_accuracy": correct / len(data)}

    run_rounds(
        job,
        seed=seed,
        rounds=config.epochs,
        steps_per_round=num_batches(len(data), config.batch_size),
        stateful={"classifier": classifier, "optimizer": optimizer},
        train_round=train_epoch,
        score=selection_score(classifier, selection),
        kept=lambda: {"state_dict": classifier.get_submodule("network").state_dict()},
    )
