"""Hooks on tensors, nodes, leaves, modules and saved tensors; edges; arguments of ``grad``; checkpoints.

Expectations are PyTorch's.
"""

import copy
import gc
import pickle
import warnings
import weakref

import pytest

import tracer
from tracer import nn, tensor
from tracer.autograd import grad, graph
from tracer.nn import hooks
from tracer.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential, set_checkpoint_early_stop
from tracer.utils.flop_counter import FlopCounterMode

RUN = [pytest.param(lambda f: f, id="eager"), pytest.param(tracer.trace, id="traced")]


def leaf(*values):
    return tensor(values, requires_grad=True)


# Nodes and edges.


def test_nodes_have_pytorchs_attributes():
    x, y = leaf(1.0), leaf(2.0)
    z = x * y
    node = z.grad_fn
    assert (node.name(), type(node).__name__) == ("MulBackward0", "MulBackward0")
    assert isinstance(node, graph.Node)
    (a, k), (b, _) = node.next_functions
    assert a.variable is x and b.variable is y and k == 0
    assert a is (x * 2).grad_fn.next_functions[0][0]
    assert isinstance(a, graph.Node)
    node.metadata["k"] = 1
    assert z.grad_fn.metadata == {"k": 1}
    assert z.output_nr == 0
    assert tracer.ones(4, requires_grad=True).split(2)[1].output_nr == 1


def test_hooks_around_a_node():
    seen, x, y = [], leaf(1.0, 1.0), leaf(3.0, 3.0)
    z = x * y
    z.grad_fn.register_hook(lambda inputs, outputs: seen.append(("post", [g.tolist() for g in inputs], outputs[0].tolist())))
    z.grad_fn.register_prehook(lambda outputs: (outputs[0] * 2,))
    z.register_hook(lambda g: seen.append(("tensor", g.tolist())))
    z.sum().backward()
    assert seen == [("tensor", [1, 1]), ("post", [[6, 6], [2, 2]], [2, 2])]
    assert (x.grad.tolist(), y.grad.tolist()) == ([6, 6], [2, 2])
    z = x * y
    handle = z.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 10, inputs[1]))
    assert grad(z.sum(), x, retain_graph=True)[0].tolist() == [30, 30]
    handle.remove()
    assert grad(z.sum(), x)[0].tolist() == [3, 3]


@pytest.mark.parametrize(
    ("register", "result", "error", "message"),
    [
        ("register_hook", (1,), RuntimeError, r"incorrect number of values \(got 1, but expected 2\)"),
        ("register_hook", 3, TypeError, "expected tuple, but hook returned 'int'"),
        ("register_prehook", 3, TypeError, "expected tuple, but hook returned 'int'"),
        ("register_prehook", (), RuntimeError, r"incorrect number of values \(got 0, but expected 1\)"),
    ],
)
def test_hooks_of_nodes_that_return_something_else(register, result, error, message):
    z = leaf(1.0) * leaf(1.0)
    getattr(z.grad_fn, register)(lambda *args: result)
    with pytest.raises(error, match=message):
        z.backward(tensor([1.0]))


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (tracer.ones(3), RuntimeError, "has changed the size of value"),
        (tracer.ones(2, dtype=tracer.float64), RuntimeError, "was tracer.FloatTensor got tracer.DoubleTensor"),
        ("a", TypeError, "expected Variable, but hook returned 'str'"),
    ],
    ids=["shape", "dtype", "type"],
)
def test_hooks_of_tensors_that_return_something_else(result, error, message):
    z = leaf(1.0, 2.0) * 2
    z.register_hook(lambda g: result)
    with pytest.raises(error, match=message):
        z.sum().backward()


def test_the_order_of_the_hooks_of_a_leaf():
    seen, x = [], leaf(1.0)
    node = (x * 1).grad_fn.next_functions[0][0]
    node.register_hook(lambda inputs, outputs: seen.append(("after", inputs, outputs[0].item(), x.grad.item())))
    node.register_prehook(lambda outputs: seen.append(("before", x.grad)))
    x.register_hook(lambda g: seen.append(("tensor", g.item())))
    x.register_post_accumulate_grad_hook(lambda t: seen.append(("added", t.grad.item())))
    (x * 3).sum().backward()
    assert seen == [("tensor", 3), ("before", None), ("added", 3), ("after", (), 3, 3)]
    seen.clear()
    grad((x * 3).sum(), x)
    assert seen == [("tensor", 3)]


