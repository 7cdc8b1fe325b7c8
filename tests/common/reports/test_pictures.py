import numpy as np

from common.reports import pictures


def test_grey_tells_sides_and_kinds_apart():
    for looks in zip(*pictures.LOOKS.values(), strict=True):  # colours, markers, dashes
        assert len(set(looks)) == len(looks)
    member = np.array([True, False, True])
    (_, members, _, hatch), (_, others, _, other_hatch) = pictures.of_kinds(member)
    assert hatch != other_hatch and members.tolist() == member.tolist() and others.tolist() == (~member).tolist()
