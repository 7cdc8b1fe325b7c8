"""Make items of the paper: train what is missing, judge what was not judged, write what came out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.defenses import DEFENSES
from common.experiment import plan as plans
from common.experiment import train_all, train_ddpm, train_defense, train_shadows
from common.experiment.experiment import Experiment
from common.experiment.plan import Item as Planned
from common.experiment.train_all import Options, Step
from common.paper import ITEMS, write
from common.paper.bench import Bench, Case
from common.paper.interface import Item, OwnDiffusion
from common.paper.write import Place
from common.reports import paper as papers
from common.reports.paper import Paper
from common.runtime import distributed, progress
from common.runtime.errors import UserError
from common.runtime.paths import PAPER_RESULTS, REPOSITORY, DatasetFolder
from common.runtime.sharing import share_out

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
    hours = [_hours(step, paper) for step in missing if step.folder.name in papers.PAPER_DATASETS]
    if not hours:
        return None
    return (
        f"about {sum(hours):.0f} GPU hours of training are missing (the paper's table VIII for classifiers; "
        f"{DIFFUSION_HOURS} for a diffusion model, docs/performance.md)"
    )


def _is_there(step: Step) -> bool:
    if step.command == train_all.PARTITION:
        return step.folder.partition.is_file()
    return (step.folder.classifier(step.subject) if step.subject else step.folder.ddpm).is_file()


def _hours(step: Step, paper: Paper) -> float:
    if step.command == train_all.PARTITION:
        return 0.0
    if step.subject is None:
        return DIFFUSION_HOURS
    return paper.table8.get(step.subject.defense, paper.table8["undefended"])[step.folder.name]


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
    with progress.outer(total=len(request.items), unit="item", desc="the paper", shown=first) as bar:
        for name in request.items:
            item = ITEMS[name]
            _train(item, benches)
            cases = [case for bench in benches for case in item.cases(bench)]
            if cases:
                share_out(cases, Case.judged, unit="classifier", desc=item.title)
            if first:
                with distributed.by_itself():
                    _make(name, request, benches)
            if item.timed:
                distributed.barrier()
            bar.update()


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
    train_ddpm.make(own.experiment, own.job, own.images and own.images())


def _make(name: str, request: Request, benches: Sequence[Bench]) -> None:
    item, place = ITEMS[name], request.place(name)
    made = item.make(benches, _paper())
    datasets = "".join(f" --dataset {each}" for each in request.datasets)
    request.out.mkdir(parents=True, exist_ok=True)
    write.write(place, item, made, command=f"bash reproduce.sh {name}{datasets}")
    print(f"{place.page}: {item.title}\n  paper: {made.paper}\n  here:  {made.ours}")
