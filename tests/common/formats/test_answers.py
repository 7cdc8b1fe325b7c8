"""Files of answers: each way of writing them gives the same, and what is wrong is said by name."""

import tracemalloc

import numpy as np
import pytest

from common.formats import answers
from common.runtime import storage
from common.runtime.errors import UserError

LOGITS, LABELS, MEMBER = np.array([[1.5, -2.0], [0.25, 3.0]]), np.array([0, 1]), np.array([True, False])
GOOD = {"logits": LOGITS, "labels": LABELS, "member": MEMBER}


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "answers.npz", **arrays)
    return tmp_path / "answers.npz"


def csv(tmp_path, text):
    path = tmp_path / "answers.csv"
    path.write_text(text)
    return path


def test_arrays_and_columns_give_the_same(tmp_path):
    table = csv(tmp_path, "member,logit_1,label,logit_0\ntrue,-2.0,0,1.5\n0,3,1,0.25\n")
    for path in (saved(tmp_path, **GOOD), table):
        found = answers.read(path)
        assert np.array_equal(found.answers, LOGITS) and found.outputs == "logits"
        assert np.array_equal(found.labels, LABELS) and np.array_equal(found.member, MEMBER)
        assert found.fitting is None and found.shadow_answers is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": None}, "labels is missing"),
        ({"logits": None}, "found none"),
        ({"probabilities": LOGITS}, "found logits, probabilities"),
        ({"lables": LABELS}, "lables is unknown"),
        ({"shadow_probabilities": LOGITS[None]}, "of one kind"),
        ({"labels": np.array([0, object()], dtype=object)}, "allow_pickle"),
    ],
)
def test_arrays_that_do_not_belong_are_refused(tmp_path, change, says):
    arrays = {name: array for name, array in (GOOD | change).items() if array is not None}
    with pytest.raises(UserError, match=says):
        answers.read(saved(tmp_path, **arrays))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("label,member,logit_0,logit_2\n0,1,1,1\n", "expected the numbers 0 … 1"),
        ("label,member,logit_0,logit_0\n0,1,1,1\n", "same name"),
        ("label,member,logit_0, logit_0\n0,1,1,1\n", "same name, logit_0"),
        ("label,member,labels,logit_0\n0,1,1,1\n", "same name, labels"),
        ("label,member,logits,logit_0\n0,1,1,1\n", "logits and logit_…"),
        (f"label,member,logit_0\n0,1,{'1' * 401}\n", "column logit_0: .* a cell of 401 characters"),
        ("label,member,logit_0,logit_1\n0,1,1\n", "line 2 has 3 fields"),
        ("label,member,logit_0,logit_1\n0,maybe,1,1\n", "column member"),
        ("label,member\n0,1\n", "found none"),
        ("", "not enough values"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path, text, says):
    with pytest.raises(UserError, match=says):
        answers.read(csv(tmp_path, text))


def test_a_long_cell_does_not_multiply_the_table(tmp_path):
    table = csv(tmp_path, "label,member,logit_0\n" + "0,1,1\n" * 2000 + f"0,1,{'x' * 100_000}\n")
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="a cell of 100000 characters"):
            answers.read(table)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000  # bytes; as a table of one width it takes 2,400,000,000
    finally:
        tracemalloc.stop()


def test_what_is_no_such_file_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no zip")
    for name, says in (("a.npz", "zip"), ("b.npz", "not found"), ("c.pkl", "ending in")):
        with pytest.raises(UserError, match=says):
            answers.read(tmp_path / name)


def test_a_file_that_unpacks_to_more_than_any_memory_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "MOST_UNPACKED", 100)
    with pytest.raises(UserError, match="GiB"):
        answers.read(saved(tmp_path, **GOOD))
