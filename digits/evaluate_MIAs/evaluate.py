"""Attack a trained classifier, alone and behind Diffence; called by evaluate_mia.sh."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from common import cli

if __name__ == "__main__":
    sys.exit(cli.evaluate(HERE.parent))
