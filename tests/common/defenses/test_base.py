import torch
from hypothesis import given
from hypothesis import strategies as st

from common.defenses.base import with_clear_top

values = st.floats(-1e4, 1e4, width=32) | st.sampled_from([-3e38, 0.0, 1.0, 1.0 + 2**-23, 3e38])
steps = st.integers(0, 40)  # between neighbours, in numbers that a float can hold


@given(values, st.lists(steps, min_size=1, max_size=9))
def test_a_softmax_keeps_the_top_above_the_second(top, below):
    z = [torch.tensor(top)]
    for count in below:
        z.append(z[-1])
        for _ in range(count):
            z[-1] = z[-1].nextafter(torch.tensor(-torch.inf))
    z = torch.stack(z).clamp(min=-3.4e38)[None]
    clear = with_clear_top(z)
    assert torch.equal(clear[:, 1:], z[:, 1:])
    assert clear[0, 0] >= z[0, 0]
    for answers in (clear, clear.softmax(dim=1), clear.double().softmax(dim=1)):
        assert (answers[0, 0] > answers[0, 1:]).all()


def test_what_is_clear_stays_as_it_is():
    z = torch.tensor([[1.0001, 1.0, 1.0], [3.0, 0.0, -1.0]])
    assert torch.equal(with_clear_top(z), z)
