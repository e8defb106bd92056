"""Mistakes in traces and in the study of them."""

from tests.mistakes import Mistake

MISTAKES = [
    Mistake("evaluate trace=3", ("trace=3", "true or false"), without_torch=True),
    Mistake("evaluate cls_features=[4]", ("cls_features=[4]", "add trace=true"), without_torch=True),
    Mistake("evaluate trace=true cls_features=4", ("cls_features=4", "[4, 7, 10]"), without_torch=True),
    Mistake("evaluate trace=true cls_features=[0]", ("cls_features=[0]", "1 or more"), without_torch=True),
    Mistake("evaluate trace=true cls_features=[4,13]", ("cls_features=[4, 13]", "12 blocks"), slow=True),
    Mistake("evaluate trace=true compile=true", ("trace=true", "compile=true"), without_torch=True),
    Mistake("evaluate trace=true cuda_graph=true", ("trace=true", "cuda_graph=true"), without_torch=True),
    Mistake("evaluate trace=true trainer.devices=2", ("trace=true", "trainer.devices=1", "2"), without_torch=True),
    Mistake("evaluate trace=true task=probe", ("trace=true", "task=probe")),
    Mistake("evaluate trace=true resume=last", ("resume=last", "resume=auto"), without_torch=True),
    Mistake("evaluate resume=runs/x", ("resume=runs/x", "resume=auto"), without_torch=True),
    Mistake("train trace=true", ("trace",)),
    Mistake("evaluate predictions=3", ("predictions=3", "true or false"), without_torch=True),
    Mistake("report compare", ("compare takes two runs or more, got 0",), without_torch=True),
    Mistake("report compare a b", ("a: there is no such run directory or file",), without_torch=True),
    Mistake("study", ("command", "--help"), without_torch=True),
    Mistake("study similarities runs", ("similarities", "similarity"), without_torch=True),
    Mistake("study depth", ("DIRECTORY",), without_torch=True),
    Mistake("study depth runs", ("runs: no such directory",), without_torch=True),
    Mistake("study similarity . --axis rate", ("rate", "keep_rate"), without_torch=True),
    Mistake("study proxy . --resamples 0", ("0 must be a whole number, 1 or more",), without_torch=True),
    Mistake("study all . --name a/b", ("a/b", "without a directory"), without_torch=True),
    Mistake("study all .", ("no run with a finished trace", "evaluate.py trace=true")),
]
