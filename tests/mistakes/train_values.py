"""train.py: values that a setting cannot have."""

from tests.mistakes import Mistake

MISTAKES = [
    Mistake("train reducr=tome", ("unknown setting 'reducr'", "did you mean 'reducer'?"), without_torch=True),
    Mistake("train keep_rate=1.5", ("keep_rate=1.5 must lie in (0, 1]",)),
]
