"""python -m atc.bench: values that an option or a setting cannot have, and files that are none of its own."""

from pathlib import Path

from atc.bench.__main__ import BENCHMARKS
from tests.mistakes import Mistake


def _occupied(directory: Path) -> None:
    (directory / "folder").mkdir()
    (directory / "file").write_text("")
    (directory / "list.yaml").write_text("[1, 2]\n")
    (directory / "empty.yaml").write_text("")
    (directory / "text.yaml").write_text("bench: quick\n")
    for name, text in (("object", "{}"), ("list", "[]"), ("cut", '{"rows": [{"to'), ("rows", '{"rows": [3]}')):
        (directory / name).mkdir()
        (directory / name / "linkage_cpu.json").write_text(text)


_CLUSTERING = [
    ("", "no benchmark is named", "usage: python -m atc.bench"),
    (
        "nothing",
        "unknown benchmark 'nothing'",
        ",".join(BENCHMARKS),
    ),
    ("linkage --tokens 0", "--tokens: 0 must be a whole number, 2 or more"),
    ("linkage --tokens -5", "--tokens: -5 must be a whole number, 2 or more"),
    ("linkage --tokens 1", "--tokens: 1 must be a whole number, 2 or more"),
    ("linkage --tokens 1.5", "--tokens: 1.5 must be a whole number"),
    ("linkage --tokens many", "--tokens: many must be a whole number"),
    ("linkage --tokens", "--tokens: expected at least one argument"),
    ("linkage --tokens 1000000", "16,000 GB, this machine has"),
    ("linkage --runs 0", "--runs: 0 must be a whole number, 1 or more"),
    ("linkage --runs nan", "--runs: nan must be a whole number"),
    ("linkage --threads 0", "--threads: 0 must be a whole number, from 1 to 1,024"),
    ("linkage --threads 100000", "--threads: 100000 must be"),
    ("linkage --batch 0", "--batch: 0 must be a whole number, 1 or more"),
    ("linkage --batch 100000000", "GB, this machine has"),
    ("linkage --images 0", "--images: 0 must be a whole number, 1 or more"),
    (
        "linkage --tokens 4096 --images 1000000",
        "--tokens 4096 with --images 1000000: the distances of 1,000,000 images",
    ),
    ("linkage --tokens 196 65537 --device cuda", "--tokens 65537: a GPU clusters up to 65536 tokens"),
    ("pipeline --tokens 70000 --device cuda", "--tokens 70000: a GPU clusters up to 65536 tokens"),
    ("linkage --keep-rates nan", "--keep-rates: nan must lie in (0, 1]"),
    ("linkage --keep-rates half", "--keep-rates: half must lie in (0, 1]"),
    ("linkage --methods ward", "invalid choice: 'ward'"),
    ("linkage --data real", "invalid choice: 'real'"),
    ("linkage --device tpu", "invalid choice: 'tpu'"),
    ("linkage --out folder", "folder is a directory"),
    ("linkage --out file/result.json", "is a file"),
    ("linkage --nothing", "unrecognized arguments: --nothing"),
    ("pipeline --tokens 1", "--tokens: 1 must be a whole number, 2 or more"),
    ("pipeline --tokens -1", "--tokens: -1 must be"),
    ("pipeline --runs 0", "--runs: 0 must be"),
    ("pipeline --threads -2", "--threads: -2 must be"),
    ("pipeline --batch 0", "--batch: 0 must be"),
    ("pipeline --batch 1.0", "--batch: 1.0 must be a whole number"),
    ("pipeline --every-block -1", "--every-block: -1 must be a whole number, 0 or more"),
    ("pipeline --every-block 196", "--every-block 196: there are 196 tokens"),
    ("pipeline --keep-rates 1.01", "--keep-rates: 1.01 must lie in (0, 1]"),
    ("pipeline --model vit", "invalid choice: 'vit'"),
    ("targets --folder nowhere", "--folder nowhere: no such directory"),
    ("targets --folder object", "linkage_cpu.json is no result of"),
    ("targets --folder list", "linkage_cpu.json is no result of"),
    ("targets --folder cut", "linkage_cpu.json is no result of"),
    ("targets --folder rows", "linkage_cpu.json is no result of"),
    ("training --size 225", "--size 225 must be a multiple of 16"),
    ("training --methods tomee", "--methods tomee: did you mean"),
    ("training --precision fp8", "invalid choice: 'fp8'"),
    ("training --keep-rate 0", "0 must lie in (0, 1]"),
    ("targets --nothing", "unrecognized arguments"),
]
_THROUGHPUT = [
    ("batch_size=0", "batch_size=0 must be 1 or more"),
    ("batch_size=1.5", "batch_size=1.5 must be a whole number"),
    ("batch_size=true", "batch_size=true must be a whole number"),
    ("batch_size=[1,a]", "batch_size=a must be a whole number"),
    ("batch_size=[]", "nothing between the brackets"),
    ("precision=fp8", "precision=fp8 must be fp32, fp16 or bf16"),
    ("compile=no", "compile=no must be true or false"),
    ("cuda_graph=no", "cuda_graph=no must be true or false"),
    ("cuda_graph=true device=cpu", "cuda_graph=true needs a GPU, and device=cpu"),
    ("device=tpu", "device=tpu must be cpu or cuda"),
    ("warmup=-1", "warmup=-1 must be 0 or more"),
    ("warmup=true", "warmup=true must be a whole number"),
    ("seconds=0", "seconds=0 must be positive"),
    ("seconds=inf", "seconds=inf must be finite"),
    ("seconds=nan", "seconds=nan must be finite"),
    ("runs=0", "runs=0 must be 1 or more"),
    ("threads=0", "threads=0 must lie in [1, 1024]"),
    ("threads=1.5", "threads=1.5 must be a whole number"),
    ("seed=-1", "seed=-1 must lie in"),
    ("keep_rate=[0.5,2]", "keep_rate=2 must lie in (0, 1]"),
    ("t=nan", "t=nan must be finite"),
    ("blocks=null", "blocks=null must be a list of whole numbers"),
    ("proportional_attention=off", "proportional_attention=off must be true or false, or null"),
    ("backbone.checkpoint=file output=./folder/../file", "output=./folder/../file is backbone.checkpoint=file"),
    ("output=folder", "output=folder is a directory"),
    ("output=file/result.json", "is a file"),
    ("kep_rate=0.5", "unknown setting 'kep_rate'"),
    ("reducer=tomme", "unknown reducer 'tomme'"),
    ("~reducer", "a measurement needs a reducer"),
    ("-cd . -cn nothing", "there is no nothing.yaml"),
    ("-cd . -cn list", "list.yaml has no `bench` section"),
    ("-cd . -cn empty", "empty.yaml has no `bench` section"),
    ("-cd . -cn text", "text.yaml has no `bench` section"),
    ("-cn", "expected one argument"),
    ("--nothing", "unrecognized arguments: --nothing"),
]

MISTAKES = [
    *(Mistake(f"bench {line}", tuple(said), prepare=_occupied, without_torch=True) for line, *said in _CLUSTERING),
    *(
        Mistake(f"bench throughput {line}", (said,), prepare=_occupied, without_torch=True)
        for line, said in _THROUGHPUT
    ),
    Mistake(
        "bench throughput batch_size=100000000", ("batch_size=100000000: the images alone take 941 GB",), slow=True
    ),
    Mistake("bench throughput precision=fp16 device=cpu", ("precision=fp16 is for GPUs",), slow=True),
]
