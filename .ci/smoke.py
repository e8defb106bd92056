"""The installed package, away from the checkout: the kernel is compiled, commands start, a model is evaluated.

python .ci/smoke.py, with the interpreter of the environment that has the package.
"""

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

# What is no Python, in the folder of the package.
FILES = (
    "conf/train.yaml",
    "sweeps/digits_all.yaml",
    "sweeps/published/atc_table1_mae.csv",
    "py.typed",
    "ops/linkage/cuda/kernel.cu",
    "report/templates/site.html",
)


def main() -> None:
    """Stop at the first thing that is not as it should be."""
    import atc
    from atc import info
    from atc.ops.linkage import cpu

    checkout = Path(__file__).resolve().parents[1]
    package = Path(atc.__file__).resolve().parent
    if package.is_relative_to(checkout):
        sys.exit(f"what was imported is the checkout, not what is installed: {package}")
    info.main([])
    if cpu.kernel_among() is None:
        sys.exit("the clustering kernel was not compiled")
    for name in FILES:
        (package / name).read_bytes()
    commands = Path(sysconfig.get_path("scripts"))
    with tempfile.TemporaryDirectory() as work:

        def run(command: str, *settings: str) -> None:
            subprocess.run([commands / command, *settings, f"paths.runs={Path(work, 'runs')}"], cwd=work, check=True)

        run("atc-train", "reducer=tome", "keep_rate=0.5", "--cfg", "job")
        run("atc-evaluate", "reducer=atc_average", "keep_rate=0.5")
        run("atc-train", "--config-dir", "sweeps", "-cn", "digits_all", "--dry-run")


if __name__ == "__main__":
    main()
