"""Everything anew for each of several seeds: partition, diffusion model, classifiers, fences and attacks.

What depends on a seed lies in the dataset's folder seeds/SEED, as the same things lie in the dataset folder itself.
Finished work is recognised: training by the jobs, an evaluation by its reports.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from common.defenses import DEFENSES
from common.evaluation.protocols import Protocol
from common.evaluation.record import Report, UnderProtocol
from common.evaluation.run import Settings, versions
from common.experiment import data_partition, evaluate, train_ddpm, train_defense
from common.experiment.experiment import Experiment
from common.experiment.plan import Item
from common.reports import over_seeds, reading
from common.runtime import config, distributed, storage
from common.runtime.errors import UserError
from common.runtime.sharing import share_out
from common.runtime.subject import Subject
from common.training.jobs import state


@dataclass(frozen=True)
class Run:
    """One evaluation of one seed."""

    experiment: Experiment
    settings: Settings


def reads(chosen: Sequence[Settings]) -> tuple[str, ...]:
    """YAML files."""
    names = [*evaluate.READS, *data_partition.READS, *train_ddpm.READS]
    for settings in chosen:
        names += train_defense.reads(settings.subject, published=False)
    return tuple(dict.fromkeys(names))


def runs(experiment: Experiment, chosen: Sequence[Settings], seeds: Sequence[int]) -> list[Run]:
    """Seed by seed, each with every subject, so that what is finished early can be read early."""
    return [
        Run(replace(experiment, folder=experiment.folder.of_seed(seed), seed=seed), settings)
        for seed in seeds
        for settings in chosen
    ]


def plan(each: Sequence[Run]) -> list[Item]:
    """The result folders with Diffence, finished or not."""
    items = []
    for run in each:
        path = run.experiment.folder.results(run.settings.subject, diffence=True)
        report, pair = _finished(run), _reports(run)
        others = _other_versions(pair[1]) if pair else ""
        now = "finished" if report else "to do" + (f": it is by {others}" if others else "")
        items.append(Item(run.experiment.folder.shown(path), now, report.seconds if report else None))
    return items


def run_all(each: Sequence[Run]) -> str | None:
    """Do what is not finished; the table over the seeds. Of several processes the first gives it, the others None."""
    for number, run in enumerate(each, start=1):
        finished = _finished(run) is not None
        distributed.barrier()  # until every process has seen what is there
        if not finished:
            distributed.say(f"\n[{number} of {len(each)}] seed {run.experiment.seed}, {run.settings.subject}")
            _run(run)
            distributed.barrier()
    if not distributed.is_first():
        return None
    found: dict[Subject, list[tuple[Report, Report]]] = {}
    for run in each:
        pair = _reports(run)
        assert pair is not None
        found.setdefault(run.settings.subject, []).append(pair)
    return over_seeds.table(found, style="text")


def worth_of_measures(each: Sequence[Run]) -> list[dict[str, UnderProtocol]] | None:
    """What each measure of a fence leaves of the attacks, of every seed; None in all processes but the first."""
    found = []
    for run in each:
        _prepare(run)
        found.append(evaluate.worth_of_measures(run.experiment, run.settings))
    return [of_seed for of_seed in found if of_seed is not None] or None


def _run(run: Run) -> None:
    """Every step up to the reports."""
    _prepare(run)
    evaluate.run(run.experiment, run.settings)


def _prepare(run: Run) -> None:
    """Every step up to the evaluation."""
    experiment, subject = run.experiment, run.settings.subject
    if distributed.is_first():
        _make_partition(experiment)
    distributed.barrier()
    train_ddpm.train(experiment)
    if DEFENSES[subject.defense].needs_undefended:
        _train(experiment, Subject(subject.model))
    _train(experiment, subject)
    distributed.barrier()


def _make_partition(experiment: Experiment) -> None:
    """Make the seed's partition, where none is there or it is of other sizes or data.

    Raises UserError where models there were trained on that one.
    """
    folder = experiment.folder
    if _has_partition(experiment):
        return
    try:
        data_partition.make(experiment, permutation=None)
    except data_partition.InUse as error:
        raise UserError(
            f"{folder.shown(folder.partition)} is of other sizes or data than there are now, and models there were "
            f"trained on it: move {folder.shown(folder.work)} away, and --seeds makes all of it anew"
        ) from error


def _has_partition(experiment: Experiment) -> bool:
    """Whether the partition is there, whole, and of the sizes and data of now."""
    try:
        return experiment.folder.partition.is_file() and bool(experiment.partition.key)
    except UserError:
        return False


def _train(experiment: Experiment, subject: Subject) -> None:
    """Train a classifier; what one process trains the others wait for. Every process must come here."""

    def train(one: Subject) -> None:
        train_defense.train(experiment, one, published=False)

    if DEFENSES[subject.defense].shares_work or distributed.world_size() == 1:
        train(subject)
    else:
        share_out([subject], train, unit="model", desc=str(subject))


def _finished(run: Run) -> Report | None:
    """The report with Diffence, where both are there and of this seed, these settings, files and versions."""
    pair = _reports(run)
    if pair is None:
        return None
    without, fenced = pair
    wanted = {"diffence": run.settings.fence.model_dump(), "evaluation": run.settings.evaluation.model_dump()}
    current = (
        reading.same_evaluation(fenced, without)
        and fenced.seed == run.experiment.seed
        and fenced.config == wanted
        and not _other_versions(fenced)
        and all(_has_tried(fenced, protocol) for protocol in run.settings.protocols)
        and _made_from_what_is_there(run.experiment, fenced)
    )
    return fenced if current else None


def _other_versions(report: Report) -> str:
    """By what a report was made where that is not what is here now: no mean is taken over two kinds of numbers.

    It is the whole version of this project: 0.15.1 too changed what attacks ask. Nothing is trained anew for it.
    """
    now = versions()
    made_by = {name: report.versions.get(name, "of unknown version") for name in ("diffence", "torch")}
    return ", ".join(f"{name} {version}" for name, version in made_by.items() if version != now[name])


def _has_tried(report: Report, protocol: Protocol) -> bool:
    """Whether a report tells of every attack of a protocol; one that was only not asked for has not been tried."""
    part, not_asked = report.protocols.get(protocol.name), replace(protocol, chosen=None).left_out
    if part is None:
        return False
    tried = {*part.attacks, *(name for name, reason in part.not_run.items() if reason != not_asked.get(name))}
    return all(attack.name in tried for attack in protocol.attacks)


def _reports(run: Run) -> tuple[Report, Report] | None:
    """Without Diffence and with it."""
    without, fenced = (_report(run, diffence=diffence) for diffence in (False, True))
    return None if without is None or fenced is None else (without, fenced)


def _report(run: Run, *, diffence: bool) -> Report | None:
    """None where it is not there, is damaged or of something else, and so is to be made."""
    folder, subject = run.experiment.folder, run.settings.subject
    path = folder.results(subject, diffence=diffence) / "report.json"
    try:
        report = config.parse(storage.read_json(path), Report, source=folder.shown(path))
    except (OSError, ValueError):
        return None
    at_home = (report.dataset, report.subject, report.diffence) == (folder.name, subject, diffence)
    return report if at_home else None


def _made_from_what_is_there(experiment: Experiment, report: Report) -> bool:
    """Whether the files that the report is of are there, and the models among them would be made so again."""
    root = experiment.folder.root.parent
    try:
        same = all(storage.file_sha256(root / path) == sha256 for path, sha256 in report.inputs.items())
        jobs = [train_ddpm.job(experiment), train_defense.job(experiment, report.subject, published=False)]
    except (OSError, UserError):
        return False
    return same and all(state(job).done for job in jobs)
