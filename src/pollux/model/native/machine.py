"""From LLVM assembly to a callable: target, passes, object code, linking. Needs no compiler on the user's machine."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from pollux.model.native.tape import UnsupportedError

_LOCK = threading.Lock()  # LLVM's tables of targets are set up once for the whole process


@dataclass(frozen=True)
class Target:
    """What code is made for: triple, CPU, features, and the width of a vector register in bits."""

    triple: str
    cpu: str
    features: str
    width: int

    @property
    def key(self) -> str:
        """Everything that object code depends on besides its assembly."""
        return f"{self.triple} {self.cpu} {self.features} llvmlite {llvmlite.__version__} {llvm.llvm_version_info}"


@lru_cache(maxsize=1)
def host() -> Target:
    """The machine that this runs on. Raises `UnsupportedError` where it lacks a fused multiply-add."""
    _initialise()
    features = llvm.get_host_cpu_features()
    triple = llvm.get_process_triple()
    if triple.startswith(("aarch64", "arm64")):
        width = 128
    elif features.get("fma") and features.get("avx2"):
        width = 512 if features.get("avx512f") and features.get("avx512dq") and features.get("avx512vl") else 256
    else:
        raise UnsupportedError(f"the CPU {llvm.get_host_cpu_name()} has no fused multiply-add")
    return Target(triple, llvm.get_host_cpu_name(), features.flatten(), width)


AARCH64 = Target("aarch64-unknown-linux-gnu", "neoverse-n1", "", 128)
AVX2 = Target("x86_64-unknown-linux-gnu", "haswell", "", 256)
AVX512 = Target("x86_64-unknown-linux-gnu", "skylake-avx512", "", 512)


def assemble(text: str, target: Target) -> bytes:
    """Object code of a module's text for `target`, which need not be this machine."""
    _initialise()
    machine = _machine(target)
    module = llvm.parse_assembly(text)
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    options.loop_interleaving = False
    llvm.create_pass_builder(machine, options).getModulePassManager().run(
        module, llvm.create_pass_builder(machine, options)
    )
    return machine.emit_object(module)


def link(code: bytes, name: str, target: Target) -> tuple[int, Any]:
    """(address of function `name`, what must be kept alive as long as it is called)."""
    jit = llvm.create_lljit_compiler(_machine(target, jit=True))
    library = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(name).link(jit, name)
    return library[name], (jit, library)


def _machine(target: Target, jit: bool = False) -> Any:
    made = llvm.Target.from_triple(target.triple)
    # the linker may put constants more than 2 GB from the code: it aborts the process where addresses are 32 bits wide
    model = "large" if target.triple.startswith("x86_64") else "small"
    return made.create_target_machine(target.cpu, target.features, opt=2, reloc="pic", codemodel=model, jit=jit)


@lru_cache(maxsize=1)
def _initialise() -> None:
    with _LOCK:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        llvm.initialize_native_asmparser()


Entry = Callable[..., None]
