import pytest

from common.runtime.errors import UserError
from common.training import logs


def test_each_measurement_is_read_and_there_may_be_no_log(tmp_path):
    checkpoint = tmp_path / "hamp.pth.tar"
    assert logs.read(checkpoint) == {}
    (tmp_path / "hamp.pth.tar.log.csv").write_text("round,loss,score\n1,1.5,0.5\n2,0.25,nan\n")
    found = logs.read(checkpoint)
    assert list(found) == ["loss", "score"] and found["loss"].tolist() == [1.5, 0.25]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "round,loss\n",
        "loss\n1\n",
        "round,loss\n1,x\n",
        "round,loss\n1\n2,3\n",
        "round,a,a\n1,2,3\n",
        "\x00",
        "\n\n",
        ",\n",
    ],
)
def test_what_is_no_log_is_refused_by_name(tmp_path, text):
    (tmp_path / "hamp.pth.tar.log.csv").write_text(text)
    with pytest.raises(UserError, match=r"hamp\.pth\.tar\.log\.csv: not the log of a training"):
        logs.read(tmp_path / "hamp.pth.tar")
