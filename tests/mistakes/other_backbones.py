"""Backbones of other libraries that are not there, or cannot be built."""

import json
from pathlib import Path

from tests.mistakes import Mistake


def _directories(directory: Path) -> None:
    (directory / "empty").mkdir()
    (directory / "bert").mkdir()
    (directory / "bert" / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 9}))  # fmt: skip
    (directory / "weights.pth").write_bytes(b"nothing")


_NEW = "backbone.pretrained=false"
MISTAKES = [
    *(
        Mistake(f"{command} backbone={library}", ("backbone.name has no default",))
        for command in ("train", "evaluate")
        for library in ("transformers", "torchvision", "open_clip")
    ),
    Mistake("train backbone=transformer", ("transformer", "transformers")),
    Mistake("train backbone=torchvision backbone.name=vit_b_99", ("no model 'vit_b_99'; there are: vit_b_16",)),
    Mistake(f"train backbone=torchvision backbone.name=vit_b_16 {_NEW} backbone.weights=NO", ("DEFAULT, IMAGENET1K",)),
    Mistake(f"train backbone=torchvision backbone.name=vit_b_16 {_NEW} +backbone.colour=1", ("{'colour': 1}",)),
    Mistake("train backbone=torchvision backbone.name=vit_b_16 backbone.pretrained=no", ("must be true or false",)),
    Mistake("train backbone=open_clip backbone.name=ViT-B-33", ("open_clip has no model 'ViT-B-33'",), slow=True),
    Mistake("train backbone=open_clip backbone.name=ViT-B-32", ("backbone.weights=TAG, or a file",), slow=True),
    Mistake("train backbone=transformers backbone.name=nobody/nothing", ("finds no model nobody/nothing",), slow=True),
    Mistake("train backbone=transformers backbone.name=empty", ("empty",), prepare=_directories, slow=True),
    Mistake(
        f"evaluate backbone=transformers backbone.name=bert {_NEW}",
        ("BertModel is not among the models of transformers that can be wrapped",),
        prepare=_directories,
        slow=True,
    ),
    Mistake(
        "evaluate backbone=torchvision backbone.name=vit_b_32 backbone.checkpoint=weights.pth",
        ("weights.pth is not a readable weight file",),
        prepare=_directories,
        slow=True,
    ),
]
