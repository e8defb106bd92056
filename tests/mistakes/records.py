"""train.py resume=RUN: results.json of a run directory that is damaged, or holds something else."""

from collections.abc import Callable
from pathlib import Path

from tests.mistakes import Mistake


def run_directory(results: str) -> Callable[[Path], None]:
    """A run directory with this results.json."""

    def prepare(here: Path) -> None:
        (here / "cut").mkdir()
        (here / "cut" / "composed.yaml").write_text("{}\n")
        (here / "cut" / "results.json").write_text(results)

    return prepare


RESULTS = {
    '{"status": "fin': "results.json is damaged (Unterminated string",
    "[1]": "results.json is damaged (it holds a list): remove it, and the same command writes it anew",
    '{"status": "done"}': "(status=done must be one of finished, failed, interrupted, running)",
    '{"status": "failed", "results": [1]}': "(results=a list must be a mapping from results to their scores)",
    '{"metric": "accuracy"}': "(metric=accuracy must be the name, unit, scale and direction of a metric, or null)",
    '{"config": ' + '{"a": ' * 40 + "1" + "}" * 41: "(it is nested more than 32 deep, which no settings of a run are)",
}
MISTAKES = [Mistake("train resume=cut", (says,), prepare=run_directory(text)) for text, says in RESULTS.items()]
