"""The losses of reducers: what they are given, and what they may return."""

import copy

import pytest
import torch

from tests.reducers.kinds import Learned, Soft
from tests.vit.test_valid import model, pictures


class Context(Learned):
    seen: list = []

    def losses(self, plans, context):
        self.seen.append(context)
        return super().losses(plans, context)


def test_losses_see_the_outcome_and_the_teacher():
    reduced = model(Context).train()
    logits = reduced(pictures())
    labels, teacher, features = torch.zeros(4).long(), torch.randn(4, 5), torch.randn(4, 16, 24)
    found = reduced.losses(labels, teacher, features)
    context = Context.seen[-1]
    assert torch.equal(context.logits, logits)
    assert context.features.shape == (4, reduced.trace[-1].tokens_out, 24)
    assert (context.labels is labels, context.teacher_logits is teacher) == (True, True)
    assert (context.teacher_features is features, context.valid) == (True, None)
    assert set(found) == {"score"}
    copy.deepcopy(reduced)  # after a training forward
    assert set(reduced.losses()) == {"score"}


def test_losses_of_plans_alone_still_work():
    class Plain(Soft):
        def losses(self, plans):
            return {"entropy": sum(plan.weights.square().mean() for plan in plans)}

    reduced = model(Plain).train()
    reduced(pictures())
    assert reduced.losses()["entropy"] > 0


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, r" must return scalars by name, such as \{'ratio': loss\}, got None"),
        (torch.ones(()), r" must return scalars by name, .* got torch.float32 \[\]"),
        ({"a": torch.ones(3)}, r": a must be a scalar, got torch.float32 \[3\]"),
        ({"a": None}, ": a must be a scalar, got None"),
        ({"a": "large"}, ": a must be a scalar, got 'large'"),
        ({3: torch.ones(())}, r" names a loss 3; a name is text, other than loss and lr"),
        ({"loss": torch.ones(())}, " names a loss 'loss'; a name is text, other than loss and lr"),
        ({"lr": torch.ones(())}, " names a loss 'lr'; a name is text"),
    ],
)
def test_anything_but_scalars_by_name_is_said(returned, said):
    class Returning(Soft):
        def losses(self, plans):
            return returned

    reduced = model(Returning).train()
    reduced(pictures())
    with pytest.raises(ValueError, match=rf"^Returning\.losses{said}") as error:
        reduced.losses()
    assert "\n" not in str(error.value)


def test_numbers_and_tensors_of_one_element_are_scalars():
    class Returning(Soft):
        def losses(self, plans):
            return {"a": 1.5, "b": torch.full((1,), 2.0), "c": 1}

    reduced = model(Returning).train()
    reduced(pictures())
    found = reduced.losses()
    assert (found["a"], found["b"], found["c"]) == (3.0, torch.tensor(4.0), 2)  # of two stages
    assert found["b"].shape == ()
