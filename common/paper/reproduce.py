"""Make items of the paper: train what is missing, judge what was not judged, write what came out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.defenses import DEFENSES
from common.experiment import plan as plans
from common.experiment import train_all, train_ddpm, train_defense, train_shadows
from common.experiment.experiment import Experiment
from common.experiment.fence import require_diffusion_model
from common.experiment.plan import Item as Planned
from common.experiment.train_all import Options, Step
from common.paper import ITEMS, settings, write
from common.paper.bench import Bench, Case
from common.paper.interface import Item, OwnDiffusion
from common.paper.write import Place
from common.reports import paper as papers
from common.reports.paper import Paper
from common.runtime import distributed, ownership
from common.runtime.errors import UserError
from common.runtime.paths import PAPER_RESULTS, REPOSITORY, DatasetFolder
from common.runtime.sharing import share_out
from common.runtime.subject import Subject

DIFFUSION_HOURS = 16  # the published recipe, see docs/performance.md


@dataclass(frozen=True)
class Request:
    """What is to be made.

    items:    by name
    out:      the folder that pages, pictures and the index go to
    options:  of the training
    other:    a diffusion model of other data
    """

    items: Sequence[str]
    folders: Sequence[DatasetFolder]
    out: Path
    options: Options
    other: Path | None = None

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(folder.name for folder in self.folders)

    @property
    def steps(self) -> list[list[Step]]:
        needed = {defense for name in self.items for defense in ITEMS[name].defenses}
        return train_all.stages(self.folders, sorted(needed), ["resnet"])

    def place(self, item: str) -> Place:
        return Place(self.out, item, self.datasets)


def lacking(request: Request) -> dict[str, str]:
    """The items that cannot be made, with what each needs that only the user can bring.

    Raises UserError where the diffusion model of other data that was given is not there.
    """
    benches = _benches(request)
    for bench in benches:
        if bench.other is not None:
            require_diffusion_model(replace(bench.experiment, diffusion=bench.other))
    found = {name: [ITEMS[name].lacks(bench) for bench in benches] for name in request.items}
    return {name: next(filter(None, reasons)) for name, reasons in found.items() if any(reasons)}


def plan(request: Request) -> list[Planned]:
    """What has to be trained, and the pages."""
    pages = []
    for name in request.items:
        page = request.place(name).page
        shown = str(page.relative_to(REPOSITORY)) if page.is_relative_to(REPOSITORY) else str(page)
        pages.append(Planned(shown, "there, written anew" if page.is_file() else "not there"))
    others = [item for name in request.items for bench in _benches(request) for item in _planned(name, bench)]
    return [*train_all.plan(request.steps, request.options), *dict.fromkeys(others), *pages]


def _planned(name: str, bench: Bench) -> list[Planned]:
    """The classifiers that an item trains in another way, its diffusion models and its shadow models."""
    item, folder, found = ITEMS[name], bench.experiment.folder, []
    for own, subject in item.others(bench.experiment):
        try:
            found += train_defense.plan(own, subject, published=False)
        except UserError:  # of a partition, or an undefended classifier, that an earlier step makes
            path = folder.classifier(subject)
            found.append(plans.of_file(path, folder, now="there" if path.is_file() else "not there"))
    own_diffusion = item.diffusion(bench) if folder.partition.is_file() else ()
    found += [plans.of_job(own.job, folder) for own in own_diffusion]
    for store, count in item.shadows(bench):
        try:
            found += train_shadows.plan(store, count)
        except UserError:
            found.append(Planned(f"{folder.shown(store.folder)}/", "not there"))
    return found


def estimate(request: Request) -> str | None:
    """How long the missing training takes on a GPU, where it is of the paper's datasets; None where nothing is."""
    paper = _paper()
    missing = [step for stage in request.steps for step in stage if not _is_there(step)]
    hours = [_hours(step.subject, step.folder, paper) for step in missing if step.command != train_all.PARTITION]
    benches = _benches(request)
    hours += [each for name in request.items for bench in benches for each in _own_hours(name, bench, paper)]
    if not any(hours):
        return None
    return (
        f"about {sum(hours):.0f} GPU hours of training are missing (the paper's table VIII for classifiers; "
        f"{DIFFUSION_HOURS} for a diffusion model, docs/performance.md)"
    )


