"""Small recording doubles of `tensorrt` and `torch_tensorrt`, which need a GPU to run.

An "engine" of theirs is a saved exported program with a head that names the GPU. It runs on the
CPU, in the memory whose addresses it was given: wrong shapes, types or orders show. They say
nothing about TensorRT itself.
"""

import ctypes
import io
import types
from importlib.machinery import ModuleSpec

import numpy as np
import torch

ORIN = ('Orin', (8, 7))
ADA = ('NVIDIA L4', (8, 9))


def install(monkeypatch, gpu=ORIN):
    """Put both doubles where they are imported, and pretend that there is a GPU whose work the
    CPU does. Returns the double of torch_tensorrt, with its `calls`."""
    import sys

    from justzoom_ros.runtimes import tensorrt_runtime

    trt, compiler = tensorrt(gpu), torch_tensorrt(gpu)
    monkeypatch.setitem(sys.modules, 'tensorrt', trt)
    monkeypatch.setitem(sys.modules, 'torch_tensorrt', compiler)
    monkeypatch.setattr(tensorrt_runtime, 'DEVICE', 'cpu')
    monkeypatch.setattr(tensorrt_runtime, '_stream', lambda: 0)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'current_device', lambda: 0)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda index=0: gpu[0])
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda index=0: gpu[1])
    return compiler


def torch_tensorrt(gpu):
    module = module_named('torch_tensorrt')
    module.__version__ = '2.8.0'
    module.calls, module.spoil = [], lambda program: program

    def convert(program, *, arg_inputs, use_explicit_typing, disable_tf32):
        module.calls.append((program, arg_inputs, use_explicit_typing, disable_tf32))
        saved = io.BytesIO()
        torch.export.save(module.spoil(program), saved)
        return head(gpu) + saved.getvalue()

    module.Input = lambda shape, dtype: types.SimpleNamespace(shape=shape, dtype=dtype)
    module.dynamo = types.SimpleNamespace(
        convert_exported_program_to_serialized_trt_engine=convert
    )
    return module


def tensorrt(gpu):
    module = module_named('tensorrt')
    module.__version__ = '10.3.0'
    module.free_mb, module.lost = 1000, False
    module.TensorIOMode = types.SimpleNamespace(INPUT=0, OUTPUT=1)

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING = range(3)

    class Runtime:
        def __init__(self, logger):
            self.log = logger.log

        def deserialize_cuda_engine(self, data):
            if not data.startswith(head(gpu)):
                here = '.'.join(map(str, gpu[1]))
                self.log(ILogger.WARNING, 'Using an engine plan file across models of devices')
                self.log(ILogger.ERROR, f'plan file of an incompatible device, expecting {here}')
                self.log(ILogger.ERROR, 'Engine deserialization failed')
                return None
            return Engine(self.log, data[len(head(gpu)) :], module)

    module.ILogger, module.Runtime = ILogger, Runtime
    return module


def module_named(name):
    module = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)  # who looks for optional packages asks for it
    return module


def head(gpu):
    return repr(gpu).ljust(64).encode()


class Engine:
    """Names its output first: nobody promised another order."""

    def __init__(self, log, data, module):
        self._log, self._module = log, module
        self._run = torch.export.load(io.BytesIO(data)).module()
        self.num_io_tensors = 2

    def get_tensor_name(self, index):
        return ('output0', 'pixels')[index]

    def get_tensor_mode(self, name):
        return (0, 1)[name == 'output0']

    def get_tensor_shape(self, name):
        assert name == 'output0'
        return self._run(torch.zeros(self.image_shape)).shape

    @property
    def image_shape(self):
        (placeholder,) = (node for node in self._run.graph.nodes if node.op == 'placeholder')
        return tuple(placeholder.meta['val'].shape)

    def create_execution_context(self):
        if self._module.free_mb < 10:
            self._log(1, 'Requested amount of GPU memory could not be allocated: out of memory')
            return None
        return Context(self, self._log)


class Context:
    def __init__(self, engine, log):
        self._engine, self._log, self._at = engine, log, {}

    def set_tensor_address(self, name, address):
        self._at[name] = address
        return True

    def execute_async_v3(self, stream):
        assert stream == 0
        if self._engine._module.lost:
            self._log(1, 'an illegal memory access was encountered')
            return False
        made = self._engine._run(memory(self._at['pixels'], self._engine.image_shape).clone())
        memory(self._at['output0'], made.shape).copy_(made)
        return True


def memory(address, shape):
    """The float32 tensor that lies there."""
    count = int(np.prod(shape))
    return torch.from_numpy(
        np.ctypeslib.as_array((ctypes.c_float * count).from_address(address)).reshape(shape)
    )
