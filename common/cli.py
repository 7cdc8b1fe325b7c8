"""Every command line. Exit status: 0 done, 1 something a user can mend, 2 wrong usage, 130 interrupted."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch

from common import (
    config,
    ddpm_training,
    departures,
    distributed,
    evaluation,
    flags,
    partition,
    pictures,
    published,
    report,
    storage,
    tables,
)
from common import device as devices
from common.datasets import to_float
from common.defenses import DEFENSES
from common.defenses.base import Task
from common.errors import UserError
from common.experiment import Experiment
from common.models import MODELS, Classifier, build_classifier
from common.paths import DatasetFolder
from common.protocols import PROTOCOLS
from common.training import Job, Labelled, is_done

Command = Callable[[DatasetFolder, argparse.Namespace], None]


def data_partition(folder: Path, argv: list[str] | None = None) -> int:
    parser = _parser("data_partition.py", "Fetch the dataset and decide which sample plays which part.")
    parser.add_argument(
        "--permutation",
        type=Path,
        metavar="FILE",
        help="permutation of the training set (.npy, .npz, .pkl) instead of one from the seed; a published checkpoint "
        "needs the published one. Default: cifar_shuffle.pkl (or svhn_…) in the dataset folder, where there is one",
    )
    return _run(parser, argv, folder, _data_partition)


def _data_partition(folder: DatasetFolder, options: argparse.Namespace) -> None:
    experiment = _experiment(folder, options)
    protocol = config.load(folder.config("evaluation"), config.EvaluationConfig)
    in_place = folder.permutation if folder.permutation.is_file() else None
    content = partition.make(
        experiment.data,
        experiment.sizes,
        dataset=folder.name,
        seed=options.seed,
        permutation=options.permutation or in_place,
    )
    storage.write_json(folder.partition, content.model_dump())
    spec = experiment.spec
    print(f"{folder.shown(folder.partition)}: data sha256 {content.data_sha256[:16]}…")
    print(partition.verdict(experiment.partition) + "\n")
    print(
        partition.table(
            experiment.partition, experiment.data, num_sample=protocol.num_sample, num_classes=spec.num_classes
        )
    )


def train_ddpm(folder: Path, argv: list[str] | None = None) -> int:
    parser = _parser("train_ddpm.py", "Train the diffusion model on the classifier's members; goes on if interrupted.")
    _add_speed(parser, "the network")
    return _run(parser, argv, folder, _train_ddpm)


def _train_ddpm(folder: DatasetFolder, options: argparse.Namespace) -> None:
    experiment = _experiment(folder, options)
    settings = experiment.ddpm_config
    fence = config.load(folder.config("diffence"), config.DiffenceConfig)
    ddpm_training.require_possible(settings, image_size=experiment.spec.image_size)
    job = Job(folder.ddpm, experiment.made_from(ddpm=settings.model_dump()))
    done = is_done(job)
    distributed.barrier()  # until every process has seen what is there
    members = experiment.training_part(experiment.partition.members).images
    flags_text = flags.write(settings, image_size=experiment.spec.image_size)
    if not done:
        folder.ddpm_flags.unlink(missing_ok=True)  # so that no checkpoint is ever read with another one's flags
        ddpm_training.train(
            job, members, settings, seed=options.seed, precision=experiment.precision, compile=experiment.compile
        )
    if distributed.is_first():
        storage.write_text(folder.ddpm_flags, flags_text)
        _show_ddpm(experiment, members[:12], step=fence.step)


def _show_ddpm(experiment: Experiment, members: torch.Tensor, *, step: int) -> None:
    """Pictures of samples and of images before noising, noised and denoised."""
    denoiser = evaluation.load_denoiser(experiment)
    x = to_float(members)
    samples, rows = ddpm_training.show(
        denoiser, x, step=step, num_jumps=experiment.ddpm_config.training.sample_steps, seed=experiment.seed
    )
    folder = experiment.folder
    figures = {
        "samples": pictures.image_grid({"": samples[:12], " ": samples[12:]}, title=f"{folder.name}: DDPM samples"),
        "purified": pictures.image_grid(rows, title=f"{folder.name}: members at T = {step}"),
    }
    for name, figure in figures.items():
        path = folder.ddpm.with_name(f"{name}.png")
        pictures.save(figure, path)
        print(f"picture: {folder.shown(path)}")


def train_defense(folder: Path, argv: list[str] | None = None) -> int:
    parser = _parser("train_defense.py", "Train a classifier with a defence; goes on if interrupted.")
    _add_defense(parser)
    _add_speed(parser, "the classifier")
    parser.add_argument(
        "--published", action="store_true", help="use the published code's settings, configs/published/"
    )
    return _run(parser, argv, folder, _train_defense)


def _train_defense(folder: DatasetFolder, options: argparse.Namespace) -> None:
    experiment = _experiment(folder, options)
    defense = DEFENSES[options.defense]
    settings_file = folder.config(f"published/{options.defense}" if options.published else options.defense)
    settings = config.load(settings_file, defense.config)
    if defense.fp32_only and (options.compile or options.precision != "fp32"):
        raise UserError(f"--defense {options.defense} trains without --compile and with --precision fp32 only")
    if distributed.world_size() > 1 and not defense.shares_work:
        raise UserError(f"--defense {options.defense} is trained by one process: leave --nproc away")
    part = experiment.partition
    if settings.checkpoint_selection == "validation" and len(part.validation) == 0:
        raise UserError(
            f"{folder.shown(settings_file)}: checkpoint_selection: validation needs a validation "
            "part, but configs/data.yaml has validation: 0"
        )
    undefended = folder.classifier(model=options.model, defense="undefended")
    if defense.needs_undefended:
        folder.require(undefended, evaluation.training_command("undefended", options.model))
    job = _classifier_job(experiment, options, settings, undefended if defense.needs_undefended else None)
    done = is_done(job)
    distributed.barrier()  # until every process has seen what is there
    if done:
        return

    def new_classifier(seed: int) -> Classifier:
        classifier = build_classifier(
            options.model,
            experiment.classifier_config,
            experiment.spec,
            seed=seed,
            group_norm=defense.group_norm,
            precision=experiment.precision,
            compile=experiment.compile,
        )
        return classifier.to(experiment.device)

    defense.train(
        Task(
            job=job,
            config=settings,
            new_classifier=new_classifier,
            members=experiment.training_part(part.members),
            reference=experiment.training_part(part.reference),
            tuning_members=experiment.training_part(experiment.tuning_members),
            selection=_selection_part(experiment, settings.checkpoint_selection),
            undefended=undefended,
            seed=options.seed,
            device=experiment.device,
        )
    )
    if distributed.is_first():
        print(f"{folder.shown(job.path)} is ready; its log is {folder.shown(job.log_path)}")


def _classifier_job(
    experiment: Experiment, options: argparse.Namespace, settings: config.TrainingConfig, built_on: Path | None
) -> Job:
    """What the training leaves behind, and everything it depends on: ``built_on`` is the classifier it protects."""
    made_from = experiment.made_from(
        defense=options.defense,
        classifier={options.model: experiment.classifier_config.model_dump()[options.model]},
        settings=settings.model_dump(),
    )
    if built_on is not None:
        made_from["undefended"] = storage.file_sha256(built_on)
        made_from["tuning_members"] = experiment.tuning_members_key
    return Job(experiment.folder.classifier(model=options.model, defense=options.defense), made_from)


def _selection_part(experiment: Experiment, selection: str) -> Labelled | None:
    """The samples whose accuracy picks the epoch, or None where the last one is kept."""
    if selection == "validation":
        return experiment.training_part(experiment.partition.validation)
    return experiment.test_part(experiment.partition.test_order) if selection == "test" else None


def export_published(folder: Path, argv: list[str] | None = None) -> int:
    parser = _parser(
        "export_published.py",
        "Write a classifier, the diffusion model and the permutation as the published code reads them.",
    )
    _add_defense(parser)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: exported/ in the dataset folder")
    return _run(parser, argv, folder, _export_published)


def _export_published(folder: DatasetFolder, options: argparse.Namespace) -> None:
    if options.model != "resnet":
        raise UserError(f"--model {options.model}: the published format has names for a ResNet's weights only (resnet)")
    experiment = _experiment(folder, options)
    evaluation.require_inputs(experiment, model=options.model, defense=options.defense)
    # loaded once, so that no file is handed on that an evaluation would refuse
    evaluation.load_classifier(experiment, model=options.model, defense=options.defense)
    evaluation.load_denoiser(experiment)
    there = DatasetFolder(options.out or folder.exported)
    classifier = folder.classifier(model=options.model, defense=options.defense)
    state = storage.load_checkpoint(classifier, expect={"state_dict": dict})
    # what the published format has no place for (MemGuard's defence classifier, the settings) stays under its own key
    state["state_dict"] = published.published_form(state["state_dict"], source=str(classifier))
    files = {
        there.classifier(model=options.model, defense=options.defense): storage.checkpoint_bytes(state),
        there.ddpm: folder.ddpm.read_bytes(),
        there.ddpm_flags: folder.ddpm_flags.read_bytes(),
        there.root / folder.permutation.name: published.permutation_pickle(experiment.partition.permutation.order),
    }
    others = [path for path, data in files.items() if path.is_file() and path.read_bytes() != data]
    if others:
        raise UserError(f"{others[0]} is there already and is another file: move it away, or give another --out")
    for path, data in files.items():
        storage.write_bytes(path, data)
        print(f"exported: {path}")


def evaluate(folder: Path, argv: list[str] | None = None) -> int:
    parser = _parser("evaluate_mia.sh", "Attack a trained classifier, alone and behind Diffence, and report both.")
    _add_defense(parser)
    parser.add_argument(
        "--scenario",
        type=int,
        choices=(1, 2, 3),
        help="what the defender knows: members and non-members, members only, neither",
    )
    parser.add_argument("-N", type=_positive, dest="num_candidates", help="reconstructions per image")
    parser.add_argument("-T", type=_positive, dest="step", help="diffusion step to which images are noised")
    parser.add_argument("--num-sample", type=_positive, help="members, and non-members, per role at most")
    _add_speed(parser, "the diffusion model")
    parser.add_argument(
        "--diffusion",
        type=Path,
        metavar="PATH",
        help="diffusion model: a checkpoint with its flags file beside it, or a folder in diffusers' format "
        "(default: diff_defense/diff_models/half.pt)",
    )
    parser.add_argument(
        "--protocol",
        choices=(*PROTOCOLS, "both"),
        default="both",
        help="held_out keeps every choice away from the samples that are scored; published computes what the paper's "
        "code computes; default: both",
    )
    parser.add_argument(
        "--noising", choices=get_args(config.Noising), help="the forward process: ddpm, or that of the published code"
    )
    parser.add_argument(
        "--departures",
        nargs="?",
        const="text",
        choices=tuple(tables.STYLES),
        help="instead of reporting, measure what each departure of the published code is worth: a table as text "
        "(default) or markdown",
    )
    return _run(parser, argv, folder, _evaluate)


def _evaluate(folder: DatasetFolder, options: argparse.Namespace) -> None:
    experiment = _experiment(folder, options)
    fence = config.load(folder.config("diffence"), config.DiffenceConfig)
    protocol = config.load(folder.config("evaluation"), config.EvaluationConfig)
    settings = evaluation.Settings(
        model=options.model,
        defense=options.defense,
        fence=_override(fence, options, "scenario", "num_candidates", "step", "noising"),
        evaluation=_override(protocol, options, "num_sample"),
        protocols=tuple(PROTOCOLS.values()) if options.protocol == "both" else (PROTOCOLS[options.protocol],),
    )
    if options.departures:
        _measure_departures(experiment, settings, options)
        return
    result = evaluation.evaluate(experiment, settings)
    if result is None:
        return
    print(report.write(experiment, result))
    for suffix in ("", "_w_diffence"):
        print(f"results: {folder.shown(folder.results(model=options.model, defense=options.defense + suffix))}")


def _measure_departures(experiment: Experiment, settings: evaluation.Settings, options: argparse.Namespace) -> None:
    if options.noising or options.protocol != "both":
        raise UserError("--departures compares protocols and noisings itself: leave out --protocol and --noising")
    measured = departures.measure(experiment, settings)
    if measured is not None:
        print(departures.table(measured, style=options.departures))


def _override(settings: config.Config, options: argparse.Namespace, *names: str) -> config.Config:
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return settings.model_copy(update=given)


def _parser(prog: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--seed", type=_seed, default=0, help="of every random draw (default: 0)")
    parser.add_argument("--device", choices=devices.CHOICES, default="auto", help="default: the best there is")
    return parser


def _add_defense(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--defense", choices=tuple(DEFENSES), required=True)
    parser.add_argument("--model", choices=MODELS, default="resnet", help="classifier family (default: resnet)")


def _add_speed(parser: argparse.ArgumentParser, network: str) -> None:
    parser.add_argument(
        "--precision", choices=devices.PRECISIONS, default="fp32", help=f"of {network}'s products (default: fp32)"
    )
    parser.add_argument(
        "--compile", action="store_true", help=f"compile {network} (needs a C++ compiler; rounds differently)"
    )
    parser.add_argument(
        "--nproc", type=_positive, default=1, help="processes on this machine that share the work (default: 1)"
    )


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"must be 0 … 2^32 - 1, not {value}")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def _experiment(folder: DatasetFolder, options: argparse.Namespace) -> Experiment:
    names = ("precision", "compile", "diffusion")
    given = {name: getattr(options, name) for name in names if hasattr(options, name)}
    return Experiment.at(folder, seed=options.seed, device=options.device, **given)


def _run(parser: argparse.ArgumentParser, argv: list[str] | None, folder: Path, command: Command) -> int:
    options = parser.parse_args(argv)
    if getattr(options, "nproc", 1) > 1 and distributed.world_size() == 1:
        return distributed.launch(options.nproc, [sys.argv[0], *(sys.argv[1:] if argv is None else argv)])
    devices.keep_freed_memory()
    try:
        with distributed.processes():
            command(DatasetFolder(folder), options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the same command goes on where this one stopped", file=sys.stderr)
        return 130
    return 0
