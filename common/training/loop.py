"""The one training loop: rounds that can be stopped at any instant, a log, and a checkpoint when it is done.

A round is an epoch of a classifier or some hundred steps of the diffusion model. All draws of a round come from
generators named by (seed, round), so a saved round is all that a resumed run needs, and it ends with the bytes that an
uninterrupted run gives.
"""

import csv
import io
import math
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Protocol

from common.runtime import checkpoints, distributed, progress, rng, storage
from common.runtime.errors import UserError
from common.runtime.progress import Bar
from common.training import aside
from common.training.jobs import Job, progress_key
from common.training.watching import Show, watched


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


Round = Callable[[int, Bar], dict[str, float]]
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
    show: Show | None = None,
) -> None:
    """Train, saving progress after each round, and write the job's checkpoint, log and seconds.

    seed:      names, with the round, the draws of layers that know only the global generator (dropout)
    kept:      what of the trained things goes into the checkpoint
    score:     where given, the round with the greatest score is the one kept (the first of equal ones; NaN is the
               least), else the last
    together:  all processes train this one model, and the first alone writes
    show:      draws pictures of where the training stands, now and then

    Raises UserError where the progress file does not hold what such a training saves, and where the training has
    diverged: then nothing of what it has written before is touched.
    """
    start = time.monotonic()
    writes = not together or distributed.is_first()
    if writes:
        _put_in_place(job)
    if together:
        distributed.barrier()
    done, history, best, before = _resume(job, stateful, rounds=rounds)
    if together:
        distributed.barrier()  # the first may take the saved progress away only when all have read it
    total, initial = rounds * steps_per_round, done * steps_per_round
    with (
        watched(job, history, show) if writes else nullcontext() as watcher,
        progress.bar(total=total, initial=initial, unit="step", desc=job.title, shown=writes) as bar,
    ):
        for index in range(done, rounds):
            with rng.global_draws(seed, "dropout", index, *([distributed.rank()] if together else [])):
                row: dict[str, Any] = {"round": index + 1, **train_round(index, bar)}
            if score is not None:
                row["score"] = score()
            _require_converging(row, stateful, job)
            history.append(row)
            bar.set_postfix({name: f"{value:.4g}" for name, value in row.items() if name != "round"})
            if score is not None and (best is None or _rank(row["score"]) > _rank(best["score"])):
                best = {"round": index + 1, "score": row["score"], "kept": checkpoints.plain(kept())}
            if watcher is not None:
                watcher.round(row, stateful, last=index + 1 == rounds)
            elapsed = before + time.monotonic() - start
            if writes:
                _save_progress(job, stateful, history=history, best=best, seconds=elapsed)
    if not writes:
        return
    best = best or {"round": rounds, "score": None, "kept": kept()}
    job.make_room()
    storage.write_text(job.log_path, _csv(history))
    storage.write_json(job.seconds_path, {"seconds": round(before + time.monotonic() - start, 1)})
    final = {**best["kept"], "epoch": best["round"], "best_acc": best["score"], "made_from": job.made_from.record()}
    checkpoints.save(job.path, final)
    job.clear()


def _require_converging(row: Mapping[str, Any], stateful: Mapping[str, Stateful], job: Job) -> None:
    """Raise UserError where a round's measurements, or what it leaves, are no longer numbers."""
    bad = [name for name, value in row.items() if name != "score" and not math.isfinite(value)]
    bad = bad or checkpoints.not_finite({name: thing.state_dict() for name, thing in stateful.items()})
    if bad:
        raise UserError(
            f"the training of {job.path.name} has diverged in round {row['round']} ({bad[0]} is not finite), and "
            "nothing was written over: lower learning_rate in its YAML file"
        )


def _rank(score: float) -> float:
    return -math.inf if math.isnan(score) else score  # no comparison with NaN holds: it would stay the best


def _put_in_place(job: Job) -> None:
    """Put another job's half-done training aside, and this one's in its place where it was put aside before."""
    files = [job.growing_log_path, job.progress_path]
    if job.progress_path.is_file():
        there = progress_key(job.progress_path)
        if there in job.keys:
            return
        if there is not None:
            aside.put(files, key=there)
            home = aside.place(job.progress_path, there).parent
            print(
                f"{job.progress_path} belongs to other settings or data: kept in {home}, it goes on when they are back"
            )
    key = aside.found(job.progress_path, job.keys)
    if key is not None:
        aside.take_back(files, key=key)
        shutil.rmtree(job.events_path, ignore_errors=True)  # of another training: they are written anew from the log


def _resume(
    job: Job, stateful: Mapping[str, Stateful], *, rounds: int
) -> tuple[int, list[dict[str, Any]], dict[str, Any] | None, float]:
    if not job.progress_path.is_file():
        return 0, [], None, 0.0
    expect = {"key": str, "history": list, "state": dict, "seconds": float}
    try:
        read = checkpoints.read(job.progress_path, expect=expect)
    except checkpoints.Damaged as error:
        print(f"{error}: starting from the beginning")
        return 0, [], None, 0.0
    saved = read.content
    if not read.checked:
        print(f"{job.progress_path} carries no checksum: unchecked")
    try:
        history, best = saved["history"], saved["best"]
        _require_sound(history, best, saved["seconds"], rounds=rounds)
        for name, thing in stateful.items():
            thing.load_state_dict(saved["state"][name])
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{job.progress_path} does not hold what this training saves ({type(error).__name__}: {error}): "
            "delete it to start from the beginning"
        ) from error
    return len(saved["history"]), saved["history"], best, saved["seconds"]


def _require_sound(history: Any, best: Any, seconds: float, *, rounds: int) -> None:
    """Raise ValueError where that is nothing that such a training saves after one of its rounds."""
    if not 1 <= len(history) <= rounds or [row["round"] for row in history] != list(range(1, len(history) + 1)):
        raise ValueError(f"its history is not of the first rounds of {rounds}")
    if any(row.keys() != history[0].keys() for row in history) or not 0 <= seconds < math.inf:
        raise ValueError("its history is no table, or its seconds are none")
    selects = "score" in history[0]
    if selects != (best is not None):
        raise ValueError("its best round is missing, or nothing selects one")
    if best is not None:
        kept, score = best["kept"], best["score"]
        if not kept or score != history[best["round"] - 1]["score"] or checkpoints.not_finite(kept):
            raise ValueError("its best round is not the one that its history has")


def _save_progress(
    job: Job, stateful: Mapping[str, Stateful], *, history: list, best: dict | None, seconds: float
) -> None:
    state = {name: thing.state_dict() for name, thing in stateful.items()}
    content = {"key": job.key, "history": history, "best": best, "state": state, "seconds": seconds}
    checkpoints.save(job.progress_path, content)
    storage.write_text(job.growing_log_path, _csv(history))  # whole, so that no resumed run can repeat a row


def _csv(history: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