def test_a_leaf_is_changed_after_its_gradient_was_added():
    t = leaf(1.0)
    t.register_post_accumulate_grad_hook(lambda t: t.sub_(t.grad * 0.25))
    (t * 2).sum().backward()
    assert t.tolist() == [0.5]
    for result, error in [(lambda t: t.grad, RuntimeError), (lambda t: 3, TypeError)]:
        u = leaf(1.0)
        u.register_post_accumulate_grad_hook(result)
        with pytest.raises(error):
            u.sum().backward()


def test_edges_stand_for_tensors():
    x, y = leaf(1.0, 1.0), leaf(2.0, 2.0)
    z = x * y
    ex, ez = graph.get_gradient_edge(x), graph.get_gradient_edge(z)
    assert ex.node.variable is x and ez == (z.grad_fn, 0, None)
    assert [g.tolist() for g in grad(z.sum(), [ex, ez], retain_graph=True)] == [[2, 2], [1, 1]]
    data = weakref.ref(z)
    del z
    assert data() is None
    assert grad(ez, x, tracer.ones(2), retain_graph=True)[0].tolist() == [2, 2]
    tracer.autograd.backward(ez, tracer.ones(2), inputs=[ex])
    assert (x.grad.tolist(), y.grad) == ([2, 2], None)
    assert grad(graph.get_gradient_edge((x * y).sum()), y)[0].tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        grad(graph.get_gradient_edge(x * y), x)
    with pytest.raises(RuntimeError, match="not possible to get the gradient edge"):
        graph.get_gradient_edge(tracer.ones(1))


def test_hooks_on_several_gradients():
    a, b, c = leaf(1.0), leaf(1.0), leaf(1.0)
    d = a * b
    seen = []
    every = graph.register_multi_grad_hook([a, b, c, d], lambda gs: seen.append([g and g.item() for g in gs]))
    (d * 2).sum().backward()
    (a * 2).sum().backward()
    (a * 2 + c).sum().backward()
    assert seen == [[2, 2, None, 2], [2, None, None, None], [2, None, 1, None]]
    every.remove()
    seen.clear()
    with graph.register_multi_grad_hook([a, c], lambda g: seen.append(g.item()), mode="any"):
        (a * 2 + c * 2).sum().backward()
        c.sum().backward()
    a.sum().backward()
    assert seen == [2, 1]
    with pytest.raises(ValueError, match="Expects mode"):
        graph.register_multi_grad_hook([a], seen.append, mode="some")


def test_callbacks_at_the_end_of_a_pass():
    engine = tracer.autograd.Variable._execution_engine
    with pytest.raises(RuntimeError, match="only be installed during backward pass"):
        engine.queue_callback(lambda: None)
    x, seen = leaf(1.0), []
    x.register_hook(lambda g: engine.queue_callback(lambda: seen.append(x.grad.item())))
    (x * 2).sum().backward()
    assert seen == [2]


# Arguments of grad.


def test_arguments_of_grad():
    u, v = leaf(1.0, 2.0), leaf(3.0)
    assert [g.tolist() for g in grad((u * 2).sum(), [u, v], materialize_grads=True)] == [[2, 2], [0]]
    assert grad((u * 2).sum(), [u, v], allow_unused=True)[1] is None
    with pytest.raises(ValueError, match="allow_unused to be True or not passed"):
        grad((u * 2).sum(), [u, v], materialize_grads=True, allow_unused=False)
    with pytest.raises(RuntimeError, match="index 1 appears to not have been used"):
        grad((u * 2).sum(), [u, v])
    (rows,) = grad(u * u, u, tracer.eye(2), is_grads_batched=True)
    assert rows.tolist() == [[2, 0], [0, 4]]
    (g,) = grad(u**3, u, tracer.eye(2), is_grads_batched=True, create_graph=True)
    assert grad(g.sum(), u)[0].tolist() == [6, 12]
    with pytest.raises(RuntimeError, match="interpret the first dimension of each grad_output"):
        grad(u * 2, u, tracer.ones(2), is_grads_batched=True)


# Saved tensors.


@pytest.mark.parametrize(
    ("pack", "unpack", "expected"),
    [
        (lambda t: t, lambda t: t * 3, 6),
        (lambda t: t * 2, lambda t: t, 4),
        (lambda t: t.detach().half(), lambda t: t.float(), 2),
        (lambda t: t.detach().numpy(), tracer.from_numpy, 2),
        (lambda t: t.tolist(), tracer.tensor, 2),
    ],
    ids=["computes on the way back", "computes", "half", "numpy", "list"],
)
@pytest.mark.parametrize("trace", RUN)
def test_saved_tensors_in_the_hands_of_hooks(pack, unpack, expected, trace):
    f = trace(lambda a: a * a)
    for k in range(3):
        a = leaf(1.0, 2.0)
        f(a).sum().backward()
        assert a.grad.tolist() == [2, 4]
        a.grad = None
        with graph.saved_tensors_hooks(pack, unpack):
            y = f(a)
        y.sum().backward()
        assert a.grad.tolist() == [expected, 2 * expected], k


