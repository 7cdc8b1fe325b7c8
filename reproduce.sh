#!/usr/bin/env bash
# Make a table or figure of the paper, the paper's numbers beside ours:
#   bash reproduce.sh table3 [--dataset digits]… | figure11 | all
set -euo pipefail
root="$(CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
source "$root/common/python.sh"
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$PYTHON" -m common.cli.reproduce "$@"
