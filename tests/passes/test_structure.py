"""What graphs look like after passes: the forms that later stages count on."""

from __future__ import annotations

import time

import numpy as np
import pytest

from autodiffc.differentiate.reverse import fill
from autodiffc.graph.affine import Affine, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Indirect
from autodiffc.graph.construct import (
    check_index,
    compute,
    constant_node,
    elementwise,
    leaf,
    reshape,
    stop_gradient,
    view,
)
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Call, Const, Index
from autodiffc.passes import fuse, gather, normalize, share, simplify, specialize
from autodiffc.reference.interpreter import evaluate as interpret
from tests.passes.brute import evaluate
from tests.passes.samples import (
    assert_same,
    check_all,
    conv,
    conv_gradients,
    lenet,
    linear,
    random_values,
    relu,
    structure,
    total,
    transpose,
)


def prepared(graph: Graph) -> Graph:
    return normalize(specialize(graph, {}, "float64"))


def optimized(graph: Graph) -> Graph:
    for one in (normalize, simplify, share, gather, fuse):
        graph = one(graph)
    return graph


def computed(graph: Graph) -> list[Node]:
    return [n for n in graph.order if n.op == "compute"]


def the(node: Node) -> Graph:
    return Graph({"y": node})


# --- normalize ---


def test_forward_convolution_without_padding_has_no_guards() -> None:
    y = prepared(conv_gradients((2, 3, 6, 6), (4, 3, 3, 3))).outputs["y"]
    assert y.formula.domain.guards == ()
    assert y.formula.out == identity(7)[:4]
    assert y.formula.domain.extents == (2, 4, 4, 4, 3, 3, 3)


def test_guard_on_one_index_becomes_its_range() -> None:
    x = leaf("input", "x", (6,), "real")
    shifted = Affine((1,), -2)  # i - 2 >= 0
    formula = Comprehension(
        Domain((8,), (shifted,)), identity(1), (Access(0, (shifted,)),), Arg(0), "set"
    )
    graph = the(compute([x], [formula], (8,)))
    y = normalize(graph).outputs["y"]
    assert y.formula.domain.extents == (6,)
    assert y.formula.domain.guards == ()
    assert y.formula.out == (Affine((1,), 2),)
    check_all(graph)


def test_reduced_order_of_an_argmax_stays() -> None:
    x = leaf("input", "x", (3, 4, 5), "real")
    rows = (index(3, 2), index(3, 1), index(3, 0))
    formula = Comprehension(
        Domain((5, 4, 3), (), ("p", "k", "q")), (index(3, 1),), (Access(0, rows),), Arg(0), "argmax"
    )
    graph = the(compute([x], [formula], (4,)))
    assert normalize(graph).outputs["y"].formula.domain.names == ("k", "p", "q")
    check_all(graph)


def test_guards_do_not_shrink_an_argmax() -> None:
    x = leaf("input", "x", (2, 5), "real")
    guard = Affine((0, 1), -2)
    formula = Comprehension(
        Domain((2, 5), (guard,)), (index(2, 0),), (Access(0, identity(2)),), Arg(0), "argmax"
    )
    graph = the(compute([x], [formula], (2,)))
    assert normalize(graph).outputs["y"].formula.domain.extents == (2, 5)
    check_all(graph)


def test_sum_over_nothing_is_zero_and_product_one() -> None:
    x = leaf("input", "x", (3, 0), "real")
    for combine, expected in (("sum", 1.0), ("prod", 2.0)):
        formula = Comprehension(
            Domain((3, 0)), (index(2, 0),), (Access(0, identity(2)),), Arg(0), combine
        )
        graph = the(elementwise("add", compute([x], [formula], (3,)), 1.0))
        result = check_all(graph)
        value = evaluate(result, {"x": np.zeros((3, 0))})["y"]
        np.testing.assert_array_equal(value, np.full(3, expected))