def test_second_derivatives_of_what_hooks_return():
    a = leaf(1.0, 2.0)
    with graph.saved_tensors_hooks(lambda t: 2 * t, lambda t: t):
        s = (a**3).sum()
    (g,) = grad(s, a, create_graph=True)
    g.sum().backward()
    assert (g.tolist(), a.grad.tolist()) == ([12, 48], [12, 24])


def test_hooks_of_saved_tensors_nest_and_are_forbidden():
    a, seen = leaf(1.0), []
    with graph.saved_tensors_hooks(lambda t: seen.append("outer") or t, lambda t: t):
        with graph.saved_tensors_hooks(lambda t: seen.append("inner") or t, lambda t: t):
            a.exp()
        a.exp()
    assert seen == ["inner", "outer"]
    with graph.disable_saved_tensors_hooks("none here"), pytest.raises(RuntimeError, match="none here"):
        graph.saved_tensors_hooks(lambda t: t, lambda t: t).__enter__()

    def change(t):
        t.add_(1)

    with graph.saved_tensors_hooks(change, lambda t: t), pytest.raises(RuntimeError, match="modifying its input in place"):
        (a * 1).exp()
    with graph.saved_tensors_hooks(lambda t: t, lambda t: 3):
        y = a.exp()
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor but got result of type int"):
        y.backward()
    with graph.save_on_cpu():
        y = a * a
    assert grad(y, a)[0].tolist() == [2]


# Modules.


def test_backward_hooks_of_modules():
    m, calls = nn.Identity(), []
    handle = m.register_full_backward_hook(lambda m, gi, go: calls.append((gi, go)))
    x = leaf(0.5)
    (m(x) * 2).sum().backward()
    assert [(gi[0].tolist(), go[0].tolist()) for gi, go in calls] == [([2], [2])]
    m(tensor([0.5], requires_grad=False)).sum()
    handle.remove()
    m.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))
    with pytest.raises(RuntimeError, match="invalid number of grad_input, got 2, but expected 1"):
        m(x).sum().backward()


def test_a_loss_with_a_backward_hook_calls_it_once():
    x, loss, calls = leaf(0.5), nn.MSELoss(), []
    loss.register_full_backward_hook(lambda *a: calls.append(1))
    (g,) = grad(loss(x, tensor([0.25])), x, create_graph=True)
    grad(g, x)
    assert calls == [1]


# Checkpoints.


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints(reentrant):
    def f(a, scale=2.0):
        runs.append(1)
        return (a.sin() * a).cos() * scale, "text", None

    runs, x, y = [], leaf(1.0, 2.0), leaf(1.0, 2.0)
    z = checkpoint(f, x, use_reentrant=reentrant)
    assert z[1:] == ("text", None)
    z = z[0].sum()
    z.backward(retain_graph=True)
    z.backward()
    assert len(runs) == 3
    (f(y)[0].sum() * 2).backward()
    assert tracer.allclose(x.grad, y.grad)
    drop = nn.Dropout(0.5)
    w = tracer.ones(64, requires_grad=True)
    out = checkpoint(lambda a: drop(a) * a, w, use_reentrant=reentrant)
    out.sum().backward()
    assert w.grad.tolist() == (2 * out).tolist()
    layers = nn.Sequential(*[nn.Linear(2, 2) for _ in range(5)])
    outside = layers(x).tolist()
    assert checkpoint_sequential(layers, 2, x, use_reentrant=reentrant).tolist() == outside


