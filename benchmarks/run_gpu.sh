#!/usr/bin/env bash
# Everything that needs one GPU, tests included, in about six minutes: benchmarks/run_gpu.sh
#
# The most valuable parts come first. Each has a time limit and writes its result file in benchmarks/ as it ends, so that
# what was measured stays, whatever happens to the rest. The last lines say which parts failed.
set -uo pipefail
cd "$(dirname "$0")/.."

python - <<'PYTHON' || exit 1
import torch
assert torch.cuda.is_available(), "no CUDA device"
print(torch.cuda.get_device_name(), "torch", torch.__version__)
PYTHON

failed=()
part() { # NAME SECONDS COMMAND...
  local name=$1 seconds=$2
  shift 2
  printf '\n=== %s (%ss of this run so far, at most %ss for this part)\n' "$name" "$SECONDS" "$seconds"
  timeout --kill-after=10 "$seconds" "$@" || failed+=("$name (exit $?)")
}
threads=$(nproc)

part "tests" 75 python -m pytest -q -m gpu -p no:cacheprovider tests/ops tests/vit
part "whole models, eager and as CUDA graphs" 40 python -m atc.bench throughput --config-dir sweeps -cn throughput \
  compile=false precision=bf16 seconds=0.3 output=benchmarks/throughput_deit_small_cuda.json
part "reduction steps of ViT-B" 25 python -m atc.bench pipeline --device cuda --threads "$threads" --batch 256 \
  --model deit_base --out benchmarks/pipeline_gpu.json
part "clustering, 196 tokens and fewer" 30 python -m atc.bench linkage --device cuda --threads "$threads" --batch 256 \
  --tokens 196 98 49 --data smooth --methods single complete average --out benchmarks/linkage_gpu.json
part "clustering, 4,096 and 1,024 tokens" 25 python -m atc.bench linkage --device cuda --threads "$threads" --images 2 \
  --tokens 4096 1024 --keep-rates 0.5 --data smooth --methods single complete average --out benchmarks/linkage_gpu_large.json
part "training steps" 30 python -m atc.bench training --device cuda --modes eager --out benchmarks/training_cuda.json
part "ViT-B" 25 python -m atc.bench throughput backbone=deit_base reducer=[tome,atc_average,random] batch_size=256 \
  precision=bf16 cuda_graph=false seconds=0.3 output=benchmarks/throughput_deit_base_cuda.json
part "ViT-B at 384 pixels" 25 python -m atc.bench throughput backbone=deit_base backbone.img_size=384 \
  reducer=[tome,atc_average,random] batch_size=64 precision=bf16 cuda_graph=false seconds=0.3 \
  output=benchmarks/throughput_deit_base_384_cuda.json
part "DINOv2 at 518 pixels" 25 python -m atc.bench throughput backbone=timm backbone.name=vit_small_patch14_dinov2 \
  reducer=[atc_average,atc_complete,atc_single] batch_size=16 precision=bf16 cuda_graph=true seconds=0.3 \
  output=benchmarks/throughput_dinov2_small_518_cuda.json
part "the other methods" 25 python -m atc.bench throughput backbone=deit_small reducer=[random,dpc_knn,kmedoids,evit] \
  batch_size=256 precision=bf16 cuda_graph=false seconds=0.3 output=benchmarks/throughput_methods_cuda.json
part "reduction steps at every block" 15 python -m atc.bench pipeline --device cuda --threads "$threads" --batch 256 \
  --model deit_base --every-block 16 --out benchmarks/pipeline_gpu_every.json
part "compiled training steps" 60 python -m atc.bench training --device cuda --modes compiled \
  --methods topk atc_average --out benchmarks/training_cuda_compiled.json
part "compiled models" 55 python -m atc.bench throughput --config-dir sweeps -cn throughput \
  compile=true precision=bf16 batch_size=256 seconds=0.3 output=benchmarks/throughput_deit_small_cuda_compiled.json
part "detectors at 800 x 1333 pixels" 45 python -m atc.bench detection --device cuda --threads "$threads" --model deit_small \
  --precision fp16 --keep-rates 0.5 --out benchmarks/detection_cuda.json
part "aims" 10 python -m atc.bench targets

printf '\n%s seconds\n' "$SECONDS"
if [ "${#failed[@]}" -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi
