"""Results of custom ``Function`` classes, in-place changes of them, and other positions in the graph, as in PyTorch."""

import pytest

import tracer

IN_FUNCTION = "This view was created inside a custom Function"


def function(forward, backward):
    return type("Made", (tracer.autograd.Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


def _doubled(ctx, x, *others):
    x.mul_(2)
    ctx.mark_dirty(x)
    return x if not others else (x, others[0] * 3)


def _not_followed(ctx, x):
    part = x[:1]
    ctx.mark_non_differentiable(part)
    return part


Identity = function(lambda ctx, x: x, lambda ctx, g: g * 2)
Part = function(lambda ctx, x: x[:1], lambda ctx, g: g.expand(3))
Two = function(lambda ctx, x: (x, x * 2), lambda ctx, g, h: g * 2 + h)
Doubled = function(_doubled, lambda ctx, g, *more: (g * 2, *[h * 3 for h in more]))
NotFollowed = function(_not_followed, lambda ctx, g: None)


def tensors():
    leaf = tracer.ones(3, requires_grad=True)
    return {"without": tracer.ones(3), "leaf": leaf, "result": leaf * 1}


@pytest.mark.parametrize("kind", ["without", "leaf", "result"])
@pytest.mark.parametrize("made", [Identity, Part, NotFollowed])
@pytest.mark.parametrize("gradients", [True, False])
def test_a_view_of_an_input_must_not_be_changed_in_place(made, kind, gradients):
    x = tensors()[kind]
    with tracer.set_grad_enabled(gradients):
        y = made.apply(x)
    # Without gradients PyTorch detaches an input that requires them.
    if made is Identity and not gradients and kind != "without":
        assert y is not x and not y.requires_grad
        return
    assert y is not x and y._base is x and y._version == 0
    with pytest.raises(RuntimeError, match=IN_FUNCTION):
        y.mul_(tracer.ones((), requires_grad=True))


def test_one_of_several_views():
    y, z = Two.apply(tensors()["result"])
    assert (y.output_nr, z.output_nr) == (0, 1)
    with pytest.raises(RuntimeError, match=r"Output 0 of Made is a view .* returns multiple views"):
        y.mul_(2)
    z.mul_(2)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("kind", ["without", "result"])
def test_marking_counts_as_a_change(kind, gradients):
    x = tensors()[kind]
    with tracer.set_grad_enabled(gradients):
        y = Doubled.apply(x)
    assert x._version == 2 and (y is x) == (gradients or kind == "without")


def test_a_view_changed_by_a_function_with_several_results():
    w = tracer.ones((), requires_grad=True)
    with pytest.raises(RuntimeError, match="your Function cannot return more than one Tensor"):
        Doubled.apply(tracer.ones(3)[:2], w)
    with pytest.raises(RuntimeError, match="your Function cannot return more than one Tensor"):
        Doubled.apply(tensors()["result"][:2], w)
    x = tracer.ones(3)
    Doubled.apply(x[:2], tracer.ones(()))  # no history
    assert x.tolist() == [2, 2, 1]


def test_a_complex_gradient_of_a_real_input():
    turned = function(lambda ctx, x: x * 1, lambda ctx, g: g * 1j)
    x = tracer.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError):
        turned.apply(x).sum().backward()


# Positions in the graph.


@pytest.mark.parametrize("repeated", [1, 2])
def test_backward_to_results_retains_their_gradients(repeated):
    x = tracer.ones(3, requires_grad=True)
    y, seen = x * 2, []
    y.register_hook(lambda g: seen.append(g.tolist()) or g * 3)
    (y * y).sum().backward(inputs=[y] * repeated, retain_graph=True)
    assert y.retains_grad and y.grad.tolist() == [12] * 3 and seen == [[4] * 3] and x.grad is None
    (y * 2).sum().backward(inputs=y, retain_graph=True)
    assert y.grad.tolist() == [18] * 3
    (y * 2).sum().backward(inputs=[x] * repeated)
    assert x.grad.tolist() == [12] * 3 and y.grad.tolist() == [24] * 3


def test_which_output_a_tensor_is():
    x = tracer.ones(2, 2)
    assert x.split(1)[1].output_nr == 0 and (x.requires_grad_() * 1).split(1)[1].output_nr == 1


def test_flags():
    x = tracer.ones(2, requires_grad=True)
    y = x * 1
    for value in (True, False):
        with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
            y.requires_grad = value
    with pytest.raises(RuntimeError, match="requires_grad must be a bool"):
        x.requires_grad = 1
    for t in (x, y):
        with pytest.raises(RuntimeError, match="can't assign Variable as its own grad"):
            t.grad = t


def test_other_data_is_no_change():
    x = tracer.ones(2, 2, requires_grad=True)
    v, y = x.detach()[0], x * x
    x.data = tracer.zeros(2, 2)
    assert x._version == 0 and v.tolist() == [1, 1] and v.storage_offset() == 0
    y.sum().backward()  # the tensor itself was saved
    assert x.grad.tolist() == [[0, 0], [0, 0]]


def test_bases_after_changes_of_shape():
    x = tracer.ones(2, 2)
    v, w = x.T, x[0]
    x.unsqueeze_(0)
    assert x._base is None and v._base is x and w._base is x
    v.squeeze_()
    assert v._base is x and v.T._base is x


def test_hooks_on_several_tensors_of_which_some_require_none():
    x, seen = tracer.ones(2, requires_grad=True), []
    hook = tracer.autograd.graph.register_multi_grad_hook
    hook([x, tracer.ones(1)], lambda g: seen.append(g.tolist()), mode="any")
    with pytest.raises(AssertionError):
        hook([x, tracer.ones(1)], print)
    x.sum().backward()
    assert seen == [[1, 1]]


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
@pytest.mark.parametrize(
    "register",
    [
        lambda x, y: y.grad_fn.register_prehook(lambda gs: (gs[0] * 2,)),
        lambda x, y: y.grad_fn.register_hook(lambda gs, _: (gs[0] * 2, *gs[1:])),
        lambda x, y: y.grad_fn.next_functions[0][0].register_prehook(lambda gs: (gs[0] * 2,)),
        lambda x, y: tracer.autograd.graph.get_gradient_edge(x).node.register_prehook(lambda gs: (gs[0] * 2,)),
        lambda x, y: x.register_hook(lambda g: g * 2),
    ],
)
@pytest.mark.parametrize("result", [lambda x: x[0], lambda x: x.view(6), lambda x: x * 1])
def test_hooks_that_a_traced_function_registers(result, register):
    @tracer.trace
    def f(x):
        y = result(x)
        register(x, y)
        return y

    for _ in range(3):
        x = tracer.ones(2, 3, requires_grad=True)
        f(x).sum().backward()
        assert x.grad[0].tolist() == [2, 2, 2]


# Operands that overlap the written memory.


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.mul_(other=x[0]),
        lambda x: x.clamp_(min=x[0]),
        lambda x: x[:1].mul_(x.view(-1)[1:4]),
        lambda x: x.__setitem__(([0],), x[1:]),
        lambda x: x.__setitem__([0, 1], x),
        lambda x: x.__setitem__((slice(None), [0]), x[0, 0]),
        lambda x: x.__setitem__(x > 1, x.view(-1)[2:]),
        lambda x: tracer.add(x, x[0], out=x),
        lambda x: tracer.where(x > 1, x, x[0], out=x),
    ],
)
def test_parts_of_the_tensor_that_is_written_to(change):
    with pytest.raises(RuntimeError, match="refer to a single memory location"):
        change(tracer.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda x: x.masked_fill_(x > 1, x[0, 1]), [[0, 1, 1], [1, 1, 1]]),
        (lambda x: x.index_fill_(0, tracer.tensor([0]), x[1, 1]), [[4, 4, 4], [3, 4, 5]]),
        (lambda x: x.__setitem__(x > 1, x[0, 0]), [[0, 1, 0], [0, 0, 0]]),
        (lambda x: tracer.add(x, x, out=x), [[0, 2, 4], [6, 8, 10]]),
    ],
)
def test_numbers_from_the_tensor_that_is_written_to(change, expected):
    x = tracer.arange(6.0).reshape(2, 3)
    change(x)
    assert x.tolist() == expected


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("trace", [lambda f: f, tracer.trace])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda x: x.__setitem__(x > 1, 5), [0, 1, 5]),
        (lambda x: x.__setitem__([0], tracer.tensor([7.0, 8.0, 9.0])), [7, 8, 9]),
        (lambda x: x.__setitem__((slice(None), [0]), 2.0), [2, 1, 2]),
        (lambda x: x.masked_fill_(x > 1, 5), [0, 1, 5]),
        (lambda x: x.index_put_((tracer.tensor([0]),), tracer.tensor(3.0)), [3, 3, 3]),
        (lambda x: x.index_fill_(1, tracer.tensor([0]), 4.0), [4, 1, 2]),
    ],
)
def test_writes_by_index_to_elements_that_share_memory(change, expected, trace):
    @trace
    def f(x):
        change(x)
        return x * 1

    for _ in range(3):
        x = tracer.arange(3.0)
        assert f(x.expand(2, 3)).tolist() == [expected, expected] and x.tolist() == expected


# Complex numbers.


def test_parts_may_be_assigned():
    w = tracer.ones((), requires_grad=True)
    x = tracer.ones(2, dtype=tracer.complex64)
    x.imag = tracer.full((2,), 3.0)
    x.real = w * 2
    assert x.tolist() == [2 + 3j, 2 + 3j]
    x.real.sum().backward()
    assert w.grad.item() == 4
    y = tracer.ones(2)
    y.real = 3
    assert y.tolist() == [3, 3]
    with pytest.raises(RuntimeError, match="imag is not implemented"):
        y.imag = 3


@pytest.mark.parametrize("compare", [tracer.lt, tracer.le, tracer.gt, tracer.ge])
def test_complex_numbers_have_no_order(compare):
    x = tracer.ones(2, dtype=tracer.complex64)
    for a, b in [(x, x), (x, 1), (tracer.ones(2), x)]:
        with pytest.raises(NotImplementedError, match="not implemented for 'ComplexFloat'"):
            compare(a, b)


def test_adjoints_of_vectors_and_numbers():
    x = tracer.ones(3)
    for get in (lambda: x.mT, lambda: x.mH, lambda: x.H, lambda: x.adjoint()):
        with pytest.raises(RuntimeError, match="only supported on matrices"):
            get()
    with pytest.raises(RuntimeError, match=r"consider using tensor\.mH"):
        _ = tracer.ones(2, 2, 2).H


def test_as_strided_changes_the_tensor_itself():
    x = tracer.arange(4.0).reshape(2, 2)
    v = x.view(-1)
    x.as_strided_((2,), (2,))
    assert x.tolist() == [0, 2] and v.tolist() == [0, 1, 2, 3]
    leaf = tracer.ones(2, 2, requires_grad=True)
    y = leaf * 1
    y.as_strided_((2,), (2,))
    y.sum().backward()
    assert leaf.grad.tolist() == [[1, 0], [1, 0]]


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_results_of_traced_functions_are_of_the_mode_they_were_made_in(inside, outside):
    @tracer.trace
    def f(x):
        with tracer.inference_mode(inside):
            y = x * 2
            return y, y[0]

    for _ in range(3):
        with tracer.inference_mode(outside):
            results = f(tracer.ones(2))
        assert [t.is_inference() for t in results] == [inside, inside]
