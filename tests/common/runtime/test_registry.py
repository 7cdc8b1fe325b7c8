import subprocess
import sys

import pytest

from common.runtime.registry import Registry
from tests.miniature import REPOSITORY


def test_a_thing_is_what_its_module_has():
    assert Registry(pi="math:pi", join="os.path:join")["pi"] == pytest.approx(3.14159, abs=1e-5)


def test_names_are_listed_without_an_import():
    code = (
        "import sys\n"
        "from common.runtime.registry import Registry\n"
        "things = Registry(first='xml.dom.minidom:parse', second='nowhere:at_all')\n"
        "assert list(things) == ['first', 'second'] and len(things) == 2 and 'second' in things\n"
        "assert 'xml.dom.minidom' not in sys.modules\n"
        "things['first']\n"
        "assert 'xml.dom.minidom' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_a_key_error():
    things = Registry(pi="math:pi")
    assert "tau" not in things and things.get("tau") is None
    with pytest.raises(KeyError, match="tau"):
        things["tau"]
