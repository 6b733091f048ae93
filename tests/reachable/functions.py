"""Variables, and references of functions."""

from . import thing

thing(
    "number", "num = 1.5", "variable - num", "", "num = type(num)(num)\nnum = float(str(num))", "num = num * 0.5 + k\nnum += 1"
)
thing(
    "flag",
    "flag, word, shape = True, 'abc', (2, 1)",
    "",
    """
    x * (2.0 if flag else 3.0)
    x * len(word)
    x * (2.0 if word == "abc" else 3.0)
    x * (2.0 if flag is True else 3.0)
    x.sum(shape[1], keepdim=True) * x
    x.mean(shape[0] - 2, keepdim=True) + x * sum(shape)
    x * {"abc": 2.0, "ab": 3.0}.get(word, 4.0)
    x * (2.0 if isinstance(word, Text) else 3.0)
""",
    """
    flag = not flag
    flag = 1
    word = "ab"
    word = "".join(["a", "bc"])
    word = Text("abc")
    shape = (1, 0)
    shape = (2, True)
    shape = [2, 1]
    shape = tuple([2, 1])
    shape = collections.namedtuple("shape", "a b")(2, 1)
    flag, word = False, "abcd"
""",
    "flag = not flag\nword = word[:2] if k else word + 'c'",
)
thing(
    "function",
    """
    def helper(x, a=1.5, *, b=0.5):
        return x * a + b
    def replacement(x, a=1.5, *, b=0.5):
        return x * a - b
    helper.k = 0.5
""",
    "instance helper k",
    """
    helper(x)
    helper(x, 2.0)
    helper(x, b=1.0)
    x * helper.__defaults__[0]
    x * helper.__kwdefaults__["b"]
    x * len(helper.__name__)
    x * (2.0 if helper is replacement else 3.0)
    x * helper.__code__.co_argcount
    functools.reduce(lambda a, b: a * b, [x, 0.5, 2.0])
    functools.partial(helper, x)()
    sum(map(helper, [x, x]))
""",
    """
    helper.__code__ = replacement.__code__
    helper.__code__ = helper.__code__.replace(co_name="other")
    helper.__code__ = (lambda x, a=1, *, b=2: x * a * b).__code__
    helper.__defaults__ = (0.25,)
    helper.__defaults__ = (True,)
    helper.__defaults__ = (1.5,)
    helper.__defaults__ = None
    helper.__kwdefaults__ = {"b": 2.0}
    helper.__kwdefaults__["b"] = 3.0
    helper.__kwdefaults__ = None
    helper.__name__ = "other"
    helper = replacement
    helper = lambda x, a=1.0, *, b=1.0: x + a + b
    helper = functools.partial(replacement, b=1.0)
    helper = Two().m
    helper, replacement = replacement, helper
    helper = decorated(helper)
""",
)
thing(
    "closure",
    """
    def counter():
        inside, other = 1.5, [0.5]
        def get(x):
            return x * inside + other[0]
        def put(value):
            nonlocal inside
            inside = value
        return get, put
    getter, putter = counter()
""",
    "",
    """
    getter(x)
    getter(x) + x
    x * cell(getter, "inside").cell_contents
""",
    """
    putter(0.5)
    putter(2)
    putter(tracer.tensor(2.0, dtype=f64))
    cell(getter, "inside").cell_contents = 2.5
    del cell(getter, "inside").cell_contents
    cell(getter, "other").cell_contents[0] = 1.0
    cell(getter, "other").cell_contents = (2.0,)
    cell(getter, "other").cell_contents.insert(0, 3.0)
    getter, putter = counter()
""",
    "putter(k + 0.5)\ngetter(x).sum()",
)
thing(
    "default",
    """
    boxed = [0.5]
    def with_box(x, box=boxed, scale=tracer.tensor(1.5, dtype=f64)):
        return x * box[0] + scale
""",
    "element boxed 0",
    """
    with_box(x)
    with_box(x, [1.0])
    with_box(x, scale=2.0)
""",
    """
    with_box.__defaults__ = ([1.5], 2.0)
    with_box.__defaults__[0][0] = 2.0
    with_box.__defaults__[1].mul_(2)
    with_box.__defaults__[1].data = tracer.tensor(0.5, dtype=f64)
    with_box.__defaults__ = (boxed, with_box.__defaults__[1].clone())
""",
    "boxed[0] = boxed[0] * 0.5 + k\nboxed.append(0.5)",
)
thing(
    "wrapped",
    """
    @functools.lru_cache(maxsize=4)
    def cached(k):
        return 0.5 * k + held[0]
    held = [0.25]
    part = functools.partial(lambda a, x, b=0.0: x * a + b, 1.5)
    dressed = decorated(lambda x: x + 0.25)
    @functools.singledispatch
    def generic(value):
        return 1.5
    @generic.register
    def generic_int(value: int):
        return 2.5
""",
    "element held 0",
    """
    x * cached(2)
    x * (cached(k) + 1)
    part(x)
    part(x, b=1.0)
    dressed(x)
    x * part.args[0]
    dressed.__wrapped__(x)
    x * generic(k)
    x * generic(0.5)
""",
    """
    cached.cache_clear()
    held[0] = 1.25
    cached(3)
    part = functools.partial(part.func, 0.5)
    part.__setstate__((part.func, (2.0,), {}, {}))
    part.__setstate__((lambda a, x, b=0.0: x - a + b, (2.0,), {"b": 1.0}, {}))
    part.keywords["b"] = 2.0
    part.extra = 1
    dressed = decorated(dressed)
    cell(dressed, "function").cell_contents = lambda x: x * 3
    dressed.__wrapped__ = lambda x: x * 2
    cached = functools.lru_cache(cached.__wrapped__)
    generic.register(float, lambda value: 3.5)
    generic.register(int, lambda value: 4.5)
    cached.__wrapped__.__defaults__ = (2,)
""",
    "cached(k)\nheld[0] = held[0] + 1.0",
)
