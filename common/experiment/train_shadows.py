"""Train shadow models of a subject, and keep what they answer.

Each is trained as the target was, on its own half of the pool, and asked about the pool's roles: raw, and behind the
fence. What it answers is kept; the model itself only if that is asked for. Of several processes each trains its share.
"""

import io
import shutil
from collections.abc import Collection, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from common.data.shadows import TARGET
from common.defenses import DEFENSES
from common.evaluation.reconstructions import Reconstructions
from common.experiment import train_ddpm, train_defense
from common.experiment.fence import build_fence
from common.experiment.plan import Item
from common.experiment.shadow_store import Store
from common.experiment.shadows import ShadowAnswers, ShadowExperiment
from common.experiment.subjects import load_classifier
from common.formats.diffusion_model import DiffusionModel
from common.runtime import distributed, ownership, storage
from common.runtime.sharing import share_out
from common.runtime.subject import Subject
from common.training.classifier import accuracy


def plan(store: Store, count: int) -> list[Item]:
    """What a model answers is one file each; the settings are checked."""
    store.require()
    done = sum(store.path(number).is_file() for number in range(count + 1))
    shown = f"{store.experiment.folder.shown(store.folder)}/"
    return [Item(shown, f"{done} of {count + 1} models' answers there (target and {count} shadow models)")]


def train(store: Store, *, count: int, keep_models: bool) -> None:
    """Make what is missing of the target's answers and those of ``count`` shadow models."""
    store.require()
    for line in store.warnings:
        distributed.say(line)
    with ownership.owned(store.folder):
        settings = store.settings  # another command may have made the store meanwhile
        left = [number for number in range(count + 1) if not store.path(number).is_file()]
        distributed.barrier()  # until every process has seen what is there
        if distributed.is_first():
            storage.write_json(store.record, settings)
        if keep_models:
            _say_not_kept(store, set(range(count + 1)) - set(left))
        if left:
            _make(store, left, keep_models=keep_models)
    distributed.say(f"{store.experiment.folder.shown(store.folder)}/ has the target and {count} shadow models")


def _say_not_kept(store: Store, done: Collection[int]) -> None:
    """Say how many models are gone that are not trained again, since their answers are there."""
    anew = [subject for subject in map(store.subject_of, done) if subject.shadow is not None]
    gone = [subject for subject in anew if not store.experiment.folder.classifier(subject).is_file()]
    if gone:
        distributed.say(
            f"--keep-models: {len(gone)} models were not kept when their answers were made, and stay away: delete the "
            "answers (NNNN.logits.pth) of those that are to be trained again"
        )


def _make(store: Store, left: Sequence[int], *, keep_models: bool) -> None:
    if not store.subject.own_diffusion:
        for pool in _pools(store, store.diffusion(TARGET)).values():
            pool.fill(desc="purify the pool")

    def make(number: int) -> None:
        _make_one(store, number, keep_models=keep_models)

    share_out(left, make, unit="model", desc=f"shadow models of {store.subject}")


def _pools(store: Store, diffusion: DiffusionModel) -> dict[str, Reconstructions]:
    return {name: store.reconstructions(name, diffusion) for name in store.fences}


def _make_one(store: Store, number: int, *, keep_models: bool) -> None:
    experiment, subject = store.member_experiment(number), store.subject_of(number)
    anew = subject.shadow is not None
    if anew:
        _train(experiment, subject, diffusion=store.own_diffusion(number))
    defended = load_classifier(experiment, subject) if anew else store.target
    diffusion, found = store.diffusion(number), {}
    for name, pool in _pools(store, diffusion).items():
        fence, key = store.fences[name]
        found[name] = pool.classified(build_fence(defended.classifier, diffusion.denoiser, fence, key=key))
        if store.subject.own_diffusion:  # no other model has any use for these
            shutil.rmtree(pool.folder)
    test = experiment.test_part(experiment.partition.test_order)
    member = np.isin(store.pool.indices, experiment.partition.members)
    right = accuracy(defended.classifier, test)
    answers = ShadowAnswers(number, member, found["own"], found["near"], right, defended.privacy)
    if anew and not keep_models:  # before the answers are there, or that of a run killed in between would stay for ever
        _remove(experiment.folder.classifier(subject))
    answers.save(store.path(number), store=store.key)


def _train(experiment: ShadowExperiment, subject: Subject, *, diffusion: Path | None) -> None:
    """Train a shadow model, and before it the undefended one where its defence protects that.

    diffusion:  where its own diffusion model is to be, if it has one
    """
    needed = [subject.undefended] if DEFENSES[subject.defense].needs_undefended else []
    with redirect_stdout(io.StringIO()):  # a line for each of many models would bury the bar
        for each in [*needed, subject]:
            train_defense.train(experiment, each, published=False)
        if diffusion is not None:
            train_ddpm.make(experiment, train_ddpm.job(experiment, diffusion))


def _remove(checkpoint: Path) -> None:
    """A model, the undefended one that it protects, and all that their trainings have left beside them."""
    name = checkpoint.name.removesuffix(".pth.tar")
    for path in checkpoint.parent.glob(f"{name}.*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif not path.name.endswith(".logits.pth"):
            path.unlink()
