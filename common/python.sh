# Sets PYTHON for the shell drivers: the caller's choice, an active environment, the repository's .venv, or python3.
if [[ -z "${PYTHON:-}" ]]; then
    root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
    if [[ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]]; then
        PYTHON=python
    elif [[ -x "$root/.venv/bin/python" ]]; then
        PYTHON="$root/.venv/bin/python"
    else
        PYTHON=python3
    fi
fi
export PYTHON
