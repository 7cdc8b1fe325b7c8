"""Every reader of files and settings, given anything: the right value or the project's own error, and nothing written.

`make fuzz` tries a hundred times as many.
"""

import io
import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from common.data import partition, permutations
from common.data.partition import DataConfig
from common.data.raw import RawData
from common.defenses import DEFENSES
from common.diffusion.training import DDPMConfig
from common.experiment import fence, subjects
from common.experiment.experiment import Experiment
from common.formats import diffusers as diffusers_format
from common.formats import flags, guided_diffusion
from common.reports import reading
from common.runtime import checkpoints, config, storage
from common.runtime.device import Compute
from common.runtime.errors import UserError
from common.runtime.paths import REPOSITORY, DatasetFolder
from common.runtime.subject import Subject
from common.training import jobs, loop
from tests import served
from tests.common.formats.test_diffusers import save as save_diffusers
from tests.common.formats.test_guided_diffusion import save as save_guided
from tests.common.training import job_at
from tests.miniature import files_below

EXTREMES = [
    "-1",
    "0",
    "1e9",
    "1000000000",
    "1" * 30,
    "1" * 5000,
    "1e400",
    "-0.0",
    ".nan",
    "NaN",
    "Infinity",
    "null",
    '"x"',
]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([10**9, -1, 2**70]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """Bytes that were valid once: cut, turned, filled in, numbers replaced, or nothing of it left."""
    kind = draw(st.sampled_from(["cut", "bits", "insert", "number", "marks", "anything"]))
    place = draw(st.integers(0, max(0, len(valid) - 1)))
    if kind == "cut":
        return valid[:place]
    if kind == "bits":
        data = bytearray(valid)
        for bit in draw(st.lists(st.integers(0, 8 * len(valid) - 1), min_size=1, max_size=8)):
            data[bit // 8] ^= 1 << bit % 8
        return bytes(data)
    if kind == "insert":
        return valid[:place] + draw(st.binary(min_size=1, max_size=20)) + valid[place:]
    if kind == "number":
        numbers = list(re.finditer(rb"(?<![\w.])-?\d+(\.\d+)?(e-?\d+)?", valid)) or [re.match(b"", valid)]
        chosen = draw(st.sampled_from(numbers))
        return valid[: chosen.start()] + draw(st.sampled_from(EXTREMES)).encode() + valid[chosen.end() :]
    if kind == "marks":
        return draw(st.sampled_from([b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"%YAML 1.1\n", b"[" * 3000])) + valid
    return draw(st.binary(max_size=200))


@st.composite
def changed(draw: st.DrawFn, content: Any) -> Any:
    """Plain content with one of its parts replaced by anything, taken away or put in."""
    if isinstance(content, dict) and content and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(content)))
        return {**content, key: draw(changed(content[key]))}
    if isinstance(content, dict) and content and draw(st.booleans()):
        left = dict(content)
        del left[draw(st.sampled_from(sorted(content)))]
        return left
    return draw(JUNK)


def taken_or_refused(path: Path, data: bytes, read: Callable[[], Any]) -> Any:
    """What a reader makes of the bytes; None where it refuses them. Nothing is written."""
    path.write_bytes(data)
    before = files_below(path.parent)
    try:
        return read()
    except UserError as error:
        assert str(error)
        return None
    finally:
        assert files_below(path.parent) == before


fuzz = settings(
    max_examples=max(200, settings.default.max_examples),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    deadline=None,
)
DDPM_YAML = (REPOSITORY / "common" / "configs" / "ddpm.yaml").read_bytes()


