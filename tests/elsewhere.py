"""A device that is not the CPU, on any machine: what lies there is computed on the CPU, but may not meet what lies here, as on a GPU.

It finds tensors that were made in the wrong place, and counts where the host waits for the device. Of a GPU's speed, memory and rounding
it says nothing. Torch's Python backends, which it is made of, are experimental: the tests of it come first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "elsewhere"
ATEN = torch.ops.aten
INDEXED = (ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default, ATEN._index_put_impl_.default)
"""Operations whose indices may lie on the CPU."""
WAITING = (
    ATEN._local_scalar_dense.default, ATEN.nonzero.default, ATEN.masked_select.default, ATEN.equal.default, ATEN._unique2.default,
    ATEN.unique_dim.default, ATEN.unique_consecutive.default, ATEN.repeat_interleave.Tensor, ATEN.bincount.default,
)  # fmt: skip
"""Operations whose result, or its shape, the host has to wait for."""


class There(Tensor):
    """A tensor elsewhere. `here` holds its numbers."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> There:
        with torch.inference_mode(False):  # a view of what was made outside that mode must be of its kind
            made = Tensor._make_wrapper_subclass(
                cls, here.size(), strides=here.stride(), storage_offset=here.storage_offset(), dtype=here.dtype, device=device()
            )
        made.here = here
        return made

    def __repr__(self) -> str:
        return f"There({self.here!r})"

    @classmethod
    def __torch_function__(cls, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is Tensor.tolist:  # never dispatched
            Elsewhere.waited["tolist"] += 1
            return args[0].here.tolist()
        if func in (Tensor.untyped_storage, Tensor.data_ptr):  # asked by what stores weights, to tell which share memory
            return func(args[0].here)
        if func in (Tensor.numpy, Tensor.__array__):
            raise TypeError(f"can't convert a tensor on {NAME} to numpy: copy it to the CPU first")
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Sequence[type], args: tuple = (), kwargs: dict | None = None) -> Any:
        return _computed(func, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """While it lasts, tensors can be made on the device. `waited` counts, by operation, what the host has waited for."""

    waited: ClassVar[Counter[str]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: tuple = (), kwargs: dict | None = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Backend:
    """What torch asks of a backend's module."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """Numbers are drawn on the CPU, which is seeded besides."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float32]


@cache
def device() -> torch.device:
    """Returns the device, which torch knows by name from the first call on."""
    _setup_privateuseone_for_python_backend(NAME, _Backend())
    return torch.device(NAME, 0)


@contextmanager
def waiting() -> Iterator[Counter[str]]:
    """Counts what the host waits for meanwhile, by operation."""
    before: Counter[str] = Elsewhere.waited.copy()
    counted: Counter[str] = Counter()
    yield counted
    counted.update(Elsewhere.waited - before)


def settle() -> None:
    """Has all heavy work of this process done there, for good: what asks `avg.precision.device` is told so, and accelerate too.

    In a process of its own, since torch takes a device that it has come to know for every library's accelerator.
    """
    import avg.precision

    avg.precision.device = device  # before those who ask are imported

    from accelerate.state import AcceleratorState, PartialState

    from methods.fitting import processes

    made = processes.accelerator

    def accelerator(*args: Any, **kwargs: Any) -> Any:
        AcceleratorState._reset_state(reset_partial_state=True)
        handle = made(*args, **kwargs)
        PartialState._shared_state["device"] = AcceleratorState._shared_state["device"] = device()
        return handle

    processes.accelerator = accelerator
    # torch.tensor(numbers, device=there) makes them on the CPU first, so that the mode sees them moved
    torch._C._set_only_lift_cpu_tensors(True)
    Elsewhere().__enter__()


def _computed(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    with Elsewhere():
        found = func.decompose(*args, **kwargs)  # what is made of other operations arrives whole in inference mode
    if found is not NotImplemented:
        return found
    flat, form = tree_flatten((args, kwargs))
    tensors = [each for each in flat if isinstance(each, Tensor)]
    there = _leads_there(func, tensors, kwargs.get("device"))
    inside = [each.here if isinstance(each, There) else torch.device("cpu") if isinstance(each, torch.device) else each for each in flat]
    args, kwargs = tree_unflatten(inside, form)
    found = func(*args, **kwargs)

    def outside(value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, There):
            return value
        for given, used in zip(flat, inside, strict=True):
            if used is value:  # in place
                return given
        return There(value) if there else value

    return tree_map(outside, found)


def _leads_there(func: Any, tensors: Sequence[Tensor], asked: torch.device | None) -> bool:
    """Returns whether the result lies there.

    Raises:
        RuntimeError: if the operands do not lie in one place.
    """
    lie_there = [isinstance(tensor, There) for tensor in tensors]
    if func in WAITING and any(lie_there):
        Elsewhere.waited[str(func)] += 1
    if func is ATEN._to_copy.default:
        to_there = lie_there[0] if asked is None else torch.device(asked).type == NAME
        Elsewhere.waited["to the CPU"] += lie_there[0] and not to_there
        return to_there
    if func is ATEN.copy_.default:
        return lie_there[0]
    if func in INDEXED and lie_there[0]:
        Elsewhere.waited["index by truth values"] += any(tensor.dtype in (torch.bool, torch.uint8) for tensor in tensors[1:])
        return True
    if any(lie_there):
        # a CPU tensor without dimensions is a number
        lost = [tensor for tensor, there in zip(tensors, lie_there, strict=True) if not there and tensor.dim()]
        if lost:
            raise RuntimeError(f"{func}: expected all tensors on one device, but {tuple(lost[0].shape)} {lost[0].dtype} lies on the CPU")
    if asked is not None:
        return torch.device(asked).type == NAME
    return any(lie_there)