def test_checkpoints_without_reentrance():
    lin, x = nn.Linear(2, 2), leaf(1.0, 1.0)
    out = checkpoint(lambda d, *, k: {"out": lin(d["in"]) * k}, {"in": tracer.ones(1, 2)}, k=3.0, use_reentrant=False)
    out["out"].sum().backward()
    assert lin.bias.grad.tolist() == [3, 3]
    w, calls = leaf(1.0, 1.0), []
    w.register_hook(lambda g: calls.append(1))
    checkpoint(lambda a: w * a, w * x, use_reentrant=False).sum().backward()
    assert (calls, w.grad.tolist()) == ([1], [2, 2])

    def constant(a):
        with tracer.no_grad():
            return a * 2

    assert not checkpoint(constant, x, use_reentrant=False).requires_grad
    inner = lambda a: checkpoint(lambda b: b.sin() * b, a, use_reentrant=False) * a
    (g,) = grad(checkpoint(lambda a: inner(inner(a)), x, use_reentrant=False).sum(), x, create_graph=True)
    plain = lambda a: a.sin() * a * a
    (h,) = grad(plain(plain(x)).sum(), x, create_graph=True)
    assert tracer.allclose(g, h)
    assert tracer.allclose(grad(g.sum(), x)[0], grad(h.sum(), x)[0])


def test_a_checkpoint_computes_again_after_a_pass_that_failed():
    runs, x = [], leaf(1.0, 2.0)

    def f(a):
        runs.append(1)
        b = a * a
        b.register_hook(fail)
        return b.sin() * b

    def fail(g):
        raise RuntimeError("not yet")

    z = checkpoint(f, x, use_reentrant=False).sum()
    for k in range(1, 9):
        with pytest.raises(RuntimeError, match="not yet"):
            z.backward(retain_graph=True)
        assert len(runs) == 1 + k


def test_checkpoints_whose_runs_differ():
    x = leaf(1.0, 2.0)
    runs = []

    def varying(first, then):
        def f(a):
            runs.append(1)
            return first(a) if len(runs) == 1 else then(a)

        runs.clear()
        return f

    square, cube = (lambda a: a * a), (lambda a: a * a * a)
    for first, then, message in [
        (square, lambda a: a * 1, "A different number of tensors was saved"),
        (square, lambda a: a[:1] * a[:1], "have different metadata"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            checkpoint(varying(first, then), x, use_reentrant=False).sum().backward()
    checkpoint(varying(square, cube), x, use_reentrant=False).sum().backward()
    with pytest.raises(CheckpointError, match="trying to save more tensors"), set_checkpoint_early_stop(False):
        checkpoint(varying(square, cube), x, use_reentrant=False).sum().backward()


def test_checkpoints_with_reentrance_are_limited():
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="incompatible with"):
        grad(checkpoint(tracer.exp, x, use_reentrant=True), x)
    with pytest.raises(RuntimeError, match="incompatible with"):
        checkpoint(tracer.exp, x, use_reentrant=True).backward(inputs=[x])
    with pytest.raises(ValueError, match="Unexpected keyword arguments: k"):
        checkpoint(tracer.exp, x, k=3, use_reentrant=True)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        checkpoint(tracer.exp, tracer.ones(1))
    assert [str(w.message)[:4] for w in seen] == ["chec", "None"]


# Traced functions as objects.


class Stepper:
    @tracer.trace
    def step(self, x):
        return x * 2


def test_traced_methods_are_methods():
    s = Stepper()
    assert s.step == s.step
    assert hash(s.step) == hash(s.step)
    assert s.step != Stepper().step
    assert s.step.__name__ == "step"
    assert s.step.__self__ is s
    assert s.step(tracer.ones(1)).tolist() == [2]


@tracer.trace
def doubled(x):
    return x * 2


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_traced_functions_are_copied_as_functions_are(again):
    assert again(doubled) is doubled
    model = tracer.trace(nn.Linear(2, 2))
    same = again(model)
    assert same(tracer.ones(2)).tolist() == model(tracer.ones(2)).tolist()
    holder = nn.Linear(2, 2)
    holder.act = doubled
    assert again(holder).act is doubled


def test_a_traced_model_has_the_models_attributes():
    model = nn.Dropout(0.5)
    traced = tracer.trace(model)
    assert traced.training
    model.eval()
    assert not traced.training
    assert traced(tracer.ones(3)).tolist() == [1, 1, 1]
    traced.train()
    assert model.training
    with pytest.raises(AttributeError):
        traced.nothing_of_the_kind  # noqa: B018


def test_hooks_on_all_modules():
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    x, seen = tracer.ones(1, 2, requires_grad=True), []
    traced = tracer.trace(lambda x: net(x).sum())
    plain = net(x)
    for _ in range(3):
        traced(x)
    kinds = type(net[0]).__name__, type(net[1]).__name__, type(net).__name__
    handles = [
        hooks.register_module_forward_pre_hook(lambda m, args: seen.append(("before", type(m).__name__))),
        hooks.register_module_forward_hook(lambda m, args, out: seen.append(("after", type(m).__name__))),
        hooks.register_module_full_backward_hook(lambda m, to, of: seen.append(("backward", type(m).__name__))),
    ]
    net[0].register_forward_hook(lambda m, args, out: seen.append(("own", type(m).__name__)))
    traced(x).backward()  # it replayed before
    forward = [("before", kinds[2]), ("before", kinds[0]), ("after", kinds[0]), ("own", kinds[0])]
    forward += [("before", kinds[1]), ("after", kinds[1]), ("after", kinds[2])]
    assert seen == [*forward, ("backward", kinds[1]), ("backward", kinds[0]), ("backward", kinds[2])]
    for handle in handles:
        handle.remove()
        handle.remove()
    seen.clear()
    with hooks.register_module_forward_hook(lambda m, args, kwargs, out: 2 * out if m is net else None, with_kwargs=True):
        assert tracer.equal(net(x), 2 * plain)
    seen.clear()
    assert tracer.equal(net(x), plain) and seen == [("own", kinds[0])]


def test_operations_are_counted():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5))
    x = tracer.randn(3, 2, 8, 8)
    convolution, layer = 2 * 3 * 4 * 36 * 2 * 9, 2 * 3 * 4 * 36 * 5
    traced = tracer.trace(net)
    for _ in range(3):
        with FlopCounterMode(display=False) as counter:
            traced(x)
        assert counter.get_total_flops() == convolution + layer
        counts = counter.get_flop_counts()
        assert sum(counts["Sequential.0"].values()) == convolution and sum(counts["Sequential.2"].values()) == layer
    assert "Sequential.2" in counter.get_table() and "100.00%" in counter.get_table()


