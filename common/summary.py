"""All results there are, and the paper's averages beside ours: python -m common.summary"""

import sys

from common.cli.summary import main

if __name__ == "__main__":
    sys.exit(main())
