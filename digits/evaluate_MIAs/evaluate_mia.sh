#!/usr/bin/env bash
# Accuracy and all attacks, alone and with Diffence: bash evaluate_mia.sh --defense undefended
set -euo pipefail
here="$(CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
source "$here/../../common/python.sh"
exec "$PYTHON" "$here/evaluate.py" "$@"
