"""The data set on board."""

import torch

from datamodules.digits import SPLIT_SIZES, Digits, split


def make(size: int | None = None, seed: int = 0) -> Digits:
    data = Digits(batch_size=32, eval_batch_size=90, size=size, num_workers=0, seed=seed)
    data.adapt({"input_size": (3, 28, 28), "mean": (0.5,) * 3, "std": (0.5,) * 3})
    return data


def test_the_split_is_fixed_disjoint_complete_and_in_proportion() -> None:
    parts = split()
    assert {name: len(part) for name, part in parts.items()} == SPLIT_SIZES
    assert torch.equal(torch.cat(list(parts.values())).sort().values, torch.arange(1797))
    # The shipped weights have seen the training part: with another split, its test part would be no test.
    assert parts["test"][:8].tolist() == [0, 1, 2, 8, 11, 14, 22, 29]
    assert parts["test"].sum() == 410096
    for name in parts:
        targets = make()._dataset(name).targets
        assert targets.bincount(minlength=10).min() >= 0.08 * len(targets)


def test_images_and_classes() -> None:
    images, classes = next(iter(make().test_dataloader()))
    assert images.shape == (90, 3, 28, 28)
    assert classes.shape == (90,)
    assert torch.equal(images[:, 0], images[:, 2])
    assert images.min() >= -1
    assert images.max() <= 1
    assert images.std() > 0.3


def test_another_size_and_normalisation() -> None:
    data = make(size=56)
    data.adapt({"input_size": (3, 224, 224), "mean": (0.4, 0.5, 0.6), "std": (0.2,) * 3})
    images, _ = next(iter(data.val_dataloader()))
    assert images.shape == (90, 3, 56, 56)
    torch.testing.assert_close(images[:, 0] * 0.2 + 0.4, images[:, 2] * 0.2 + 0.6)
    data = make()
    data.size = None
    data.adapt({"input_size": (3, 32, 32), "mean": (0.5,) * 3, "std": (0.5,) * 3})
    assert next(iter(data.train_dataloader()))[0].shape == (32, 3, 32, 32)


def test_only_training_images_are_augmented_and_shuffled() -> None:
    for loader in (make().val_dataloader(), make().test_dataloader()):
        first, again = (torch.cat([images for images, _ in loader]) for _ in range(2))
        assert torch.equal(first, again)
    train = make()._dataset("train", augment=True)
    assert not torch.equal(train[0][0], train[0][0])
    order = [[classes.tolist() for _, classes in make(seed=seed).train_dataloader()] for seed in (0, 0, 1)]
    assert order[0] == order[1] != order[2]
