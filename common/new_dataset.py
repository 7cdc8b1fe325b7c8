"""A folder for a dataset of one's own: python -m common.new_dataset birds --images DIR"""

import sys

from common.cli.new_dataset import main

if __name__ == "__main__":
    sys.exit(main())