def test_hooks_around_states_of_optimizers():
    p = tracer.ones(2, requires_grad=True)
    optimizer, seen = tracer.optim.SGD([p], lr=0.1, momentum=0.9), []
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("saving"))
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "note": 1})
    optimizer.register_state_dict_post_hook(lambda o, state: seen.append("first"), prepend=True)
    handle = optimizer.register_load_state_dict_pre_hook(lambda o, state: seen.append(state["note"]))
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded"))
    state = optimizer.state_dict()
    assert seen == ["saving", "first"] and state["note"] == 1
    optimizer.load_state_dict(state)
    handle.remove()
    optimizer.load_state_dict(state)
    assert seen[2:] == [1, "loaded", "loaded"]


def test_gradients_that_hooks_and_functions_keep_do_not_change():
    kept, returned = [], []

    class Twice(tracer.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            returned.append(g * 2)
            return returned[-1]

    for leaf, loss in ((tensor([1.0], requires_grad=True), lambda x: x * 2), (tensor([1.0], requires_grad=True), Twice.apply)):
        leaf.register_hook(kept.append)
        for _ in range(3):
            loss(leaf).backward()
        assert leaf.grad.item() == 6.0
    both = tensor([1.0], requires_grad=True)
    graph.register_multi_grad_hook((both,), lambda gradients: kept.append(gradients[0]))
    (both * 2).backward()
    (both * 2).backward()
    assert [g.item() for g in (*kept, *returned)] == [2.0] * 11


def test_forward_hooks_after_errors():
    class Fails(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    calls = []
    module = Fails()
    module.register_forward_hook(lambda *args: calls.append("never"))
    handle = module.register_forward_hook(lambda m, args, out: calls.append(out), always_call=True)
    with pytest.raises(ValueError, match="no"):
        module(tensor(1.0))
    handle.remove()
    with pytest.raises(ValueError, match="no"):
        module(tensor(1.0))
    works = nn.Identity()
    works.register_forward_hook(lambda m, args, out: calls.append(out.item()), always_call=True)
    works(tensor(2.0))
    assert calls == [None, 2.0]


def test_errors_of_forward_hooks_after_errors():
    class Fails(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    def hook(*args):
        raise KeyError("hook")

    module = Fails()
    for register in (module.register_forward_hook, hooks.register_module_forward_hook):
        handle = register(hook, always_call=True)
        with pytest.warns(UserWarning, match="KeyError"), pytest.raises(ValueError, match="no"):
            module(tensor(1.0))
        handle.remove()
    with warnings.catch_warnings(), pytest.raises(ValueError, match="no"):
        warnings.simplefilter("error")
        module(tensor(1.0))


def test_a_removed_hook_is_freed():
    module = nn.Identity()
    for register in (module.register_forward_hook, hooks.register_module_forward_hook):

        def hook(*args): ...

        known = weakref.ref(hook)
        register(hook, always_call=True).remove()
        del hook
        gc.collect()
        assert known() is None
