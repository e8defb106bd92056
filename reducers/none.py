"""No reduction: the dense baseline."""

from atc.core import Plan, Reducer, TokenView


class NoReduction(Reducer):
    """Keeps every token; the backbone runs as it is."""

    reduces = False
    released_method = "deit"  # their model without a method in it

    def forward(self, view: TokenView, keep: int) -> Plan:
        """Never called."""
        raise RuntimeError("the dense baseline was asked to reduce; `reduces = False` reducers never are")
