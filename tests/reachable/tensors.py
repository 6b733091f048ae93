"""Tensors and arrays."""

from . import thing

thing(
    "tensors",
    """
    t, u, w = T(), T(0.3, 0.6), T(0.2, 0.7).requires_grad_()
    t.tag = 1.5
    view = t[1:]
""",
    "attribute t tag\nattribute view tag",
    """
    x + t
    x * t.sum()
    x * w
    (x * w).sin() + u
    x * t.stride(0)
    x * (2.0 if t.is_contiguous() else 3.0)
    x * (2.0 if t.requires_grad else 3.0)
    x * (2.0 if t.grad is None else 3.0)
    x + (0.0 if w.grad is None else w.grad)
    x * (2.0 if t is u else 3.0)
    x * (2.0 if t.data_ptr() == u.data_ptr() else 3.0)
    x * (2.0 if t.is_leaf else 3.0)
    x * t.dim() * len(t)
    x * (2.0 if t.dtype is f64 else 3.0)
    x * (2.0 if hasattr(t, "extra") else 3.0)
    x * t._version
    x * t[0, 0].item()
    x * (2.0 if t.sum() > 3.1 else 3.0)
    x * float(t.numpy().sum())
    x + view * 2
    x * (2.0 if view._base is t else 3.0)
    x.add_(u) + t
    x + u.mul_(0.9) + t
    x * len(str(t))
    x * t.storage_offset() + t.T.contiguous().T
    x * (2.0 if x is t else 3.0)
    x.to(t.dtype) + t.to(x.dtype)
    x + t.view(-1)[0]
    x * (2.0 if t.grad_fn is None else 3.0)
    x * type(t).__name__.__len__()
    x + t.numel() * w.detach()
    tracer.stack([t, x]).sum(0)
    x * (2.0 if w.is_leaf and w.requires_grad else 3.0)
    tracer.autograd.grad((x * w).sum(), w)[0] + x
    x * t.data
""",
    """
    t.add_(1)
    t.mul_(0.5)
    t.data = T(0.5, 0.6)
    t.data = u
    t.data = t.data.float()
    t.data = t.data.T.contiguous().T
    t.data = t.data[:, :1]
    t.data.mul_(2)
    t.detach().fill_(0.3)
    t.numpy()[0] = 2
    t[0] = 0.25
    t.requires_grad_()
    t.requires_grad_(False)
    t.requires_grad = True
    t = t.clone()
    t = t.detach()
    t = t.T.contiguous().T
    t = T(0.1, 0.9)
    t = t.float()
    t = u
    t = u[:1]
    t = w
    t = w * 2
    t = (w * 2).detach()
    t, u = u, t
    t = u.view(2, 3)
    t.t_()
    t.unsqueeze_(0)
    t.resize_(1, 3)
    t = tracer.as_strided(T(shape=(12,)), (2, 3), (4, 1))
    t = tracer.as_strided(T(shape=(12,)), (2, 3), (1, 2))
    t = T(shape=(3, 2)).T
    t = T(shape=(1, 3)).expand(2, 3)
    t.grad = T(0.1, 0.2)
    t.grad = None
    w.grad = None
    w.grad = T(0.3, 0.2)
    w.grad.mul_(2)
    w.register_hook(lambda g: g * 2)
    w.requires_grad_(False)
    w.data.add_(1)
    w.data = w.data * 2
    w = nn.Parameter(w.detach())
    w = w.detach().clone().requires_grad_()
    w = (w * 1.5)
    w.tag = 3
    t.extra = 3
    del t.extra
    view = t[:1]
    view = view.clone()
    view.mul_(3)
    view.data = T(shape=(1, 3))
    u.copy_(t)
    u = t
    u.zero_()
    u.requires_grad_()
    t.set_(u)
    t = nn.Parameter(t)
    t = np.asarray([[0.5, 1.0, 2.0]])
    t = 2.5
    (w * 1).sum().backward()
    w.retain_grad()
    t.__class__ = type("Tensor2", (tracer.Tensor,), {})
    t = t.to(tracer.int64)
""",
    """
    t.add_(1)
    t = t * 0.5 + x.detach()
    w.grad = None
    (x * w).sum().backward()
    u.copy_(x.detach())
    t.tag = k
    view.mul_(0.5)
    t.requires_grad_()
    w.data.mul_(0.5)
    w.data = w.data * 0.9
""",
)
thing(
    "arrays",
    """
    a, b = np.linspace(0.1, 0.9, 6).reshape(2, 3), np.linspace(0.3, 0.4, 6).reshape(2, 3)
    scalar, shared = np.float64(1.5), np.linspace(0.2, 0.5, 6).reshape(2, 3)
    on_array = tracer.from_numpy(shared)
""",
    "variable - scalar",
    """
    x + tracer.from_numpy(a)
    x * float(a.sum())
    x * a.shape[1]
    x + tracer.tensor(a)
    x + tracer.as_tensor(b)
    x + on_array
    x * np.sum(a * b)
    x * (2.0 if a is b else 3.0)
    x * a[0, 1]
    x * (2.0 if a.dtype == np.float64 else 3.0)
    x * (2.0 if a.flags.c_contiguous else 3.0)
    x * np.cbrt(shared)
    x * np.cbrt(0.5)
    x * float(np.mean(shared))
    x * np.average(shared)
""",
    """
    a[0] = 2
    a += 1
    a = a.copy()
    a = a.T.copy().T
    a = a.astype(np.float32)
    a = b
    a = a[:1]
    a.shape = (3, 2)
    a.shape = (2, 3)
    a.fill(0.5)
    a, b = b, a
    b[:] = a
    b = shared
    shared[0, 0] = 3
    shared *= 2
    on_array.mul_(2)
    on_array = tracer.from_numpy(a)
    on_array.data = T()
    a.flags.writeable = False
    a.flags.writeable = True
    np.cbrt = lambda values: 0.25
    np.average = np.sum
    a = np.asfortranarray(a)
    a = np.broadcast_to(np.float64(2.0), (2, 3))
    a = [[0.5, 1.0, 2.0]] * 2
    b = np.float64(2)
    np.add.at(a, 0, 1)
    a.view(np.int64)[0, 0] += 1
""",
    "a[0] = a[0] * 0.5\na += 0.5\nscalar = scalar + 1\na = a * 0.9",
)
