"""A table of all operations that move elements, with PyTorch's recorded behaviour: which of them return views.

python tests/movements.py      # with PyTorch installed: records anew into movements.json
"""

import itertools
import json
from pathlib import Path

FILE = Path(__file__).with_name("movements.json")

# Inputs by name.
INPUTS = {
    "matrix": lambda lib: lib.arange(12.0).reshape(3, 4),
    "transposed": lambda lib: lib.arange(12.0).reshape(4, 3).t(),
    "vector": lambda lib: lib.arange(6.0),
    "steps": lambda lib: lib.arange(12.0)[::2],
    "number": lambda lib: lib.tensor(2.5),
    "cube": lambda lib: lib.arange(24.0).reshape(2, 3, 4),
    "row": lambda lib: lib.arange(4.0).reshape(1, 4),
    "one": lambda lib: lib.arange(1.0).reshape(1, 1),
    "none": lambda lib: lib.zeros(0, 3),
    "image": lambda lib: lib.arange(16.0).reshape(1, 4, 2, 2),
    "expanded": lambda lib: lib.arange(3.0).reshape(3, 1).expand(3, 4),
    "complex": lambda lib: lib.complex(lib.arange(6.0), lib.arange(6.0) + 1).reshape(2, 3),
    "complex_transposed": lambda lib: lib.complex(lib.arange(6.0), lib.arange(6.0) + 1).reshape(2, 3).t(),
    "pairs": lambda lib: lib.arange(12.0).reshape(3, 2, 2),
}