def _is_there(step: Step) -> bool:
    if step.command == train_all.PARTITION:
        return step.folder.partition.is_file()
    return (step.folder.classifier(step.subject) if step.subject else step.folder.ddpm).is_file()


def _own_hours(name: str, bench: Bench, paper: Paper) -> list[float]:
    """Of what is missing of that which an item trains for itself, model by model."""
    item, folder, found = ITEMS[name], bench.experiment.folder, []
    others = [subject for _, subject in item.others(bench.experiment)]
    found += [_hours(subject, folder, paper) for subject in others if not folder.classifier(subject).is_file()]
    for store, count in item.shadows(bench):
        left = sum(not store.path(number).is_file() for number in range(count + 1))
        found.append(left * _hours(store.subject, folder, paper))
    try:
        found += [_hours(None, folder, paper) for own in item.diffusion(bench) if not own.job.path.is_file()]
    except UserError:  # of the partition that is not there either
        found.append(_hours(None, folder, paper))
    return found


def _hours(subject: Subject | None, folder: DatasetFolder, paper: Paper) -> float:
    """Of a classifier, or of a diffusion model; none where the paper has no such dataset."""
    if folder.name not in papers.PAPER_DATASETS:
        return 0.0
    if subject is None:
        return DIFFUSION_HOURS
    return paper.table8.get(subject.defense, paper.table8["undefended"])[folder.name]


def _benches(request: Request) -> list[Bench]:
    given = request.options
    return [
        Bench(Experiment.at(folder, seed=given.seed, device=given.device, precision=given.precision), request.other)
        for folder in request.folders
    ]


def _paper() -> Paper:
    return papers.read(PAPER_RESULTS, defenses=tuple(DEFENSES))


def reproduce(request: Request) -> None:
    """Train, then make one item after the other; each is written when it is done, and verdicts are kept.

    Of several processes each trains and judges its share; the first writes pages, while the others go on.
    """
    rows = train_all.run_all(request.steps, request.options, keep_going=False)
    failed = [f"{name}: {step}" for name, step, outcome, _ in rows if outcome != "ok"]
    if failed:
        raise UserError(f"{failed[0]} failed, as its output above says: start the same command again when it is mended")
    benches, first = _benches(request), distributed.is_first()
    for name in request.items:
        item = ITEMS[name]
        _train(item, benches)
        cases = [case for bench in benches for case in item.cases(bench)]
        if cases:
            share_out(cases, Case.judged, unit="case", desc=item.title)
        if first:
            with distributed.by_itself():
                _make(name, request, benches)
        if item.timed:
            distributed.barrier()


def _train(item: Item, benches: Sequence[Bench]) -> None:
    """What an item needs beside what all have; the processes share it out, and every process must come here."""
    others = [other for bench in benches for other in item.others(bench.experiment)]
    for protecting in (False, True):  # an undefended classifier, which these wait for
        left = [other for other in others if DEFENSES[other[1].defense].needs_undefended == protecting]
        if left:
            share_out(left, lambda other: train_defense.train(*other, published=False), unit="model", desc=item.title)
    own_diffusion = [own for bench in benches for own in item.diffusion(bench)]
    if own_diffusion:
        share_out(own_diffusion, _train_diffusion, unit="diffusion model", desc=item.title)
    for bench in benches:
        for store, count in item.shadows(bench):
            train_shadows.train(store, count=count, keep_models=False)


def _train_diffusion(own: OwnDiffusion) -> None:
    train_ddpm.require_possible(own.experiment)
    with ownership.owned(own.job.path):
        train_ddpm.make(own.experiment, own.job, own.images and own.images())


def _make(name: str, request: Request, benches: Sequence[Bench]) -> None:
    item, place = ITEMS[name], request.place(name)
    made = item.make(benches, _paper())
    datasets = "".join(f" --dataset {each}" for each in request.datasets)
    request.out.mkdir(parents=True, exist_ok=True)
    others = "" if request.other is None else f" --other-diffusion {request.other.name}"
    seed = "" if request.options.seed == 0 else f" --seed {request.options.seed}"
    command = f"bash reproduce.sh {name}{datasets}{seed}{others}"
    about = [note for bench in benches for note in (*settings.departures(item, bench), item.counts(bench))]
    write.write(place, item, made, command=command, about=about)
    print(f"{place.page}: {item.title}\n  paper: {made.paper}\n  here:  {made.ours}")
