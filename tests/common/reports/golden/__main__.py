"""Write the golden files anew: python -m tests.common.reports.golden"""

import json

from common.reports import text
from tests.common.reports.golden import FILES, TEXT, made

if __name__ == "__main__":
    reports = made()
    for fenced, path in FILES.items():
        path.write_text(json.dumps(reports[fenced].model_dump(mode="json", by_alias=True), indent=2) + "\n")
    TEXT.write_text(text.table(reports[False], reports[True]))
