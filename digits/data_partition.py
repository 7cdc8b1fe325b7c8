"""Fetch the dataset and partition it: python data_partition.py"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import cli

if __name__ == "__main__":
    sys.exit(cli.data_partition(HERE))
