"""Records, subclasses of values, containers, modules."""

from . import thing

thing(
    "records",
    """
    @dataclasses.dataclass
    class Config:
        k: float = 1.5
        h: object = None
        items: list = dataclasses.field(default_factory=lambda: [0.5])
        def m(self, x):
            return x * self.k
    @dataclasses.dataclass(frozen=True)
    class Frozen:
        k: float = 1.5
    @dataclasses.dataclass(slots=True)
    class SlotsRecord:
        k: float = 1.5
    class Pair(collections.namedtuple("Pair", "a b")):
        k = 0.5
        def total(self):
            return self.a + self.b * self.k
    config, frozen, record, pair = Config(h=T()), Frozen(), SlotsRecord(), Pair(0.5, 2.5)
    space = types.SimpleNamespace(k=1.5, sub=types.SimpleNamespace(k=0.5))
""",
    """
    instance config k
    attribute frozen k
    attribute record k
    attribute Config k
    attribute Pair k
    instance space k
    instance space.sub k
    element config.items 0
""",
    """
    config.m(x)
    x + config.h
    x * pair.total()
    x * pair.a
    x * pair[1]
    x * sum(pair)
    x * (2.0 if config == Config(k=1.5) else 3.0)
    x * (2.0 if pair == (0.5, 2.5) else 3.0)
    x * dataclasses.replace(config, k=0.25).k
    x * dataclasses.asdict(record)["k"]
    x * len(dataclasses.fields(config))
    x * Config().k
    x * (2.0 if frozen == Frozen() else 3.0)
    x * pair._replace(a=3.0).a
""",
    """
    object.__setattr__(frozen, "k", 2.5)
    vars(frozen)["k"] = 0.25
    frozen = Frozen(0.75)
    frozen = Frozen()
    frozen = dataclasses.replace(frozen)
    pair = Pair(0.5, 2.5)
    pair = Pair(2.5, 0.5)
    pair = pair._replace(a=T().mean())
    pair = (0.5, 2.5)
    Pair.total = lambda self: 0.75
    config.h = T(0.5, 0.6)
    config.h.mul_(2)
    config = dataclasses.replace(config, k=0.25)
    config = dataclasses.replace(config)
    Config.m = lambda self, x: x * 4
    Config.__eq__ = lambda self, other: True
    config.items = tuple(config.items)
    space.sub = types.SimpleNamespace(k=0.75)
    space.sub = space
    space.sub.extra = 1
    record = SlotsRecord(0.75)
""",
    """
    config.k = config.k * 0.5 + k
    space.sub.k += 1
    record.k = record.k + 1
    config.h = x.detach() * 0.5
    pair = pair._replace(b=pair.b + 1)
""",
)
thing(
    "subclasses",
    """
    class Level(int):
        def of(self, x):
            return x * self * self.extra
        extra = 0.5
    class Rate(float):
        unit = 2.0
    class Name(str):
        unit = 3.0
    class Items(list):
        unit = 0.5
        def __getitem__(self, i):
            return list.__getitem__(self, i) * self.unit
    class Table(dict):
        unit = 0.5
        def __missing__(self, key):
            return self.unit
        def __getattr__(self, name):
            try:
                return self[name]
            except KeyError:
                raise AttributeError(name)
    level, rate, name, items, table2 = Level(2), Rate(1.5), Name("abc"), Items([0.5, 1.5]), Table(a=1.5)
    rate.unit, items.own, table2.own = 2.5, 0.25, 0.75
""",
    """
    attribute Level extra
    attribute Rate unit
    attribute rate unit
    attribute Items unit
    attribute items own
    attribute Table unit
    instance table2 own
    item table2 'a'
    element items 0
""",
    """
    level.of(x)
    x * level
    x * rate
    x * (rate + rate.unit)
    x * len(name) * name.unit
    x * table2.a
    x * table2["nothing"]
    x * table2.nothing
    x * items[1]
    x * sum(items)
    x * (2.0 if rate == 1.5 else 3.0)
    x * (2.0 if name == "abc" else 3.0)
    x * (level + 1)
    x * float(rate)
""",
    """
    level = Level(3)
    level = 2
    level.extra = 0.75
    rate = Rate(1.5)
    rate = Rate(2.5)
    rate.unit = rate.unit
    name = Name("abcd")
    name = "abc"
    name.unit = 0.25
    Level.of = lambda self, x: x * 4
    Rate.__rmul__ = lambda self, other: other * 9
    Rate.__float__ = lambda self: 4.0
    Name.__len__ = lambda self: 7
    Items.__getitem__ = list.__getitem__
    Items.__iter__ = lambda self: iter([3.0])
    Table.__missing__ = lambda self, key: 2.25
    del Table.__missing__
    Table.__getattr__ = lambda self, name: 3.25
    list.__setitem__(items, 1, 0.125)
    dict.__setitem__(table2, "a", 0.125)
    dict.update(table2, nothing=1.25)
    list.append(items, 0.25)
    items.__class__ = type("Items2", (list,), {"unit": 1.0})
    table2.__class__ = type("Table2", (dict,), {"a": 1.0, "nothing": 4.0})
""",
    "level = Level(level + 1)\nitems.append(k * 0.5)\ntable2['a'] = table2['a'] + 1\ntable2.own = k\nrate = Rate(rate + 1)",
)
thing(
    "containers",
    """
    numbers, nested, group = [0.5, 1.5, 2.5], {"a": [0.5, {"b": 1.5}], "t": T()}, {0.5, 1.5}
    d, deck, ordered = {"k": 1.5, "j": 0.5}, collections.deque([0.5, 1.5], 4), collections.OrderedDict(k=1.5, j=0.5)
    default, counted = collections.defaultdict(lambda: 0.25, k=1.5), collections.Counter(k=2)
    chained, proxy, octets = collections.ChainMap(d, {"z": 0.75}), types.MappingProxyType(d), bytearray(b"ab")
    tensors, pairs = [T(), T(0.2, 0.3)], ((0.5, [1.5]), (T(), {"k": 0.5}))
""",
    """
    element numbers 1
    element nested['a'] 0
    item nested['a'][1] 'b'
    item d 'k'
    item d 'k'
    item ordered 'k'
    item default 'k'
    item counted 'k'
    item chained 'k'
    item pairs[1][1] 'k'
    element deck 0
    element pairs[0][1] 0
""",
    """
    x * sum(numbers)
    x * default["other"]
    x + sum(tensors)
    x + tensors[-1] * len(tensors)
    x * nested["t"]
    x * len(group)
    x * (2.0 if 0.5 in group else 3.0)
    x * sum(sorted(group))
    x * proxy["k"]
    x * chained["z"]
    x * octets[0]
    x * (deck.maxlen or 9)
    x * sum(v for v in ordered.values())
    x * (2.0 if list(ordered) == ["k", "j"] else 3.0)
    x * (2.0 if numbers == [0.5, 1.5, 2.5] else 3.0)
    x * sum(itertools.chain(numbers, deck))
    x * (2.0 if tensors[0] is tensors[1] else 3.0)
    x * pairs[0][0] + pairs[1][0]
    x * (2.0 if numbers is nested["a"] else 3.0)
    x * max(d, key=d.get).__len__()
    x * dict(zip("ab", numbers))["a"]
    x * counted.most_common(1)[0][1]
""",
    """
    numbers = [0.5, 1.5, 2.5]
    numbers = tuple(numbers)
    numbers.sort(reverse=True)
    numbers[1:] = [3.5]
    group.add(2.5)
    group.discard(0.5)
    group = {1.5, 0.5}
    group = frozenset(group)
    group ^= {0.75}
    deck.appendleft(2.5)
    deck.rotate(1)
    deck = collections.deque(deck, 3)
    ordered.move_to_end("k")
    ordered.popitem(last=False)
    default.default_factory = lambda: 0.125
    default.default_factory = None
    default["other"] = 4.0
    del default["other"]
    chained.maps[1]["z"] = 1.25
    chained.maps.insert(0, {"k": 9.0})
    proxy = types.MappingProxyType({"k": 0.25})
    octets[0] = 9
    octets += b"c"
    tensors[0] = tensors[1]
    tensors[0] = tensors[0].clone()
    tensors[0].mul_(2)
    tensors.append(T(0.3, 0.4))
    tensors.reverse()
    nested["t"] = nested["t"] * 2
    nested["t"] = tensors[0]
    nested["a"] = numbers
    pairs = ((0.75, [1.5]), pairs[1])
    pairs[0][1].append(1)
    pairs[1][0].add_(1)
    d = {"j": 0.5, "k": 1.5}
    counted.update(k=2)
    d["j"], d["k"] = d["k"], d["j"]
""",
    """
    numbers.append(k * 0.5)
    numbers[0] += 1
    d["k"] = d["k"] * 0.5 + k
    tensors[0] = tensors[0] * 0.5 + x.detach()
    group.add(k + 0.5)
    deck.append(k)
    default["other"] = default["other"] + 1
    ordered["new"] = k
    nested["t"] = x.detach() + 1
    counted["k"] += 1
""",
)
thing(
    "modules",
    """
    settings = types.ModuleType("settings_of_program")
    settings.k, settings.sub = 1.5, types.ModuleType("settings_of_program.sub")
    settings.sub.k, settings.t = 0.5, T()
    settings.helper = lambda x: x * 2
    class ModuleClass(types.ModuleType):
        j = 0.75
        @property
        def lazy(self):
            return 1.25
    sys.modules["settings_of_program"] = settings
""",
    "instance settings k\nattribute settings.sub k\ninstance settings.sub k",
    """
    x * settings.k
    x * settings.sub.k
    settings.helper(x)
    x + settings.t
    x * getattr(settings, "lazy", 2.5)
    x * getattr(settings, "j", 3.5)
    x * __import__("settings_of_program").k
    x * sys.modules["settings_of_program"].k
    x * len(settings.__name__)
    x * settings.missing
""",
    """
    settings.helper = lambda x: x * 5
    settings.helper.__code__ = (lambda x: x * 6).__code__
    settings.sub = types.SimpleNamespace(k=2.5)
    settings.__class__ = ModuleClass
    settings.__class__ = types.ModuleType
    settings.__getattr__ = lambda name: 0.125
    settings.missing = 4.5
    settings.j = 5.5
    del settings.sub.k
    ModuleClass.j = 6.5
    ModuleClass.lazy = property(lambda self: 7.5)
    ModuleClass.k = property(lambda self: 8.5)
    settings.t = T(0.7, 0.8)
    settings.t.mul_(2)
    settings.unrelated = 1
    settings.__name__ = "renamed"
    settings.__dict__["lazy"] = 9.5
    sys.modules["settings_of_program"] = types.SimpleNamespace(k=3.25)
    settings = settings.sub
""",
    "settings.k = settings.k + 1\nsettings.sub.k = k\nsettings.t = settings.t + x.detach()",
)
