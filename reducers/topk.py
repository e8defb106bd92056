"""Top-K (Haurum et al., ICCVW 2023, arXiv 2308.04657): pruning by CLS attention."""

from atc.core import Plan, Reducer, Select, TokenView


class TopK(Reducer):
    """Keep the patches the CLS token attends to most, mean over heads, in descending order of attention."""

    needs = frozenset({"cls_attn"})

    def forward(self, view: TokenView, keep: int) -> Plan:
        """The `keep` tokens of highest attention."""
        assert view.cls_attn is not None
        score = view.cls_attn.mean(1)
        return Select(score.topk(keep, dim=1).indices, num_in=score.shape[1])
