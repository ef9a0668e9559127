"""autodiffc, a symbolic autodiff compiler: formulas in Python, gradients and kernels in plain C.

The public names, nothing else. They are loaded on first use, so that `autodiffc --help` does not
wait for NumPy, networkx and SymPy. `_MODULES` says where each name lives (`alias=name` where it is
called otherwise there); the imports below it say the same to type checkers and editors.
tests/test_public_names.py lists what is promised to users.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autodiffc.version import __version__

_MODULES = {
    "autodiffc.dsl.leaves": "input param state constant dim",
    "autodiffc.dsl.naming": "name",
    "autodiffc.dsl.model": "Model",
    "autodiffc.dsl.optimizers": "SGD",
    "autodiffc.dsl.notation": "indices compute sum_over prod_over max_over min_over",
    "autodiffc.differentiate.grad": "grad",
    "autodiffc.ops.elementwise": """
        exp exp2 expm1 log log2 log10 log1p sqrt rsqrt cbrt sin cos tan asin acos atan atan2
        sinh cosh tanh asinh acosh atanh arcsin=asin arccos=acos arctan=atan arctan2=atan2
        arcsinh=asinh arccosh=acosh arctanh=atanh hypot logaddexp erf erfc sigmoid relu abs
        sign floor ceil round trunc square reciprocal minimum maximum where clip astype
        isnan isinf isfinite add subtract=sub multiply=mul divide=div negative=neg
        floor_divide=floordiv mod pow power=pow less=lt less_equal=le greater=gt
        greater_equal=ge equal=eq not_equal=ne logical_and logical_or logical_xor
        logical_not
    """,
    "autodiffc.ops.activations": """
        leaky_relu prelu elu celu selu gelu silu mish hardtanh hardsigmoid hardswish relu6
        softsign softplus logsigmoid
    """,
    "autodiffc.ops.reduce": """
        sum prod mean var std max min amax=max amin=min argmax argmin any all logsumexp
    """,
    "autodiffc.ops.contract": "matmul linear outer dot tensordot einsum",
    "autodiffc.ops.window": "conv1d conv2d conv3d",
    "autodiffc.ops.pool": "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d",
    "autodiffc.ops.view": """
        reshape flatten transpose permute swapaxes moveaxis squeeze expand_dims broadcast_to
        flip concat concatenate=concat stack tile repeat pad
    """,
    "autodiffc.ops.slices": "split roll",
    "autodiffc.ops.index": "one_hot take embedding gather take_along_axis arange",
    "autodiffc.ops.create": "zeros ones full eye",
    "autodiffc.ops.composite": """
        stop_gradient softmax log_softmax cross_entropy nll_loss bce_with_logits
        binary_cross_entropy_with_logits=bce_with_logits binary_cross_entropy mse mse_loss=mse
        l1_loss smooth_l1_loss huber_loss
    """,
    "autodiffc.pipeline": "compile load check_grads",
    "autodiffc.errors": "AutodiffcError",
    "autodiffc.graph.expression": "Expression",
}

_WHERE = {
    entry.partition("=")[0]: (module, entry.rpartition("=")[2])
    for module, names in _MODULES.items()
    for entry in names.split()
}

__all__ = ["__version__", "nn", *_WHERE]

if TYPE_CHECKING:
    from autodiffc.differentiate.grad import grad as grad
    from autodiffc.dsl import nn as nn
    from autodiffc.dsl.leaves import constant as constant
    from autodiffc.dsl.leaves import dim as dim
    from autodiffc.dsl.leaves import input as input
    from autodiffc.dsl.leaves import param as param
    from autodiffc.dsl.leaves import state as state
    from autodiffc.dsl.model import Model as Model
    from autodiffc.dsl.naming import name as name
    from autodiffc.dsl.notation import compute as compute
    from autodiffc.dsl.notation import indices as indices
    from autodiffc.dsl.notation import max_over as max_over
    from autodiffc.dsl.notation import min_over as min_over
    from autodiffc.dsl.notation import prod_over as prod_over
    from autodiffc.dsl.notation import sum_over as sum_over
    from autodiffc.dsl.optimizers import SGD as SGD
    from autodiffc.errors import AutodiffcError as AutodiffcError
    from autodiffc.graph.expression import Expression as Expression
    from autodiffc.ops.activations import celu as celu
    from autodiffc.ops.activations import elu as elu
    from autodiffc.ops.activations import gelu as gelu
    from autodiffc.ops.activations import hardsigmoid as hardsigmoid
    from autodiffc.ops.activations import hardswish as hardswish
    from autodiffc.ops.activations import hardtanh as hardtanh
    from autodiffc.ops.activations import leaky_relu as leaky_relu
    from autodiffc.ops.activations import logsigmoid as logsigmoid
    from autodiffc.ops.activations import mish as mish
    from autodiffc.ops.activations import prelu as prelu
    from autodiffc.ops.activations import relu6 as relu6
    from autodiffc.ops.activations import selu as selu
    from autodiffc.ops.activations import silu as silu
    from autodiffc.ops.activations import softplus as softplus
    from autodiffc.ops.activations import softsign as softsign
    from autodiffc.ops.composite import bce_with_logits as bce_with_logits
    from autodiffc.ops.composite import bce_with_logits as binary_cross_entropy_with_logits
    from autodiffc.ops.composite import binary_cross_entropy as binary_cross_entropy
    from autodiffc.ops.composite import cross_entropy as cross_entropy
    from autodiffc.ops.composite import huber_loss as huber_loss
    from autodiffc.ops.composite import l1_loss as l1_loss
    from autodiffc.ops.composite import log_softmax as log_softmax
    from autodiffc.ops.composite import mse as mse
    from autodiffc.ops.composite import mse as mse_loss
    from autodiffc.ops.composite import nll_loss as nll_loss
    from autodiffc.ops.composite import smooth_l1_loss as smooth_l1_loss
    from autodiffc.ops.composite import softmax as softmax
    from autodiffc.ops.composite import stop_gradient as stop_gradient
    from autodiffc.ops.contract import dot as dot
    from autodiffc.ops.contract import einsum as einsum
    from autodiffc.ops.contract import linear as linear
    from autodiffc.ops.contract import matmul as matmul
    from autodiffc.ops.contract import outer as outer
    from autodiffc.ops.contract import tensordot as tensordot
    from autodiffc.ops.create import eye as eye
    from autodiffc.ops.create import full as full
    from autodiffc.ops.create import ones as ones
    from autodiffc.ops.create import zeros as zeros
    from autodiffc.ops.elementwise import abs as abs
    from autodiffc.ops.elementwise import acos as acos
    from autodiffc.ops.elementwise import acos as arccos
    from autodiffc.ops.elementwise import acosh as acosh
    from autodiffc.ops.elementwise import acosh as arccosh
    from autodiffc.ops.elementwise import add as add
    from autodiffc.ops.elementwise import asin as arcsin
    from autodiffc.ops.elementwise import asin as asin
    from autodiffc.ops.elementwise import asinh as arcsinh
    from autodiffc.ops.elementwise import asinh as asinh
    from autodiffc.ops.elementwise import astype as astype
    from autodiffc.ops.elementwise import atan as arctan
    from autodiffc.ops.elementwise import atan as atan
    from autodiffc.ops.elementwise import atan2 as arctan2
    from autodiffc.ops.elementwise import atan2 as atan2
    from autodiffc.ops.elementwise import atanh as arctanh
    from autodiffc.ops.elementwise import atanh as atanh
    from autodiffc.ops.elementwise import cbrt as cbrt
    from autodiffc.ops.elementwise import ceil as ceil
    from autodiffc.ops.elementwise import clip as clip
    from autodiffc.ops.elementwise import cos as cos
    from autodiffc.ops.elementwise import cosh as cosh
    from autodiffc.ops.elementwise import div as divide
    from autodiffc.ops.elementwise import eq as equal
    from autodiffc.ops.elementwise import erf as erf
    from autodiffc.ops.elementwise import erfc as erfc
    from autodiffc.ops.elementwise import exp as exp
    from autodiffc.ops.elementwise import exp2 as exp2
    from autodiffc.ops.elementwise import expm1 as expm1
    from autodiffc.ops.elementwise import floor as floor
    from autodiffc.ops.elementwise import floordiv as floor_divide
    from autodiffc.ops.elementwise import ge as greater_equal
    from autodiffc.ops.elementwise import gt as greater
    from autodiffc.ops.elementwise import hypot as hypot
    from autodiffc.ops.elementwise import isfinite as isfinite
    from autodiffc.ops.elementwise import isinf as isinf
    from autodiffc.ops.elementwise import isnan as isnan
    from autodiffc.ops.elementwise import le as less_equal
    from autodiffc.ops.elementwise import log as log
    from autodiffc.ops.elementwise import log1p as log1p
    from autodiffc.ops.elementwise import log2 as log2
    from autodiffc.ops.elementwise import log10 as log10
    from autodiffc.ops.elementwise import logaddexp as logaddexp
    from autodiffc.ops.elementwise import logical_and as logical_and
    from autodiffc.ops.elementwise import logical_not as logical_not
    from autodiffc.ops.elementwise import logical_or as logical_or
    from autodiffc.ops.elementwise import logical_xor as logical_xor
    from autodiffc.ops.elementwise import lt as less
    from autodiffc.ops.elementwise import maximum as maximum
    from autodiffc.ops.elementwise import minimum as minimum
    from autodiffc.ops.elementwise import mod as mod
    from autodiffc.ops.elementwise import mul as multiply
    from autodiffc.ops.elementwise import ne as not_equal
    from autodiffc.ops.elementwise import neg as negative
    from autodiffc.ops.elementwise import pow as pow
    from autodiffc.ops.elementwise import pow as power
    from autodiffc.ops.elementwise import reciprocal as reciprocal
    from autodiffc.ops.elementwise import relu as relu
    from autodiffc.ops.elementwise import round as round
    from autodiffc.ops.elementwise import rsqrt as rsqrt
    from autodiffc.ops.elementwise import sigmoid as sigmoid
    from autodiffc.ops.elementwise import sign as sign
    from autodiffc.ops.elementwise import sin as sin
    from autodiffc.ops.elementwise import sinh as sinh
    from autodiffc.ops.elementwise import sqrt as sqrt
    from autodiffc.ops.elementwise import square as square
    from autodiffc.ops.elementwise import sub as subtract
    from autodiffc.ops.elementwise import tan as tan
    from autodiffc.ops.elementwise import tanh as tanh
    from autodiffc.ops.elementwise import trunc as trunc
    from autodiffc.ops.elementwise import where as where
    from autodiffc.ops.index import arange as arange
    from autodiffc.ops.index import embedding as embedding
    from autodiffc.ops.index import gather as gather
    from autodiffc.ops.index import one_hot as one_hot
    from autodiffc.ops.index import take as take
    from autodiffc.ops.index import take_along_axis as take_along_axis
    from autodiffc.ops.pool import avg_pool1d as avg_pool1d
    from autodiffc.ops.pool import avg_pool2d as avg_pool2d
    from autodiffc.ops.pool import avg_pool3d as avg_pool3d
    from autodiffc.ops.pool import max_pool1d as max_pool1d
    from autodiffc.ops.pool import max_pool2d as max_pool2d
    from autodiffc.ops.pool import max_pool3d as max_pool3d
    from autodiffc.ops.reduce import all as all
    from autodiffc.ops.reduce import any as any
    from autodiffc.ops.reduce import argmax as argmax
    from autodiffc.ops.reduce import argmin as argmin
    from autodiffc.ops.reduce import logsumexp as logsumexp
    from autodiffc.ops.reduce import max as amax
    from autodiffc.ops.reduce import max as max
    from autodiffc.ops.reduce import mean as mean
    from autodiffc.ops.reduce import min as amin
    from autodiffc.ops.reduce import min as min
    from autodiffc.ops.reduce import prod as prod
    from autodiffc.ops.reduce import std as std
    from autodiffc.ops.reduce import sum as sum
    from autodiffc.ops.reduce import var as var
    from autodiffc.ops.slices import roll as roll
    from autodiffc.ops.slices import split as split
    from autodiffc.ops.view import broadcast_to as broadcast_to
    from autodiffc.ops.view import concat as concat
    from autodiffc.ops.view import concat as concatenate
    from autodiffc.ops.view import expand_dims as expand_dims
    from autodiffc.ops.view import flatten as flatten
    from autodiffc.ops.view import flip as flip
    from autodiffc.ops.view import moveaxis as moveaxis
    from autodiffc.ops.view import pad as pad
    from autodiffc.ops.view import permute as permute
    from autodiffc.ops.view import repeat as repeat
    from autodiffc.ops.view import reshape as reshape
    from autodiffc.ops.view import squeeze as squeeze
    from autodiffc.ops.view import stack as stack
    from autodiffc.ops.view import swapaxes as swapaxes
    from autodiffc.ops.view import tile as tile
    from autodiffc.ops.view import transpose as transpose
    from autodiffc.ops.window import conv1d as conv1d
    from autodiffc.ops.window import conv2d as conv2d
    from autodiffc.ops.window import conv3d as conv3d
    from autodiffc.pipeline import check_grads as check_grads
    from autodiffc.pipeline import compile as compile
    from autodiffc.pipeline import load as load


def __getattr__(name: str) -> Any:
    if name == "nn":
        value: Any = import_module("autodiffc.dsl.nn")
    elif name in _WHERE:
        module, attribute = _WHERE[name]
        value = getattr(import_module(module), attribute)
    else:
        raise AttributeError(f"module 'autodiffc' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
