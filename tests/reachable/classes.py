"""Objects and their classes."""

from . import thing

thing(
    "object",
    """
    class Plain:
        def __init__(self):
            self.k, self.h = 1.5, T()
        def scaled(self, x):
            return x * self.k
        def total(self):
            return self.h.sum() + self.k
    class Other(Plain):
        def scaled(self, x):
            return x - self.k
    plain = Plain()
""",
    "instance plain k\nattribute plain h",
    """
    plain.scaled(x)
    Plain.scaled(plain, x)
    x * plain.total()
    x + plain.h
    type(plain).scaled(plain, x)
    getattr(plain, "scaled")(x)
    x * (2.0 if isinstance(plain, Other) else 3.0)
    x * len(type(plain).__mro__)
    (lambda bound: bound(x))(plain.scaled)
    operator.methodcaller("scaled", x)(plain)
    x * (2.0 if plain.scaled.__func__ is Plain.scaled else 3.0)
""",
    """
    plain.__class__ = Other
    plain.__class__ = Plain
    plain = Other()
    Plain.scaled = lambda self, x: x * 7
    Plain.scaled.__code__ = Other.scaled.__code__
    plain.scaled = lambda x: x * 5
    plain.scaled = types.MethodType(Other.scaled, plain)
    del plain.scaled
    Plain.total = lambda self: 2.0
    Other.__bases__ = (Two,)
    Other.__bases__ = (Plain,)
    Plain.__getattribute__ = lambda self, name: 0.25 if name == "k" else object.__getattribute__(self, name)
    del Plain.__getattribute__
    Plain.__mul__ = lambda self, other: other * 2
    plain.h = plain.h * 2
    plain.h.mul_(1.5)
    plain.h = plain.h.clone()
    Plain.__init__ = lambda self: None
    plain.h, plain.k = 0.5, plain.h
    plain.same = plain
    Plain, Other = Other, Plain
""",
    """
    plain.k = plain.k * 0.5 + k
    plain.h = plain.h * 0.5 + x.detach()
    plain.k += 1
    plain.last = x.detach().sum()
""",
)
thing(
    "class",
    """
    class Meta(type):
        depth = 0.5
        def m(cls, x):
            return x * cls.depth
    class Meta2(type):
        depth = 2.5
        def m(cls, x):
            return x - cls.depth
    class Base:
        k = 1.5
        def m(self, x):
            return x * self.k
    class Mixin:
        j = 0.5
        def m(self, x):
            return super().m(x) + self.j
    class Mixin2:
        k, j = 2.5, 3.5
    class Derived(Mixin, Base, metaclass=Meta):
        @classmethod
        def of_class(cls, x):
            return x * cls.k
        @staticmethod
        def static(x):
            return x + 0.5
    derived = Derived()
""",
    "attribute Base k\nattribute Mixin j\nattribute Derived k\nattribute derived k\nattribute Meta depth",
    """
    derived.m(x)
    Derived.m(derived, x)
    Derived.of_class(x)
    derived.of_class(x)
    Derived.static(x)
    x * Derived.depth
    type(Derived).m(Derived, x)
    x * Derived.k
    x * len(Derived.__mro__)
    super(Derived, derived).m(x)
    x * (2.0 if issubclass(Derived, Mixin2) else 3.0)
    x * (2.0 if type(Derived) is Meta else 3.0)
    x * len(Derived.__name__)
    Derived().m(x)
    Base().m(x)
""",
    """
    Derived.__bases__ = (Mixin, Mixin2, Base)
    Derived.__bases__ = (Mixin, Base)
    Mixin.__bases__ = (Mixin2,)
    Derived.__class__ = Meta2
    Derived.__class__ = Meta
    Derived.m = lambda self, x: x * 9
    del Derived.m
    Base.m = lambda self, x: x * 8
    Mixin.m = Base.m
    Derived.of_class = classmethod(lambda cls, x: x * 4)
    Derived.static = staticmethod(lambda x: x * 4)
    Derived.of_class = lambda x: x * 5
    Meta.m = lambda cls, x: x * 6
    Meta.__getattr__ = lambda cls, name: 0.125
    Meta.__call__ = lambda cls, *args: derived
    Meta.__instancecheck__ = lambda cls, x: True
    Derived.__name__ = "Renamed"
    Derived = type("Derived", (Base,), {"of_class": classmethod(lambda cls, x: x * 3), "static": Base.m})
    derived = Base()
    Base.k = property(lambda self: 0.25)
    type.__setattr__(Base, "k", 3.5)
    Derived.__init__ = lambda self: setattr(self, "k", 0.125)
    Base.__new__ = lambda cls: object.__new__(Two)
""",
    "Base.k = Base.k + 1\nDerived.k = Derived.k * 0.5\nMeta.depth += 0.5",
)
thing(
    "slots",
    """
    class Slotted:
        __slots__ = ("k", "h", "__weakref__")
        def m(self, x):
            return x * self.k
    class Slotted2:
        __slots__ = ("k", "h", "__weakref__")
        def m(self, x):
            return x - self.k
    slotted = Slotted()
    slotted.k, slotted.h = 1.5, T()
    weak = weakref.ref(slotted)
""",
    "attribute slotted k\nattribute slotted h",
    """
    slotted.m(x)
    x * weak().k
    x + slotted.h
    x * (2.0 if weak() is slotted else 3.0)
    x * (2.0 if hasattr(slotted, "h") else 3.0)
    Slotted.k.__get__(slotted) * x
""",
    """
    slotted.__class__ = Slotted2
    slotted.__class__ = Slotted
    Slotted.m = lambda self, x: x * 4
    Slotted.k.__set__(slotted, 0.25)
    slotted.h.add_(1)
    slotted.h = T(0.2, 0.4)
    del slotted.h
    Slotted.k = 2.25
    weak = weakref.ref(Slotted)
    slotted = Slotted(); slotted.k = 0.5
""",
    "slotted.k = slotted.k * 0.5 + k\nslotted.h = slotted.h + x.detach()",
)
thing(
    "descriptors",
    """
    class Data:
        value = 1.5
        def __get__(self, instance, owner):
            return self.value if instance is None else self.value + instance.raw
        def __set__(self, instance, value):
            instance.raw = value
    class NonData:
        def __get__(self, instance, owner):
            return 0.5
    class Described:
        data, nondata = Data(), NonData()
        raw = 0.25
        @property
        def prop(self):
            return self.raw * 2
        @prop.setter
        def prop(self, value):
            self.raw = value
        @functools.cached_property
        def once(self):
            return self.raw * 3
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return table[name]
    table = {"missing": 0.75}
    described = Described()
""",
    "instance described raw\nitem table 'missing'",
    """
    x * described.data
    x * described.nondata
    x * described.prop
    x * described.once
    x * described.missing
    x * Described.data
    x * getattr(described, "missing", 3.0)
    x * Described.prop.fget(described)
""",
    """
    described.data = 0.5
    described.prop = 1.0
    described.once = 1.25
    del described.once
    Described.raw = 1.0
    Data.value = 2.5
    vars(Described)["data"].value = 3.5
    vars(described)["nondata"] = 1.5
    vars(described)["data"] = 1.5
    vars(described)["prop"] = 1.5
    vars(described)["missing"] = 1.5
    NonData.__set__ = lambda self, instance, value: None
    Data.__get__ = lambda self, instance, owner: 4.5
    Described.prop = property(lambda self: 5.5)
    Described.prop = 6.5
    Described.__getattr__ = lambda self, name: 7.5
    del Described.__getattr__
    del Described.data
    Described.missing = 8.5
    Described.nondata = Data()
    Described.prop.fget.__code__ = (lambda self: 2.25).__code__
""",
    "described.prop = described.raw + 1\ndescribed.data = k + 0.5\ndescribed.once",
)
thing(
    "operators",
    """
    class Value:
        def __init__(self, k):
            self.k = k
        def __mul__(self, other):
            return other * self.k
        __rmul__ = __mul__
        def __call__(self, x):
            return x + self.k
        def __len__(self):
            return 3
        def __bool__(self):
            return self.k > 1
        def __iter__(self):
            yield self.k
            yield 0.5
        def __getitem__(self, i):
            return self.k * i
        def __contains__(self, y):
            return y == self.k
        def __float__(self):
            return float(self.k)
        def __eq__(self, other):
            return self.k == getattr(other, "k", other)
        def __hash__(self):
            return 3
        def __enter__(self):
            return self.k
        def __exit__(self, *error):
            return self.k == 2.5
    value = Value(1.5)
    by_value = {value: 0.5}
""",
    "instance value k",
    """
    value * x
    x * value
    value(x)
    x * len(value)
    x * (2.0 if value else 3.0)
    x * sum(value)
    x * value[2]
    x * (2.0 if 1.5 in value else 3.0)
    x * float(value)
    x * (2.0 if value == 1.5 else 3.0)
    x * by_value[value]
    x * by_value.get(Value(1.5), 4.0)
    x * [*value][0]
    x * sorted([value, 1.5], key=float)[0]
""",
    """
    Value.__mul__ = lambda self, other: other * 4
    Value.__rmul__ = lambda self, other: other * 5
    Value.__call__ = lambda self, x: x * 6
    Value.__len__ = lambda self: 4
    Value.__bool__ = lambda self: False
    Value.__iter__ = lambda self: iter([1.0, 2.0])
    Value.__getitem__ = lambda self, i: 0.25
    Value.__contains__ = lambda self, y: False
    Value.__float__ = lambda self: 0.75
    Value.__eq__ = lambda self, other: self is other
    del Value.__float__
    del Value.__bool__
    del Value.__len__
    by_value[value] = 1.5
    by_value[Value(1.5)] = 2.5
    value = Value(1.5)
    value.__call__ = lambda x: x
""",
    "value.k = value.k * 0.5 + k\nby_value[value] = k",
)
thing(
    "enum",
    """
    class Mode(enum.Enum):
        A = 1.5
        B = 2.5
        def of(self, x):
            return x * self.value * SCALES[self.name]
    class Flags(enum.IntFlag):
        R = 1
        W = 2
    SCALES = {"A": 0.5, "B": 1.0}
    mode, flags = Mode.A, Flags.R
""",
    "item SCALES 'A'",
    """
    mode.of(x)
    x * mode.value
    x * (2.0 if mode is Mode.A else 3.0)
    x * (2.0 if mode == Mode.B else 3.0)
    x * Mode["A"].value
    x * len(mode.name)
    x * (flags | Flags.W)
    x * (2.0 if flags & Flags.R else 3.0)
    x * sum(m.value for m in Mode)
    x * {Mode.A: 1.5, Mode.B: 2.5}[mode]
    x * getattr(mode, "weight", 1.25)
    x * Mode(1.5).value
    x * len(Mode)
""",
    """
    mode = Mode.B
    mode = Mode.A
    flags = Flags.W | Flags.R
    flags = 1
    Mode.A.weight = 0.25
    Mode.B.weight = 0.75
    Mode.of = lambda self, x: x * 4
    Mode.A._value_ = 3.5
    Mode.A._name_ = "B"
    mode = 1.5
    Mode.A.__dict__["weight"] = 2.25
    mode = enum.Enum("Mode", {"A": 1.5}).A
    SCALES["A"] = SCALES["B"]
    Mode.__str__ = lambda self: "mode"
""",
    "mode = Mode.B if mode is Mode.A else Mode.A\nflags = flags | 2",
)
