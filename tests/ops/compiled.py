"""Triton kernels compiled without a GPU: their assembly, and the resources that their binaries ask for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any


def compile_for(
    capability: int, kernel: Any, signature: dict[str, str], options: dict[str, Any], folder: Path, rounded=()
):
    """The assembly of a kernel, and bytes of stack (spilled registers) a thread and registers a thread.

    Args:
        capability: of the GPU, such as 90.
        kernel: the function that `triton.jit` returned.
        signature: the types of all parameters that are no constants.
        options: constants, and how it is compiled, as a launch gets them.
        folder: for the binary.
        rounded: integer parameters that are multiples of 16, as strides of rows of 384 channels are.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constants = {name: value for name, value in options.items() if name in kernel.arg_names}
    how = {name: value for name, value in options.items() if name not in constants}
    types = {name: signature.get(name, "constexpr") for name in kernel.arg_names}
    aligned = [kind[0] == "*" or name in rounded for name, kind in types.items()]
    divisible = {(place,): [["tt.divisibility", 16]] for place, yes in enumerate(aligned) if yes}
    source = ASTSource(fn=kernel, signature=types, constexprs=constants, attrs=divisible)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=how)
    binary = folder / f"kernel_{capability}.cubin"
    binary.write_bytes(compiled.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    usage = subprocess.run([str(tool), "-res-usage", str(binary)], capture_output=True, text=True).stdout
    registers, stack = (int(re.search(rf"{word}:(\d+)", usage).group(1)) for word in ("REG", "STACK"))
    return compiled.asm["ptx"], stack, registers