def test_common_factor_of_a_guard_is_divided_out() -> None:
    x = leaf("input", "x", (4, 4), "real")
    guard = Affine((2, -2), -1)  # 2i - 2j - 1 >= 0 says i - j - 1 >= 0
    formula = Comprehension(
        Domain((4, 4), (guard, guard)), (index(2, 0),), (Access(0, identity(2)),), Arg(0), "sum"
    )
    y = normalize(the(compute([x], [formula], (4,)))).outputs["y"]
    # j = 0 … 2 and i = 1 … 3 are what is left, so i' - j >= 0
    assert y.formula.domain.guards == (Affine((1, -1), 0),)
    assert y.formula.domain.extents == (3, 3)


# --- share ---


def test_equal_nodes_become_one() -> None:
    x = leaf("input", "x", (3,), "real")
    a, b = elementwise("sin", x), elementwise("sin", x)
    y = share(the(elementwise("mul", a, b))).outputs["y"]
    assert y.inputs == (a,)
    assert y.formula.body == Arg(0) * Arg(0)


def test_constants_are_shared_by_value_and_leaves_are_not() -> None:
    x, z = leaf("input", "x", (2,), "real"), leaf("input", "z", (2,), "real")
    one, other = (constant_node(np.array([1.0, 2.0]), "real") for _ in range(2))
    third = constant_node(np.array([1.0, 3.0]), "real")
    y = elementwise("add", elementwise("mul", x, one), elementwise("mul", z, other))
    graph = share(the(elementwise("mul", y, third)))
    assert len(graph.leaves("constant")) == 2
    assert len(graph.leaves("input")) == 2


# --- simplify ---


def test_zeros_that_are_added_vanish_and_zeros_that_multiply_stay() -> None:
    """What zeros multiply may be infinite."""
    x = leaf("input", "x", (3,), "real")
    none = fill(x, 0.0)
    graph = Graph({"sum": elementwise("add", x, none), "product": elementwise("mul", x, none)})
    result = simplify(graph)
    assert result.outputs["sum"] is x
    assert result.outputs["product"].formula.body == Arg(0) * Const(0.0, "real")


def test_literal_zero_follows_ieee() -> None:
    x = leaf("input", "x", (2,), "real")
    y = simplify(the(elementwise("mul", x, 0.0))).outputs["y"]
    assert y.formula.body == Arg(0) * 0.0


def test_views_without_effect_disappear() -> None:
    x = leaf("input", "x", (2, 6), "real")
    y = reshape(reshape(stop_gradient(reshape(x, (3, 4))), (12,)), (2, 6))
    assert simplify(the(y)).outputs["y"] is x
    copy = view(x, (2, 6), lambda i: i, label="copy")
    assert simplify(the(copy)).outputs["y"] is x


def test_repeated_summand_becomes_a_factor() -> None:
    x = leaf("input", "x", (3,), "real")
    formula = Comprehension(
        Domain((3, 7)), (index(2, 0),), (Access(0, (index(2, 0),)),), Arg(0), "sum"
    )
    graph = the(compute([x], [formula], (3,)))
    assert simplify(graph).outputs["y"].formula.body == Arg(0) * 7.0
    check_all(graph)


# --- gather ---


def phases(**options: object) -> Node:
    graph = conv_gradients((2, 3, 9, 9), (4, 3, 3, 3), **options)
    return gather(prepared(graph)).outputs["dx"]