# Expressions in the input ``x`` and the library, for each of the named inputs, separated by semicolons.
OPERATIONS = {
    "matrix transposed": """
        x[0]; x[:, 1]; x[1:]; x[:, ::2]; x[...]; x[:]; x[None]; x[..., None, :]; x[0, 1]; x[2:2]; x[-1, 1:3]; x[True];
        x[None, True]; x[lib.tensor([0, 1])]; x[[0, 2]]; x[x > 2]; x[0, lib.tensor([1])]; x[lib.tensor(1)]; x.view(3, 4);
        x.reshape(3, 4); x.reshape(4, 3); x.reshape(-1); x.reshape(2, 6); x.reshape(3, 2, 2); x.view(3, 2, 2); x.view(-1);
        x.view_as(x); x.reshape_as(lib.ones(12)); x.flatten(); x.flatten(0, 0); x.ravel(); x.t(); x.T; x.mT; x.H; x.adjoint();
        x.transpose(0, 1); x.transpose(0, 0); x.permute(1, 0); x.permute(0, 1); x.swapaxes(0, 1); x.swapdims(0, 1);
        x.movedim(0, 1); x.moveaxis(0, -1); x.squeeze(); x.squeeze(0); x.unsqueeze(0); x.unsqueeze(-1); x.narrow(0, 1, 2);
        x.narrow(1, 0, 0); x.select(0, 1); x.select(1, -1); x.diagonal(); x.diagonal(1); x.diagonal(-1, 1, 0); x.diagonal(9);
        lib.diagonal(x[:, :3]); lib.diagonal(x[:, ::2]); lib.linalg.diagonal(x); lib.diag(x); x.split(2)[0];
        x.split([1, 2])[1]; x.chunk(2)[1]; x.chunk(1)[0]; x.unbind()[1]; x.unbind(1)[0]; x.tensor_split(2)[0];
        x.tensor_split((1,))[1]; x.hsplit(2)[0]; x.vsplit(3)[2]; list(x)[1]; x.unflatten(1, (2, 2)); x.unfold(1, 2, 1);
        x.unfold(1, 2, 2); x.unfold(0, 3, 1); x.unfold(0, 0, 1); x.as_strided((2, 2), (4, 1));
        x.as_strided((2, 2), (4, 1), 1); x.as_strided((), ()); x.expand(3, 4); x.expand(2, 3, 4); x.expand(-1, 4);
        x.expand_as(x); x.broadcast_to((2, 3, 4)); lib.broadcast_tensors(x, x)[0]; x.detach(); x.data; x.view(lib.int32);
        x.view(lib.float32); x.positive(); +x; x.contiguous(); x.clone(); x.to(lib.float32); x.to(lib.float64);
        x.to(lib.float32, copy=True); x.float(); x.type_as(x); x.cpu(); x.real; x.conj(); x.resolve_conj(); x.resolve_neg();
        x.conj_physical(); x.sum_to_size(3, 4); x.sum_to_size(1, 4); x.repeat(1, 1); x.repeat(2, 1); x.tile((1,));
        x.repeat_interleave(1); x.repeat_interleave(1, 0); x.roll(0); x.roll(1, 0); x.rot90(0); x.rot90(1); x.flip(0);
        x.flip(()); x.fliplr(); lib.cat([x]); lib.cat([x, x[:0]]); lib.stack([x]); lib.hstack([x]); lib.vstack([x]);
        lib.dstack([x]); lib.column_stack([x]); lib.atleast_1d(x); lib.atleast_2d(x); lib.atleast_3d(x); lib.block_diag(x);
        x.tril(9); x.triu(-9); x.index_select(0, lib.arange(3)); x.gather(0, lib.zeros(3, 4, dtype=lib.int64));
        x.take(lib.arange(12)); lib.take_along_dim(x, lib.zeros(3, 4, dtype=lib.int64), 0); x.masked_select(x > -1);
        x.masked_fill(x < -1, 0); lib.where(x > -1, x, x); x.sort(0)[0]; x.clamp(min=-9); x.sum(0);
        lib.meshgrid(x[0], x[1], indexing='ij')[0]; lib.nn.functional.pad(x, (0, 0));
        lib.nn.functional.pad(x, (0, 0, 0, 0), value=1.0); lib.nn.functional.dropout(x, 0.0);
        lib.nn.functional.dropout(x, 0.5, False); lib.nn.Identity()(x); lib.nn.Flatten(0)(x);
        lib.select_scatter(x, x[0], 0, 0); lib.slice_scatter(x, x[:1], 0, 0, 1); lib.diagonal_scatter(x, x.diagonal());
        lib.diag_embed(x); x.nan_to_num(); x.squeeze((0, 1)); x.abs(); lib.einsum('ij->ji', x); lib.einsum('ij->ij', x);
        lib.swapaxes(x, 0, 1); x.mul(1)
    """,
    "vector steps": """
        x[2]; x[::3]; x.view(2, 3); x.reshape(3, 2); x.t(); x.unfold(0, 2, 1); x.unfold(0, 6, 1); x[1:][1:]; x.expand(2, 6);
        x.repeat(1); x.repeat(2, 1); x.tile(1); x.tile(2); x.hsplit(2)[1]; x.split(6)[0]; x.chunk(1)[0]; x.unsqueeze(1);
        x.flatten(); lib.atleast_2d(x); lib.atleast_3d(x); lib.cartesian_prod(x); lib.diag(x); lib.diagflat(x);
        x.view(lib.int32); x.view(lib.int64); x.view(lib.float16); x.view(lib.uint8); x.view(lib.complex64); x.movedim(0, 0);
        lib.combinations(x, 1); x.narrow(0, 2, 3); lib.meshgrid(x, indexing='ij')[0]; x.as_strided((3,), (2,));
        x.as_strided((2, 2), (1, 1)); x.unflatten(0, (2, 3)); x.contiguous(); x.roll(6); x.index_select(0, lib.arange(6));
        x.unbind()[2]
    """,
    "number": """
        x[None]; x[...]; x[()]; x[True]; x.view(1); x.view(()); x.reshape(1, 1); x.reshape(()); x.t(); x.squeeze();
        x.unsqueeze(0); x.expand(3); x.expand(()); x.flatten(); x.ravel(); x.unfold(0, 1, 1); x.unfold(0, 0, 1); x.repeat(1);
        x.repeat(()); x.tile(()); x.permute(()); x.movedim(0, 0); x.transpose(0, 0); lib.atleast_1d(x); lib.atleast_2d(x);
        x.contiguous(); x.view(lib.int32); x.repeat_interleave(1); x.flip(()); x.roll(0); x.sum(); x.sum(0);
        x.sum_to_size(()); x.as_strided((2,), (0,)); x.broadcast_to((2, 2)); x.detach(); x.cumsum(0); x.max(); x.squeeze(0)
    """,
    "cube": """
        x[0]; x[:, 0]; x[..., 0]; x[:, 1:, ::2]; x[0, :, 1]; x.permute(2, 0, 1); x.permute(2, 0, 1).reshape(-1);
        x.permute(1, 2, 0).flatten(0, 1); x.flatten(1); x.flatten(0, 1); x.view(6, 4); x.mT; x.mH; x.adjoint();
        x.movedim((0, 1), (1, 0)); x.diagonal(0, 1, 2); x.diagonal(0, 2, 0); x.diagonal(-1, 0, 2);
        x.transpose(0, 2).diagonal(1, 0, 1); lib.linalg.diagonal(x); lib.linalg.diagonal(x, offset=1, dim1=0); x.dsplit(2)[0];
        x.unfold(2, 2, 1); x.unfold(1, 2, 1).unfold(2, 3, 1); x.permute(2, 0, 1).unfold(0, 2, 2);
        x.select(1, 0).narrow(1, 1, 2); x.expand(3, 2, 3, 4); lib.atleast_3d(x); x.transpose(0, 1).reshape(6, 4);
        x.transpose(1, 2).reshape(2, 12); x[:, :, :2].reshape(6, 2); x[:, :2].reshape(2, 8); x[:, :2].view(2, 8); x.squeeze();
        x.unflatten(2, (2, 2)); x.unbind(2)[1].t(); x.as_strided((2, 4), (12, 1), 4); x[1].as_strided((2, 2), (1, 3));
        lib.nn.functional.pad(x, (0, 0), mode='replicate'); lib.nn.functional.pad(x, (0, 0), mode='reflect');
        lib.nn.functional.pad(x, (0, 0), mode='circular'); lib.nn.functional.pad(x, (0, 0));
        lib.nn.functional.pad(x, (-1, 0)); lib.nn.functional.pad(x, (0, -1, -1, 0)); lib.nn.functional.max_pool1d(x, 1);
        lib.nn.functional.avg_pool1d(x, 1); lib.nn.functional.adaptive_avg_pool1d(x, 4); x.repeat(1, 1, 1);
        x.permute(0, 2, 1).contiguous(); x.repeat_interleave(1, 1); lib.einsum('ijk->kij', x);
        lib.tensordot(x, lib.ones(()), 0); x.swapaxes(0, 2)[1]; x.view(lib.int16); x.view(lib.float64);
        x.permute(2, 0, 1).view(lib.int32)
    """,
    "row one": """
        x.squeeze(); x.squeeze(0); x.squeeze(1); x.squeeze((0, 1)); x.expand(3, -1); x.expand(2, 1, -1); x.t();
        x.t().contiguous(); x.t().reshape(-1); x.flatten(); x.repeat(1, 1); x.repeat(2, 1); x.repeat(1, 2); x.repeat(2, 3, 1);
        x.tile((1, 1)); x.repeat_interleave(1, 0); x.repeat_interleave(2, 0); x.sum(0); x.sum(0, keepdim=True); x.mean(0);
        x.amax(0); x.prod(0); x.cumsum(0); x.unfold(0, 1, 1); x.roll(1, 0); x.flip(0); x.broadcast_to((4, x.shape[1]));
        x.unbind(0)[0]; x.chunk(1)[0]; x.diagonal(); x.movedim(0, 1); lib.broadcast_tensors(x, lib.ones(3, 1))[0];
        lib.kron(x, lib.ones(1, 1)); x.max(0)[0]; x.logsumexp(0); lib.cat([x], 0); x.sort(0)[0];
        x.index_select(0, lib.tensor([0])); x.median(0)[0]; x.topk(1, 0)[0]
    """,
    "none": """
        x[0:]; x[:, 0]; x.view(3, 0); x.reshape(-1); x.reshape(0, 5); x.t(); x.flatten(); x.unsqueeze(0); x.expand(2, 0, 3);
        x.repeat(2, 1); x.unbind(1)[0]; x.chunk(2)[0]; x.contiguous(); x.flip(0); x.narrow(0, 0, 0); x.diagonal(); x.detach();
        x.clone(); x.squeeze()
    """,
    "image": """
        lib.nn.functional.pixel_shuffle(x, 1); lib.nn.functional.pixel_shuffle(x, 2); lib.nn.functional.pixel_unshuffle(x, 1);
        lib.nn.functional.pixel_unshuffle(x, 2); lib.nn.functional.channel_shuffle(x, 1);
        lib.nn.functional.channel_shuffle(x, 2); lib.nn.functional.pad(x, (0, 0, 0, 0), mode='replicate');
        lib.nn.functional.pad(x, (0, 0, 0, 0), mode='reflect'); lib.nn.functional.pad(x, (0, 0, 0, 0), mode='circular');
        lib.nn.functional.unfold(x, 1); lib.nn.functional.unfold(x, 2); lib.nn.functional.interpolate(x, scale_factor=1);
        lib.nn.functional.interpolate(x, size=(2, 2), mode='bilinear'); lib.nn.functional.max_pool2d(x, 1);
        lib.nn.functional.avg_pool2d(x, 1); lib.nn.functional.adaptive_avg_pool2d(x, 2);
        lib.nn.functional.adaptive_max_pool2d(x, 2); lib.nn.functional.lp_pool2d(x, 1, 1);
        lib.nn.functional.dropout2d(x, 0.0); lib.nn.PixelShuffle(1)(x); lib.nn.Unflatten(1, (2, 2))(x);
        lib.nn.ZeroPad2d(0)(x); lib.nn.functional.fold(x.reshape(1, 4, 4), (2, 2), 1)
    """,
    "expanded": """
        x[0]; x[:, 0]; x[:, :1]; x.t(); x.reshape(-1); x.flatten(); x.clone(); x.contiguous(); x.view(3, 4); x.view(3, 2, 2);
        x.expand(2, 3, 4); x.diagonal(); x.unfold(1, 2, 1); x.detach(); x.as_strided((3,), (1,)); x.sum_to_size(3, 4);
        x.to(lib.float32); x.to(lib.float32, copy=True); x.repeat(1, 1); x.unbind(1)[0]; x.select(1, 2); x.squeeze();
        x.view(lib.int32)
    """,
    "complex complex_transposed": """
        x.real; x.imag; lib.real(x); lib.imag(x); x.conj(); x.conj().conj(); x.conj()[0]; x[0].conj(); x.conj().t(); x.H;
        x.mH; x.adjoint(); x.conj().real; x.conj().imag; x.conj().imag[0]; x.conj().reshape(-1);
        x.conj().view(2, 3) if x.is_contiguous() else x.conj().view(3, 2); x.conj().detach(); x.conj().data; x.conj().clone();
        x.conj().contiguous(); x.conj().resolve_conj(); x.conj().imag.resolve_neg(); x.resolve_conj(); x.conj_physical();
        lib.view_as_real(x); lib.view_as_complex(lib.view_as_real(x)); lib.view_as_real(x)[..., 0];
        x.conj().to(lib.complex64); x.conj().to(lib.complex128); +x.conj(); x.conj() + 0; -x.conj(); x.conj().diagonal();
        x.conj().expand(2, *x.shape); x.conj().unfold(1, 2, 1); x.conj().as_strided((2,), (1,)); x.conj().squeeze();
        x.conj().T.conj(); x.real.real; x.angle(); x.abs(); lib.complex(x.real, x.imag); x.t(); x.clone(); x.reshape(-1);
        x.view(lib.float32); x.view(lib.complex64); x.conj().unsqueeze(0); x.conj().chunk(2)[0]; x.conj().unbind()[0];
        x.conj().split(1)[1].conj(); x.imag.view(lib.int32)
    """,
    "pairs": """
        lib.view_as_complex(x); lib.view_as_complex(x[0]); lib.view_as_complex(x).real; lib.view_as_complex(x).conj().imag;
        lib.view_as_complex(x[::2]); lib.view_as_complex(x.transpose(0, 1)); lib.view_as_complex(x[:, :1]);
        lib.view_as_complex(x)[0, 0]; x.view(lib.complex64)
    """,
}

