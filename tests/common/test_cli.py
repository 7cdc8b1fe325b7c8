from types import SimpleNamespace

from common import cli, storage


def job(tmp_path, *, tuning, undefended):
    """The job of a classifier, of one that protects another where ``undefended`` is its file."""
    experiment = SimpleNamespace(
        made_from=dict,
        classifier_config=SimpleNamespace(model_dump=lambda: {"resnet": {}}),
        folder=SimpleNamespace(classifier=lambda **names: tmp_path / "x.pth.tar"),
        tuning_members_key=storage.digest(tuning),
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
