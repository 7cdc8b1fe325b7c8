"""Train shadow models and keep their answers: python train_shadows.py --defense undefended --count 64"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import cli

if __name__ == "__main__":
    sys.exit(cli.train_shadows(HERE))
