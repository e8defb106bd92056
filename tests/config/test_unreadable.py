"""Arguments that Hydra cannot read: what is said of each fits its text."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from atc.config.unreadable import advice

SAID = {
    "": "an argument is empty",
    " ": "an argument is empty",
    "seed=0,": "there is a comma without a value beside it; seed=0",
    "seed=0,,1": "there is a comma without a value beside it; seed=0,1",
    "blocks=[4,,7]": "a list is written blocks=[4,7]",
    "blocks=[4;7;10]": "a list is written blocks=[4,7,10]",
    "blocks=(4,7,10)": "a list is written blocks=[4,7,10]",
    "blocks=[4,]": "there is a comma without a value beside it; blocks=[4]",
    "keep_rate=choice()": "choice() needs values, as in keep_rate=choice(A,B)",
    "blocks=[4,7": "brackets and quotes come in pairs",
    "reducer=top(k": "brackets and quotes come in pairs",
    "reducer=top'k": "brackets and quotes come in pairs",
    "blocks=[4,7)": "brackets and quotes come in pairs",
    "score=a(b)c": "text with special characters is quoted twice, as in score=\"'TEXT'\"",
}


@pytest.mark.parametrize("override", SAID)
def test_advice(override: str) -> None:
    with pytest.raises(OverrideParseException):
        OverridesParser.create().parse_overrides([override])
    said = advice(override)
    assert SAID[override] in said
    assert ("in pairs" in said) == ("in pairs" in SAID[override])
