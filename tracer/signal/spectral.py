"""Short-time Fourier transforms and their inverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import fft
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ops import pointwise as F
from ..ops import shape as S
from ..ops.complex import view_as_complex, view_as_real
from ..ops.offering import offer

__all__ = ["istft", "stft"]


def _window(name: str, window: Tensor | None, win_length: int, n_fft: int, like: Tensor) -> Tensor:
    """The window, by default ones, padded with zeros to ``n_fft``."""
    if window is None:
        w = P.full(value=1, shape=(win_length,), dtype=like.dtype.real.short)
    elif window.ndim != 1 or window._data.shape[0] != win_length:
        raise RuntimeError(
            f"{name} expected a 1D window tensor of size equal to win_length={win_length}, but got window with size "
            f"{list(window.shape)}"
        )
    else:
        w = window
    left = (n_fft - win_length) // 2
    return S.pad(w, (left, n_fft - win_length - left)) if win_length < n_fft else w


def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """The spectra of windows of a signal (T) or signals (N, T): (N, frequencies, windows), complex.

    Windows of ``n_fft`` samples, ``hop_length`` apart (default n_fft / 4), are multiplied by ``window``, of length
    ``win_length``. ``center``: the signal is padded by half a window at both ends. ``normalized``: divided by the square
    root of ``n_fft``. ``onesided`` (default for real signals and windows): the non-redundant half of the frequencies.
    Without ``return_complex`` (required for real signals) the parts are a last axis. Raises RuntimeError for other shapes
    and lengths.
    """
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    complex_ = input.is_complex() or (window is not None and window.is_complex())
    if return_complex is None:
        if not complex_:
            raise RuntimeError("stft requires the return_complex parameter be given for real inputs")
        return_complex = True
    if center and align_to_window is not None:
        raise RuntimeError("stft align_to_window should only be set when center = false")
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError(f"stft expected a tensor of floating point or complex values, but got {input.dtype}")
    if input.ndim not in (1, 2):
        raise RuntimeError(f"stft expected a 1D or 2D tensor, but got {input.ndim}D tensor")
    x = S.unsqueeze(input, 0) if input.ndim == 1 else input
    if center:
        from ..nn.functional import pad

        amount = n_fft // 2
        x = S.squeeze(pad(S.unsqueeze(x, 1), (amount, amount), mode=pad_mode), 1)
    extent = x._data.shape[1]
    if not 0 < n_fft <= extent:
        raise RuntimeError(f"stft expected 0 < n_fft < {extent}, but got n_fft={n_fft}")
    if hop <= 0:
        raise RuntimeError(f"stft expected hop_length > 0, but got hop_length={hop}")
    if not 0 < length <= n_fft:
        raise RuntimeError(f"stft expected 0 < win_length <= n_fft, but got win_length={length}")
    sided = not complex_ if onesided is None else onesided
    if sided and complex_:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    frames = P.windows(x, size=(n_fft,), stride=(hop,), dilation=(1,))
    frames = S.transpose(frames, 1, 2)
    frames = F.mul(frames, _window("stft", window, length, n_fft, input))
    norm = "ortho" if normalized else None
    spectrum = fft.rfft(frames, dim=-1, norm=norm) if sided else fft.fft(frames, dim=-1, norm=norm)
    out = S.transpose(spectrum, 1, 2)
    out = S.squeeze(out, 0) if input.ndim == 1 else out
    return out if return_complex else view_as_real(out)


def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal whose ``stft`` (N, frequencies, windows) is closest: the sum of the windows divided by the sum of their
    squares (Griffin, Lim 1984).

    ``length``: of the signal, truncated or padded with zeros. Raises RuntimeError for shapes that do not fit, and windows
    whose squares have gaps.
    """
    hop = n_fft // 4 if hop_length is None else hop_length
    size = n_fft if win_length is None else win_length
    if not input.is_complex():
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True."
        )
    if input.ndim not in (2, 3):
        raise RuntimeError(f"istft expected a tensor with 2 or 3 dimensions, but got {input.ndim}")
    if input.numel() == 0:
        raise RuntimeError("istft input tensor cannot be empty.")
    x = S.unsqueeze(input, 0) if input.ndim == 2 else input
    _, bins, frames = x._data.shape
    sided = bins != n_fft if onesided is None else onesided
    expected = n_fft // 2 + 1 if sided else n_fft
    if bins != expected:
        raise RuntimeError(
            f"istft expected the frequency dimension (3rd to the last) of the input tensor to match n_fft"
            f"{' / 2 + 1' if sided else ''} when onesided={sided}, but got {bins}"
        )
    if not 0 < hop <= size:
        raise RuntimeError(f"istft expected 0 < hop_length <= win_length, but got hop_length={hop}, win_length={size}")
    if not 0 < size <= n_fft:
        raise RuntimeError(f"istft expected 0 < win_length <= n_fft, but got win_length={size}")
    if return_complex and sided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    w = _window("istft", window, size, n_fft, input)
    norm = "ortho" if normalized else None
    x = S.transpose(x, 1, 2)
    if return_complex:
        parts = fft.ifft(x, dim=-1, norm=norm)
    else:  # the negative frequencies are the conjugates of the others
        parts = fft.irfft(S.narrow(x, -1, 0, n_fft // 2 + 1), n_fft, dim=-1, norm=norm)
    parts = F.mul(parts, w)
    whole = n_fft + hop * (frames - 1)
    signal = _overlapped(parts, hop, whole)
    squares = S.expand(S.reshape(F.square(w), (1, 1, n_fft)), (1, frames, n_fft))
    envelope = _overlapped(squares, hop, whole)
    start = n_fft // 2 if center else 0
    stop = start + length if length is not None else whole - (n_fft // 2 if center else 0)
    have = min(stop, whole) - start
    signal, envelope = S.narrow(signal, 1, start, have), S.narrow(envelope, 1, start, have)
    smallest = F.abs(envelope)._observed("istft")
    if smallest.size and not smallest.min() > 1e-11:
        raise RuntimeError("window overlap add min: 1")
    out = F.div(signal, envelope)
    if stop - start > have:
        out = S.pad(out, (0, stop - start - have))
    return S.squeeze(out, 0) if input.ndim == 2 else out


def _overlapped(parts: Tensor, hop: int, whole: int) -> Tensor:
    """The sum (N, whole) of parts (N, frames, n) that begin ``hop`` apart."""
    batch, frames, n = parts._data.shape
    rows, columns = (P.iota(shape=(frames, n), axis=k, dtype="i64") for k in (0, 1))
    places = S.reshape(F.add(F.mul(rows, hop), columns), (-1,))
    flat = S.reshape(parts, (batch, frames * n))
    if flat.is_complex():
        pair = S.permute(view_as_real(flat), (0, 2, 1))
        added = P.index_add(pair, places, axis=2, extent=whole)
        return view_as_complex(S.contiguous(S.permute(added, (0, 2, 1))))
    return P.index_add(flat, places, axis=1, extent=whole)


if not TYPE_CHECKING:  # a type checker uses the definitions above
    offer(globals(), __all__)
