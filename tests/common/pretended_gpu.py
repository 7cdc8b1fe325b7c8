"""A machine with a GPU, stood for by the CPU: it computes there, and refuses what torch refuses on a real one."""

from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten
from torch.utils.weak import WeakIdKeyDictionary

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
LOOKS = {"device": GPU, "is_cuda": True, "is_cpu": False}
MOVES = {"to", "cpu", "cuda"}
MEMORY = 2**30
MACHINE: dict[str, Any] = {
    "is_available": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "set_device": lambda device: None,
    "synchronize": lambda device=None: None,
    "empty_cache": lambda: None,
    "get_device_name": lambda device=None: "pretended",
    "mem_get_info": lambda device=None: (MEMORY, MEMORY),
    "memory_reserved": lambda device=None: 0,
    "memory_allocated": lambda device=None: 0,
}
ANYWHERE = {"copy_", "load_state_dict", "_has_compatible_shallow_copy_type"}  # take tensors of two places at once
ON_THE_CPU_ALONE = {"numpy", "__array__", "pin_memory", "from_numpy"}


class PretendedGpu(TorchFunctionMode):
    """Within the block ``cuda`` is a device: which tensors lie on it is kept beside them.

    Tensors of both places in one operation, numpy's view of one on the GPU, and pinning it are errors, as on a real
    GPU. What C++ calls by itself (hooks, functions of one's own for autograd) is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.resident = WeakIdKeyDictionary()
        self.operations = 0  # with a tensor there

    def __enter__(self) -> "PretendedGpu":
        self.patches = [mock.patch.object(torch.cuda, name, fake) for name, fake in MACHINE.items()]
        stream = mock.Mock(**{"is_capturing.return_value": False})
        self.patches.append(mock.patch.object(torch.accelerator, "current_stream", lambda device=None: stream))
        self.patches.append(
            mock.patch.object(torch.nn.Parameter, "__new__", self._parameter(torch.nn.Parameter.__new__))
        )
        for patch in self.patches:
            patch.start()
        return super().__enter__()

    def _parameter(self, new):
        """Parameters lie where their data do; torch makes them out of sight."""

        def made(cls, data=None, requires_grad=True):
            parameter = new(cls, data, requires_grad)
            return self._put(parameter, on_gpu=data is not None and data in self.resident)

        return made

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for patch in self.patches:
            patch.stop()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name, attribute = function.__name__, getattr(getattr(function, "__self__", None), "__name__", "")
        tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
        there = [value in self.resident for value in tensors]
        if name == "__get__" and attribute in LOOKS and there == [True]:
            return LOOKS[attribute]
        if name == "__set__" and attribute == "data":
            function(*args, **kwargs)
            return self._put(args[0], on_gpu=there[1])
        if name in MOVES:
            return self._moved(name, *args, **kwargs)
        self._check(function, name, args, tensors, there)
        if name == "pin_memory":
            return args[0].clone()  # a page of memory that stays where it is
        on_gpu = any(there)
        self.operations += on_gpu
        if kwargs.get("device") is not None:
            on_gpu = torch.device(kwargs.pop("device")).type == "cuda"
        if on_gpu and kwargs.get("generator") is not None:
            raise RuntimeError(f"{function}: a generator of the CPU draws numbers on the GPU")
        result = function(*args, **kwargs)
        for value in tree_flatten(result)[0]:
            if isinstance(value, torch.Tensor):
                self._put(value, on_gpu)
        return result

    def _moved(self, name, tensor, *to, copy=False, **kwargs) -> torch.Tensor:
        """What ``cpu``, ``cuda`` and ``to`` give: the tensor itself where nothing changes."""
        device, dtype, memory_format = {"cpu": CPU, "cuda": GPU, "to": None}[name], None, None
        if to and isinstance(to[0], torch.Tensor):
            device, dtype = GPU if to[0] in self.resident else CPU, to[0].dtype
        elif name == "to":
            device, dtype, _, memory_format = torch._C._nn._parse_to(*to, **kwargs)
        on_gpu = device.type == "cuda" if device else tensor in self.resident
        result = tensor.to(
            dtype=dtype or tensor.dtype,
            memory_format=memory_format or torch.preserve_format,
            copy=copy or on_gpu != (tensor in self.resident),
        )
        return self._put(result, on_gpu)

    def _check(self, function, name, args, tensors, there) -> None:
        if name in ON_THE_CPU_ALONE and any(there):
            raise TypeError(f"{function}: the tensor is on the GPU")
        if name in ANYWHERE or not any(there):
            return
        if name == "__getitem__" and there[0]:
            return  # indices may be on the CPU
        if name == "__setitem__" and there[0]:
            value = args[2]
            copied = not any(isinstance(at, torch.Tensor) for at in tree_flatten(args[1])[0])
            if copied or not isinstance(value, torch.Tensor) or value.ndim == 0 or value in self.resident:
                return
        if any(each.ndim and not on_gpu for each, on_gpu in zip(tensors, there, strict=True)):
            raise RuntimeError(f"{function}: tensors on the GPU and on the CPU")

    def _put(self, tensor: torch.Tensor, on_gpu: bool) -> torch.Tensor:
        if on_gpu:
            self.resident[tensor] = True
        else:
            self.resident.pop(tensor, None)
        return tensor
