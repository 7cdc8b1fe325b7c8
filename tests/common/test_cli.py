from types import SimpleNamespace

import numpy as np

from common import cli
from common.partition import Role


def job(tmp_path, *, tuning, undefended):
    """The job of a classifier, of one that protects another where ``undefended`` is its file."""
    roles = {"tuning": Role(np.array(tuning), np.arange(0))}
    experiment = SimpleNamespace(
        made_from=dict,
        classifier_config=SimpleNamespace(model_dump=lambda: {"resnet": {}}),
        folder=SimpleNamespace(classifier=lambda **names: tmp_path / "x.pth.tar"),
        partition=SimpleNamespace(members=np.arange(9), roles=lambda num_sample: roles),
    )
    options = SimpleNamespace(defense="x", model="resnet")
    return cli._classifier_job(experiment, options, SimpleNamespace(model_dump=dict), undefended)


def test_what_protects_a_classifier_is_made_from_that_classifier_and_the_tuning_members(tmp_path):
    built_on = tmp_path / "undefended.pth.tar"
    keys = set()
    for content, tuning in ((b"a", [1, 2]), (b"b", [1, 2]), (b"a", [3, 4])):
        built_on.write_bytes(content)
        keys.add(job(tmp_path, tuning=tuning, undefended=built_on).key)
    assert len(keys) == 3
    alone = {job(tmp_path, tuning=tuning, undefended=None).key for tuning in ([1, 2], [3, 4])}
    assert len(alone) == 1