@fuzz
@given(damaged(DDPM_YAML))
def test_yaml(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "ddpm.yaml"
    found = taken_or_refused(path, data, lambda: config.load(path, DDPMConfig))
    assert found is None or (found.schedule.T <= 100_000 and found.unet.ch <= 16_384)


@fuzz
@given(st.lists(st.text(max_size=30) | st.builds("ddpm.{}={}".format, st.text(max_size=9), st.text(max_size=20))))
def test_settings_of_the_command_line(texts: list[str]) -> None:
    try:
        given = config.parse_overrides(texts)
        for values in given.values():
            config.load(REPOSITORY / "digits" / "configs" / "ddpm.yaml", DDPMConfig, values)
    except UserError as error:
        assert str(error)


FLAGS = flags.write(config.load(REPOSITORY / "digits" / "configs" / "ddpm.yaml", DDPMConfig), image_size=8).encode()


@fuzz
@given(damaged(FLAGS))
def test_flags(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "half.txt"
    found = taken_or_refused(path, data, lambda: flags.read(path))
    assert found is None or found.file.sha256 == storage.bytes_sha256(data)


IMAGES = torch.zeros(20, 1, 2, 2, dtype=torch.uint8)
DATA = RawData(IMAGES, torch.arange(20), IMAGES[:9], torch.arange(9))
SIZES = DataConfig(members=10, reference=8, validation=2)
PARTITION = partition.make(DATA, SIZES, dataset="digits", seed=0, permutation=None)


@fuzz
@given(st.data())
def test_partitions(tmp_path: Path, data: st.DataObject) -> None:
    path, content = tmp_path / "partition.json", PARTITION.record()
    valid = json.dumps(content).encode()
    drawn = data.draw(damaged(valid) | changed(content).map(lambda given: json.dumps(given).encode()))
    found = taken_or_refused(path, drawn, lambda: partition.read(path, DATA, sizes=SIZES))
    if found is not None and found.file.checked:
        assert found.key == PARTITION.key


@fuzz
@given(st.data())
def test_permutations(tmp_path: Path, data: st.DataObject) -> None:
    order, files = np.random.default_rng(0).permutation(12), {}
    for suffix, write in (
        (".npy", np.save),
        (".npz", np.savez),
        (".pkl", lambda file, array: pickle.dump(array, file)),
    ):
        buffer = io.BytesIO()
        write(buffer, order)
        files[suffix] = buffer.getvalue()
    suffix = data.draw(st.sampled_from(sorted(files)))
    path, drawn = tmp_path / f"order{suffix}", data.draw(damaged(files[suffix]))
    found = taken_or_refused(path, drawn, lambda: permutations.read_permutation(path, size=12))
    assert found is None or sorted(found.tolist()) == list(range(12))
    path.unlink()


@pytest.fixture(scope="module")
def digits(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> DatasetFolder:
    root = shutil.copytree(trained, tmp_path_factory.mktemp("fuzz") / "copy")
    assert served.run(root, "digits/evaluate_MIAs", "evaluate.py", "--defense", "undefended").returncode == 0
    return DatasetFolder(root / "digits")


def experiment(folder: DatasetFolder) -> Experiment:
    return Experiment.at(folder, device="cpu")


def saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@st.composite
def damaged_checkpoint(draw: st.DrawFn, valid: bytes) -> bytes:
    """A damaged file, or a sound one whose content is another, without a checksum or with its own."""
    if draw(st.booleans()):
        return draw(damaged(valid))
    content = torch.load(io.BytesIO(valid), weights_only=True)
    content.pop("checksum", None)
    content = draw(changed(content))
    if isinstance(content, dict) and draw(st.booleans()):
        content = {**content, "checksum": checkpoints.checksum(content)}
    return saved(content)


@fuzz
@given(data=st.data())
def test_classifiers(digits: DatasetFolder, data: st.DataObject) -> None:
    path = digits.classifier(Subject())
    valid = path.read_bytes()
    try:
        drawn = data.draw(damaged_checkpoint(valid))
        taken_or_refused(path, drawn, lambda: subjects.load_classifier(experiment(digits), Subject()))
    finally:
        path.write_bytes(valid)


@fuzz
@given(data=st.data())
def test_diffusion_models(digits: DatasetFolder, data: st.DataObject) -> None:
    path = digits.ddpm
    valid = path.read_bytes()
    try:
        drawn = data.draw(damaged_checkpoint(valid))
        taken_or_refused(path, drawn, lambda: fence.load_diffusion_model(experiment(digits)))
    finally:
        path.write_bytes(valid)


@fuzz
@given(data=st.data())
def test_saved_states(tmp_path: Path, data: st.DataObject) -> None:
    job, counter = job_at(tmp_path), nn.Linear(2, 1)
    nn.init.ones_(counter.weight)
    nn.init.zeros_(counter.bias)
    history = [{"round": 1, "loss": 0.5, "score": 0.1}]
    best = {"round": 1, "score": 0.1, "kept": {"weight": torch.ones(1, 2)}}
    content = {
        "key": job.key,
        "history": history,
        "best": best,
        "state": {"counter": counter.state_dict()},
        "seconds": 1.0,
    }
    drawn = data.draw(damaged_checkpoint(checkpoints.to_bytes(content)))
    taken_or_refused(job.progress_path, drawn, lambda: loop._resume(job, {"counter": counter}, rounds=3))


@fuzz
@given(data=st.data())
def test_finished_work(tmp_path: Path, data: st.DataObject) -> None:
    job = job_at(tmp_path)
    content = {"weight": torch.ones(2), "epoch": 1, "best_acc": None, "made_from": job.made_from.record()}
    drawn = data.draw(damaged_checkpoint(checkpoints.to_bytes(content)))
    taken_or_refused(job.path, drawn, lambda: jobs.state(job))


@fuzz
@given(data=st.data())
def test_reports(digits: DatasetFolder, data: st.DataObject) -> None:
    path = digits.results(Subject(), diffence=True) / "report.json"
    valid = path.read_bytes()
    try:
        drawn = data.draw(damaged(valid) | changed(json.loads(valid)).map(lambda given: json.dumps(given).encode()))
        taken_or_refused(path, drawn, lambda: reading.read(digits, defenses=DEFENSES))
    finally:
        path.write_bytes(valid)


@fuzz
@given(damaged(b'{"seconds": 12.5}'))
def test_seconds(tmp_path: Path, data: bytes) -> None:
    path = jobs.seconds_path(tmp_path / "model")
    found = taken_or_refused(path, data, lambda: jobs.last_seconds(tmp_path / "model"))
    assert found is None or 0 <= found < float("inf")


@fuzz
@given(data=st.data())
def test_arrays_of_a_bank(tmp_path: Path, data: st.DataObject) -> None:
    path, array = tmp_path / "bank" / "members-00000.npy", np.arange(6.0)
    storage.write_array(path, array)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    try:
        found = storage.read_array(path, most=10_000)
    except ValueError:
        return
    assert np.array_equal(found, array)


@pytest.fixture(scope="module")
def folder_of_diffusers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diffusers") / "model"
    save_diffusers(folder)
    diffusers.utils.logging.set_verbosity_error()
    return folder


@fuzz
@given(data=st.data())
def test_folders_of_diffusers(folder_of_diffusers: Path, data: st.DataObject) -> None:
    files = sorted(path for path in folder_of_diffusers.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    valid = path.read_bytes()
    kinds = damaged(valid)
    if path.suffix == ".json":
        kinds |= changed(json.loads(valid)).map(lambda given: json.dumps(given).encode())
    given = {"channels": 1, "image_size": 8, "compute": Compute(torch.device("cpu"))}
    try:
        drawn = data.draw(kinds)
        taken_or_refused(path, drawn, lambda: diffusers_format.load_denoiser(folder_of_diffusers, **given))
    finally:
        path.write_bytes(valid)


@pytest.fixture(scope="module")
def checkpoint_of_openai(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openai")
    save_guided(folder)
    return folder


@fuzz
@given(data=st.data())
def test_checkpoints_of_openai(checkpoint_of_openai: Path, data: st.DataObject) -> None:
    path = checkpoint_of_openai / data.draw(st.sampled_from(["uncond.pt", "uncond.yaml"]))
    valid = path.read_bytes()
    kinds = damaged(valid)
    if path.suffix == ".yaml":
        kinds |= changed(yaml.safe_load(valid)).map(lambda given: yaml.safe_dump(given).encode())
    files = checkpoint_of_openai / "uncond.pt", checkpoint_of_openai / "uncond.yaml"
    given = {"channels": 3, "image_size": 8, "compute": Compute(torch.device("cpu"))}
    try:
        drawn = data.draw(kinds)
        taken_or_refused(path, drawn, lambda: guided_diffusion.load_denoiser(*files, **given))
    finally:
        path.write_bytes(valid)
