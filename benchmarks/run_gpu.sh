#!/usr/bin/env bash
# All measurements that need a GPU, in one command: benchmarks/run_gpu.sh
# Writes benchmarks/linkage_gpu.json, pipeline_gpu.json and throughput_*_cuda*.json, and prints their tables.
set -euo pipefail
cd "$(dirname "$0")/.."

python - <<'PYTHON'
import torch
assert torch.cuda.is_available(), "no CUDA device"
print(torch.cuda.get_device_name(), "torch", torch.__version__)
PYTHON
python -m pytest -q -m gpu tests/ops
# Each backend is a candidate too: where cuda beats triton, CUDA_UP_TO_TOKENS in atc/ops/linkage/dispatch.py is to say so.
python -m atc.bench linkage --device cuda --threads "$(nproc)" --batch 256 --tokens 196 98 49 \
    --data smooth --methods complete average --out benchmarks/linkage_gpu.json
python -m atc.bench pipeline --device cuda --threads "$(nproc)" --batch 256 --model deit_base \
    --out benchmarks/pipeline_gpu.json
python -m atc.bench pipeline --device cuda --threads "$(nproc)" --batch 256 --model deit_base --every-block 16 \
    --out benchmarks/pipeline_gpu_every.json
python -m atc.bench linkage --device cuda --threads "$(nproc)" --batch 256 --tokens 4096 --keep-rates 0.5 \
    --data smooth --methods complete average --out benchmarks/linkage_gpu_large.json
# A second or so for each of 45 combinations; then five compilations, which take most of the time.
python -m atc.bench throughput --config-dir sweeps -cn throughput compile=false seconds=1 \
    output=benchmarks/throughput_deit_small_cuda.json
python -m atc.bench throughput --config-dir sweeps -cn throughput compile=true precision=bf16 batch_size=256 seconds=1 \
    output=benchmarks/throughput_deit_small_cuda_compiled.json
python -m atc.bench targets
