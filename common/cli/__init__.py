"""The command lines: parsing only, one file a command. The work is in the experiment package.

Imports that cost time happen after parsing, so --help answers at once. Exit statuses are in failures.py.
"""

from common.cli.data_partition import main as data_partition
from common.cli.evaluate import main as evaluate
from common.cli.export_published import main as export_published
from common.cli.train_ddpm import main as train_ddpm
from common.cli.train_defense import main as train_defense
from common.cli.train_shadows import main as train_shadows

__all__ = ["data_partition", "evaluate", "export_published", "train_ddpm", "train_defense", "train_shadows"]
