#!/usr/bin/env bash
# Train every diffusion model and every defended classifier that is not there yet:
#   bash all-train-all.sh [--dataset digits]… [--defense selena]… [--model vit]… [--keep-going]
set -euo pipefail
root="$(CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
source "$root/common/python.sh"
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$PYTHON" -m common.cli.train_all "$@"
