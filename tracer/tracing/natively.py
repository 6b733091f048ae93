"""Native forms of a traced function."""

from __future__ import annotations

from typing import Any


class Native:
    """The methods of traced functions for Numba and C."""

    __slots__ = ()

    def numba(self, *example_inputs: Any) -> Any:
        """This function for Numba: an object that ``@njit`` functions, and Python, call like any function on arrays.

            density = log_density.numba(np.zeros(3))

            @numba.njit
            def sample(x): ... density(x) ...

        A call needs neither Python nor the GIL; any number of threads may call concurrently, including those of ``prange``.

        The function is run once on the examples, and that run is compiled. Tensors, NumPy arrays and NumPy scalars become
        parameters with their shapes and dtypes; a Python float becomes a float64 parameter. An int, bool, string or None is
        a constant: calls do not pass it. The result is a tensor or a possibly nested tuple of tensors; zero-dimensional
        ones become scalars, others new arrays.

        A wrong dtype or rank raises Numba's TypingError, a wrong shape ValueError. Errors of the function (a position out
        of range, an integer division by zero) are raised with the same message.

        Captured tensors are read from their memory. Later calls see in-place changes, but not that a name or ``.data``
        refers to another tensor; call ``numba`` again in that case.

        Raises NotImplementedError for random numbers, changes of arguments or captured tensors, control flow on values, and
        operations that NumPy computes; TypeError for examples or results of other kinds.

        The object lives as long as the process, because compiled code refers to it. The same examples give the same object.
        """
        from ..interop.numba_functions import numba_function  # imports Numba

        traced: Any = self
        return numba_function(traced, example_inputs)

    def numba_value_and_grad(self, *example_inputs: Any, argnums: int | tuple[int, ...] = 0) -> Any:
        """Like ``numba``, for the function's value and its gradient: a call returns the pair of both.

            value_and_grad = log_density.numba_value_and_grad(np.zeros(3))
            value, gradient = value_and_grad(np.ones(3))

        The function must return one floating-point scalar (else TypeError). ``argnums`` is the position of the example with
        respect to which the gradient is computed; a tuple of positions gives a tuple of gradients. They have the arguments'
        shapes and dtypes, and are zero if the value does not depend on an argument. A position of an argument that is not
        floating-point raises TypeError, a missing position ValueError.
        """
        from ..interop.numba_functions import numba_value_and_gradient  # imports Numba

        traced: Any = self
        return numba_value_and_gradient(traced, example_inputs, argnums)

    def cfunc(
        self,
        *example_inputs: Any,
        signature: str | None = None,
        gradient: bool = False,
        argnums: int | tuple[int, ...] = 0,
    ) -> Any:
        """This function as a C function pointer, for C, cffi, ctypes and ``scipy.LowLevelCallable``.

            integrand = f.cfunc(0.0, signature="double (double)")
            scipy.integrate.quad(integrand.low_level_callable(), 0, 1)

        Examples and restrictions are those of ``numba``. Without ``signature`` the function is

            int32_t f(const T0 *in0, ..., R0 *out0, ...)

        with a pointer for each parameter, then one for each result. Arrays are contiguous and row-major; results must not
        overlap other arrays. With ``gradient`` the results are the value, then the gradients by ``argnums``. The function
        returns 0, or a number n for the error ``errors[n - 1]``.

        ``signature`` is one of SciPy's forms: "double (double)", "double (int, double *)", or one of these with a further
        "void *", which is ignored. The vector's elements are the parameters in order, or the vector is the only parameter.
        The function returns NaN for an error, and for a vector of another length. Raises ValueError for other signatures,
        and if the traced function does not fit.

        The object has ``address``, ``ctypes``, ``signature``, ``errors``, ``low_level_callable()`` and a docstring with its
        ABI. It lives as long as the process.
        """
        from ..interop.numba_functions import c_function  # imports Numba

        traced: Any = self
        return c_function(traced, example_inputs, signature, argnums if gradient else None)
