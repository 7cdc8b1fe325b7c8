# Sets PYTHON for the shell drivers: the caller's choice, an active environment, the repository's .venv, or python3.
# Conda's base, which shells activate by themselves, is nobody's choice.
if [[ -z "${PYTHON:-}" ]]; then
    root="$(CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
    if [[ -n "${VIRTUAL_ENV:-}" || ( -n "${CONDA_PREFIX:-}" && "${CONDA_DEFAULT_ENV:-}" != base ) ]]; then
        PYTHON=python
    elif [[ -x "$root/.venv/bin/python" ]]; then
        PYTHON="$root/.venv/bin/python"
    else
        PYTHON=python3
    fi
fi
export PYTHON