CASES = [(name, text.strip()) for names, texts in OPERATIONS.items() for name in names.split() for text in texts.split(";")]


def weights(lib, y):
    return lib.arange(1.0, y.numel() + 1).reshape(y.shape)


def attempt(function, *args):
    """A result, or the name of the exception."""
    try:
        return function(*args)
    except (RuntimeError, IndexError, NotImplementedError) as e:
        return type(e).__name__


def scenarios(lib, text):
    """Functions of a leaf: each computes the input ``x`` from it, moves it to ``y``, and does something to either."""
    moved = eval(f"lambda x: {text}", {"lib": lib})

    def size(y):
        return y.abs() if y.is_complex() else y

    def plain(leaf):
        y = size(moved(leaf * 1))
        return (y * weights(lib, y)).sum()

    def written_through(leaf):  # the result is overwritten
        x = leaf * 1
        with lib.no_grad():
            moved(x).fill_(3)
        return x.detach().resolve_conj()

    def seen_through(leaf):  # the input is overwritten
        with lib.no_grad():
            x = leaf * 1
            y = moved(x)
            x.fill_(7)
        return y.resolve_conj().resolve_neg()

    def result_changed(leaf):
        x = leaf * 1
        moved(x).mul_(2)
        return (size(x) * weights(lib, x)).sum()

    def input_changed(leaf):
        x = leaf * 1
        y = moved(x)
        x.mul_(3)
        return (size(y) * weights(lib, y)).sum()

    return [plain, written_through, seen_through, result_changed, input_changed]


