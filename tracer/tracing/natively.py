"""What a traced function offers to callers that are native code."""

from __future__ import annotations

from typing import Any


class Native:
    """The methods of traced functions that give them to Numba and to C."""

    __slots__ = ()

    def numba(self, *example_inputs: Any) -> Any:
        """This function for Numba: an object that ``@njit`` functions, and Python, call like any function on arrays.

            density = log_density.numba(np.zeros(3))

            @numba.njit
            def sample(x): ... density(x) ...

        A call needs neither Python nor the GIL; any number of threads may call at once, also those of ``prange``.

        The examples say what calls will bring; the function is run on them once, and what it did is compiled. Tensors, NumPy
        arrays and NumPy scalars stand for parameters of their shapes and dtypes; a Python float for a float64 scalar,
        which may differ in each call. An int, bool, string or None is a constant: calls do not pass it. The result is a
        tensor or a tuple of tensors, which may be nested; those without dimensions are given as scalars, others as new arrays.

        A wrong dtype or rank raises Numba's TypingError, a wrong shape ValueError. What the function raises (a position
        out of range, a division of integers by zero) is raised with the same message.

        Tensors that the function reaches by itself are read from their memory. Later calls see their changes in place,
        but not that a name or ``.data`` refers to something else: ask for the object again then.

        Raises NotImplementedError for what native code cannot do: random numbers, changes of arguments or captured
        tensors, decisions on values, operations that NumPy computes; and TypeError for examples or results of other kinds.

        The object is kept for the life of the process, for compiled code refers to it. Asking again gives the same one.
        """
        from ..numba_functions import numba_function  # brings Numba

        traced: Any = self
        return numba_function(traced, example_inputs)

    def numba_value_and_grad(self, *example_inputs: Any, argnums: int | tuple[int, ...] = 0) -> Any:
        """Like ``numba``, for the function's value and its gradient: a call returns the pair of both.

            value_and_grad = log_density.numba_value_and_grad(np.zeros(3))
            value, gradient = value_and_grad(np.ones(3))

        The function must return one floating-point scalar (else TypeError). ``argnums`` is the position of the example with
        respect to which the gradient is taken; given a tuple of positions, calls return a tuple of gradients. They have the
        arguments' shapes and dtypes, and are zero where the value does not depend on an argument. A position of
        something else than floating-point numbers raises TypeError, one that does not exist ValueError.
        """
        from ..numba_functions import numba_value_and_gradient  # brings Numba

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

        Examples, and what can be compiled, are as for ``numba``. Without ``signature`` the function is

            int32_t f(const T0 *in0, ..., R0 *out0, ...)

        with a pointer for each parameter, then one for each result: to contiguous memory, in row-major order, that results
        share with nothing else. With ``gradient`` the results are the value, then the gradients by ``argnums``. The function
        returns 0, or a number n for the error ``errors[n - 1]``.

        ``signature`` is one of SciPy's forms: "double (double)", "double (int, double *)", or one of these with a further
        "void *", which is ignored. The vector's elements are the parameters in order, or the vector is the only
        parameter. The function returns NaN for an error, and for a vector of another length. ValueError is raised for other
        signatures, and where the traced function does not fit.

        The object has ``address``, ``ctypes``, ``signature``, ``errors``, ``low_level_callable()`` and a docstring with its
        ABI. It is kept for the life of the process.
        """
        from ..numba_functions import c_function  # brings Numba

        traced: Any = self
        return c_function(traced, example_inputs, signature, argnums if gradient else None)
