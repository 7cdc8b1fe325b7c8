"""Images that all seeds of a dataset share."""

from types import SimpleNamespace

import pytest

from common.data import prepared
from common.experiment import data_partition
from common.runtime.errors import UserError
from common.runtime.paths import DatasetFolder


@pytest.mark.parametrize("trained", [None, 0, 3])
@pytest.mark.parametrize("asking", [None, 0, 3])
def test_images_are_not_read_anew_under_models_of_any_seed(tmp_path, monkeypatch, trained, asking):
    """Whichever seed asks first after an image has changed; None is the dataset folder itself."""
    folder = DatasetFolder(tmp_path / "birds", asking)
    folder.prepared.mkdir(parents=True)
    model = DatasetFolder(folder.root, trained).ddpm
    model.parent.mkdir(parents=True)
    model.touch()
    monkeypatch.setattr(prepared, "is_used", lambda _: True)
    monkeypatch.setattr(prepared, "pool_of", lambda *_: None)
    monkeypatch.setattr(prepared, "is_current", lambda *_: False)
    read = []
    monkeypatch.setattr(prepared, "write", lambda *_: read.append(True))
    experiment = SimpleNamespace(folder=folder, dataset=None)
    shown = folder.shown(model)
    with pytest.raises(UserError, match=f"{shown} was trained on.*data_partition.py --replace"):
        data_partition.make(experiment, permutation=None)
    assert not read
    model.unlink()
    data_partition._prepare(experiment, replace=False)
    assert read