def test_stride_two_has_four_phases_without_waste() -> None:
    dx = phases(stride=(2, 2), padding=(1, 1))
    assert len(dx.pieces) == 4
    taps = sorted(int(np.prod([p.domain.extents[k] for k in p.reduced])) // 4 for p in dx.pieces)
    assert taps == [1, 2, 2, 4]  # of a 3x3 kernel: nine taps for four pixels


def test_stride_one_is_one_phase() -> None:
    dx = phases(padding=(1, 1))
    assert len(dx.pieces) == 1
    assert dx.formula.out == identity(dx.formula.domain.rank)[:4]


def test_stride_with_equal_dilation_leaves_pixels_without_taps() -> None:
    dx = phases(stride=(2, 2), dilation=(2, 2))
    assert len(dx.pieces) == 1  # only even pixels were read
    check_all(conv_gradients((1, 1, 9, 9), (1, 1, 3, 3), stride=(2, 2), dilation=(2, 2)))


def test_windows_that_do_not_overlap_stay_a_scatter() -> None:
    dx = phases(stride=(3, 3))
    assert len(dx.pieces) == 1
    assert "scatter" not in dx.attrs


def test_indirect_sum_stays_serial() -> None:
    ids = check_index(leaf("input", "ids", (6,), "int32"), 4)
    x = leaf("input", "x", (6,), "real")
    formula = Comprehension(
        Domain((6,)), (Indirect(0, (index(1, 0),)),), (Access(1, (index(1, 0),)),), Arg(0), "sum"
    )
    graph = the(compute([ids, x], [formula], (4,)))
    assert gather(graph).outputs["y"].attrs["scatter"] == "serial"
    values = {"ids": np.array([0, 3, 0, 1, 3, 3]), "x": np.arange(6.0)}
    graph = specialize(graph, {}, "float64")
    for one in (normalize, simplify, share, gather, fuse):
        assert_same(graph, one(graph), values)


# --- fuse ---


def test_bias_and_activation_end_the_convolution() -> None:
    x, w = leaf("input", "x", (2, 3, 6, 6), "real"), leaf("param", "w", (4, 3, 3, 3), "real")
    b = leaf("param", "b", (4, 1, 1), "real")
    graph = the(relu(elementwise("add", conv(x, w), b)))
    (y,) = computed(fuse(prepared(graph)))
    assert y.formula.combine == "sum"
    assert y.formula.finish == Call("relu", (Arg(0) + Arg(1),))
    check_all(graph)


def test_outputs_stay_when_they_are_also_read() -> None:
    x, w = leaf("input", "x", (1, 2, 4, 4), "real"), leaf("param", "w", (2, 2, 3, 3), "real")
    z = conv(x, w)
    graph = Graph({"z": z, "y": relu(z)})
    result = fuse(prepared(graph))
    assert result.outputs["z"].formula.finish is None
    assert result.outputs["y"].formula.combine == "set"  # the convolution is computed once
    check_all(graph)


def test_transposed_reader_does_not_end_a_reduction() -> None:
    x, w = leaf("input", "x", (3, 4), "real"), leaf("param", "w", (3, 4), "real")
    product = linear(x, w, leaf("param", "b", (3,), "real"))
    rows = (index(2, 1), index(2, 0))
    formula = Comprehension(
        Domain((3, 3)), identity(2), (Access(0, rows),), Call("sin", (Arg(0),)), "set"
    )
    check_all(the(compute([product], [formula], (3, 3), label="sin")))


def test_masks_at_zero_read_the_activation() -> None:
    """`z > 0` is `relu(z) > 0`; `z > -1` is not."""
    x, w = leaf("input", "x", (1, 2, 4, 4), "real"), leaf("param", "w", (2, 2, 3, 3), "real")
    for limit, kernels in ((0.0, 2), (-1.0, 3)):
        z = conv(x, w)
        y = relu(z)
        mask = elementwise("where", elementwise("gt", z, limit), 1.0, -1.0)
        graph = Graph({"y": y, "mask": mask})
        assert len(computed(fuse(prepared(graph)))) == kernels
        check_all(graph)


def test_transpose_moves_into_its_reader() -> None:
    x = leaf("input", "x", (3, 4), "real")
    graph = the(total(elementwise("exp", transpose(transpose(x)))))
    (y,) = computed(fuse(prepared(graph)))
    assert y.formula.operands[0].rows == identity(2)


def test_expensive_value_is_not_computed_again_for_each_reader() -> None:
    x, w = leaf("input", "x", (3, 4), "real"), leaf("param", "w", (5, 4), "real")
    b = leaf("param", "b", (5,), "real")
    graph = the(linear(elementwise("exp", x), w, b))
    assert len(computed(fuse(prepared(graph)))) == 2
    shared = elementwise("exp", x)
    graph = Graph({"a": total(shared), "b": total(shared, Arg(0) * Arg(0))})
    assert len(computed(fuse(prepared(graph)))) == 3


def test_index_values_are_composed() -> None:
    formula = Comprehension(Domain((5,)), identity(1), (), Index(0))
    ramp = compute([], [formula], (5,))
    flipped = view(ramp, (5,), lambda i: (-i[0] + 4,), label="flip")
    graph = the(total(flipped, Arg(0) * Arg(0)))
    check_all(graph)
    assert len(computed(fuse(prepared(graph)))) == 1


def test_gradient_mask_ends_the_gathered_gradient() -> None:
    """dx of a strided convolution, masked by relu: zeros stay zeros, so every phase may mask."""
    graph = conv_gradients((1, 2, 7, 7), (3, 2, 3, 3), stride=(3, 3))
    x = next(n for n in graph.order if n.name == "x")
    mask = elementwise("where", elementwise("gt", x, 0.0), graph.outputs["dx"], 0.0)
    graph = the(mask)
    result = fuse(gather(prepared(graph)))
    assert len(computed(result)) == 1
    check_all(graph)


def test_lenet_ends_with_few_nodes() -> None:
    result = check_all(lenet(batch=1, size=10))
    labels = [n.label for n in computed(result)]
    assert labels.count("conv2d + add + relu") == 2
    assert labels.count("linear + add + relu") == 1
    assert len(labels) <= 24  # 8 forward, 8 parameters' gradients, the paths between them


# --- all ---


def test_names_labels_and_lines_stay() -> None:
    graph = lenet(batch=2, size=10)
    result = optimized(specialize(graph, {}, "float32"))
    assert [n.name for n in result.leaves("param")] == [n.name for n in graph.leaves("param")]
    assert all(n.loc is not None and n.label for n in computed(result))
    assert "real" not in {n.dtype for n in result.order}


def test_deep_graphs_need_no_recursion_and_little_time() -> None:
    x = leaf("input", "x", (4, 4), "real")
    w = leaf("param", "w", (4,), "real")
    y = x
    for k in range(1000):
        y = elementwise("add", elementwise("sin" if k % 3 else "relu", y), w)
    graph = specialize(the(y), {}, "float64")
    start = time.perf_counter()
    graph = optimized(graph)
    assert time.perf_counter() - start < 6  # about one second where nothing else runs
    assert max(len(n.formula.operands) for n in computed(graph)) <= 12


def test_same_input_gives_the_same_graph() -> None:
    assert structure(optimized(lenet())) == structure(optimized(lenet()))


def test_reference_interpreter_agrees_after_all_passes() -> None:
    """On sizes too large for visiting points one by one."""
    graph = specialize(lenet(batch=4, size=28), {}, "float64")
    values = random_values(graph)
    expected = interpret(graph, values, dtype="float64")
    found = interpret(optimized(graph), values, dtype="float64")
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-9, err_msg=name)


def test_random_values_contain_zeros() -> None:
    """The relu masks above are tried at their kink too."""
    values = random_values(lenet(2, 10))
    assert any((v == 0).any() for v in values.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_specialized_types(dtype: str) -> None:
    y = elementwise("add", constant_node(np.array([0.1, 0.2]), "real"), 0.5)
    new = specialize(the(y), {}, dtype).outputs["y"]
    assert new.dtype == dtype
    assert new.inputs[0].attrs["value"].dtype == dtype
    assert new.formula.body == Arg(0) + Const(0.5, dtype)
