"""Write trained models in the published format: python export_published.py --defense undefended"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import cli

if __name__ == "__main__":
    sys.exit(cli.export_published(HERE))