def numbers(x):
    if isinstance(x, str):
        return x
    flat = x.detach().reshape(-1).tolist()
    parts = [v for z in flat for v in (z.real, z.imag)] if x.is_complex() else [float(v) for v in flat]
    return [int(v) if v == v // 1 and abs(v) < 1e9 else v for v in parts]


def kind(lib, name, text):
    """Whether the result is the input, whether it is a view, its shape, and its strides along axes with more than one
    element.
    """
    x = INPUTS[name](lib)
    y = attempt(eval, text, {"x": x, "lib": lib})
    if isinstance(y, str):
        return [y] * 4
    strides = [s for s, n in zip(y.stride(), y.shape, strict=True) if n > 1 and y.numel()]
    return [y is x, y._base is not None and y._base is (x if x._base is None else x._base), list(y.shape), strides]


def results(lib, name, text, trace=lambda f: f, runs=1):
    """The result of each scenario, and its gradient if differentiable, for each of several runs."""
    leaf = INPUTS[name](lib).detach().requires_grad_()
    found = []
    functions = [trace(f) for f in scenarios(lib, text)]
    for _ in range(runs):
        seen = []
        for f in functions:
            y = attempt(f, leaf)
            seen.append(numbers(y))
            if not isinstance(y, str) and y.requires_grad and y.ndim == 0:
                g = attempt(lib.autograd.grad, y, leaf)
                seen.append(numbers(g if isinstance(g, str) else g[0].resolve_conj()))
        found.append(seen)
    return found


def overlap(y):
    """True if elements share memory."""
    places = [sum(i * s for i, s in zip(index, y.stride(), strict=True)) for index in itertools.product(*map(range, y.shape))]
    return len(set(places)) < len(places)


def recorded(lib, name, text):
    """The recorded data, with None for unspecified results."""
    y = attempt(eval, text, {"x": INPUTS[name](lib) * 1, "lib": lib})
    (found,) = results(lib, name, text)
    if len(found) == 8:
        if found[7] == "RuntimeError":  # PyTorch saved a changed tensor that is not needed
            found[7] = None
        if overlap(y):  # an in-place operation on elements that share memory
            found[4] = found[5] = None
    return [kind(lib, name, text), found]


def record():
    import torch

    compact = (",", ":")
    lines = [
        f"{json.dumps(f'{name}: {text}')}:{json.dumps(recorded(torch, name, text), separators=compact)}" for name, text in CASES
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    record()
