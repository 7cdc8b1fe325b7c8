import os
import stat

import pytest

from common.runtime.errors import UserError
from common.runtime.keys import secret_key


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "models" / "fence.key"
    key = secret_key(path)
    assert len(key) == 32 and secret_key(path) == key == path.read_bytes()
    assert secret_key(tmp_path / "other.key") != key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(each.name for each in path.parent.iterdir()) == ["fence.key"]


@pytest.mark.skipif(os.name != "posix", reason="there are no such modes")
def test_a_key_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "fence.key"
    secret_key(path)
    path.chmod(0o640)
    with pytest.raises(UserError, match=r"fence\.key: others may read this secret: `chmod 600`"):
        secret_key(path)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_refused_and_left_as_it_is(tmp_path, length):
    path = tmp_path / "fence.key"
    path.write_bytes(bytes(length))
    path.chmod(0o600)
    with pytest.raises(UserError, match="expected a key of 32 bytes"):
        secret_key(path)
    assert path.read_bytes() == bytes(length)
