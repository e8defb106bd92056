"""Counts how many of timm's models can be wrapped, and says why the others cannot: benchmarks/timm_models.json.

    python benchmarks/timm_models.py [FILE]

Every name of `timm.list_models()` is built without weights and, where its constructor allows it, without memory (on
the meta device). A timm module counts as one of transformers if a model of it has attention: a part with "Attn" or
"Attention" in the name of its class. Takes some minutes.
"""

import json
import re
import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import get_arch_name, model_entrypoint

from atc.files import json_text, write_whole
from atc.vit.host import host_of

_ATTENTION = re.compile(r"Attn|Attention")
_NUMBERS = re.compile(r"\b\d+\b")


def outcome(name: str) -> tuple[bool, str | None]:
    """Whether a model has attention, and why it cannot be wrapped; None if it can."""
    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False)
    except Exception:  # constructors that compute with values, of any kind
        try:
            model = timm.create_model(name, pretrained=False)
        except Exception as error:
            return False, f"cannot be built: {type(error).__name__}"
    attention = any(_ATTENTION.search(type(part).__name__) for part in model.modules())
    try:
        host_of(model)
    except ValueError as error:
        return attention, str(error).removeprefix("cannot wrap this backbone: ")
    return attention, None


def counted() -> dict[str, Any]:
    """The counts by timm module, and over all modules with attention."""
    modules: dict[str, Any] = defaultdict(lambda: {"names": 0, "wrapped": 0, "attention": False, "refused": Counter()})
    for name in timm.list_models():
        module = model_entrypoint(get_arch_name(name)).__module__.rpartition(".")[2]
        attention, reason = outcome(name)
        found = modules[module]
        found["names"] += 1
        found["wrapped"] += reason is None
        found["attention"] |= attention
        if reason is not None:
            found["refused"][_NUMBERS.sub("N", reason)] += 1
        print(f"{name}: {reason or 'wrapped'}", flush=True)
    ones = {module: found for module, found in sorted(modules.items()) if found["attention"]}
    return {
        "timm": timm.__version__,
        "torch": torch.__version__,
        "names": sum(found["names"] for found in modules.values()),
        "names_of_transformers": sum(found["names"] for found in ones.values()),
        "wrapped": sum(found["wrapped"] for found in modules.values()),
        "modules_of_transformers": {
            module: {key: found[key] for key in ("names", "wrapped", "refused")} for module, found in ones.items()
        },
        "other_modules": {module: found["names"] for module, found in sorted(modules.items()) if module not in ones},
    }


def main(arguments: list[str]) -> None:
    """Count, and write the file."""
    warnings.simplefilter("ignore")
    file = Path(arguments[0]) if arguments else Path(__file__).with_suffix(".json")
    found = counted()
    write_whole(file, json_text(found))
    print(json.dumps({key: found[key] for key in ("timm", "names", "names_of_transformers", "wrapped")}))


if __name__ == "__main__":
    main(sys.argv[1:])
