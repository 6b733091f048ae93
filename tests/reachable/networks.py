"""Modules and optimizers."""

from . import thing

thing(
    "network",
    """
    class Block(nn.Module):
        scale = 1.5
        def __init__(self):
            super().__init__()
            self.weight, self.k, self.flag = nn.Parameter(T()), 0.5, True
            self.register_buffer("mean", T(0.1, 0.2))
            self.items = [0.5]
        def forward(self, x):
            if self.training:
                x = x * self.scale
            return x * self.weight + self.mean * self.k
    class Block2(Block):
        def forward(self, x):
            return x - self.weight
    net = nn.Sequential(nn.Linear(3, 3).double(), nn.ReLU(), nn.Dropout(0.5), Block())
    blocks, named = nn.ModuleList([Block(), Block()]), nn.ModuleDict({"a": Block()})
""",
    "attribute net[3] k\nattribute Block scale\ninstance blocks[0] k\nelement blocks[0].items 0",
    """
    net(x)
    net(x)
    net[0](x)
    F.linear(x, net[0].weight)
    x * (2.0 if net.training else 3.0)
    x * len(net)
    x * sum(p.sum() for p in net.parameters())
    x * sum(b.sum() for b in blocks.buffers())
    x * len([n for n, _ in net.named_modules()])
    x * len(net.state_dict())
    x + net[3].mean
    blocks[0](x)
    functools.reduce(lambda x, block: block(x), blocks, x)
    named["a"](x)
    x * (2.0 if isinstance(net[1], nn.ReLU) else 3.0)
    x * (2.0 if hasattr(net[3], "extra") else 3.0)
    x * sum(p.requires_grad for p in net.parameters())
    x * (2.0 if net[0].bias is None else 3.0)
    x * len(named)
    net.forward(x)
    x * (2.0 if net[0].weight.grad is None else 3.0)
    x * sum(len(n) for n, _ in net.named_parameters())
    x * (2.0 if blocks[0] is blocks[1] else 3.0)
    (lambda m: m(x))(next(iter(net)))
    net[1](x - 0.4)
    F.relu(x - 0.4)
    [m for m in net.modules() if isinstance(m, Block)][0](x)
""",
    """
    net.eval()
    net.train()
    net[2].training = False
    net[2].p = 0.25
    net[2] = nn.Identity()
    net[1] = nn.Tanh()
    net[3].train(not net[3].training)
    net[0].weight = nn.Parameter(net[0].weight.detach() * 2)
    net[0].weight.data.mul_(0.5)
    net[0].weight.data = net[0].weight.data * 1.5
    net[0].weight.requires_grad_(False)
    net[0].weight.requires_grad_()
    net[0].weight.grad = None
    net[0].bias = None
    net[0]._parameters["bias"] = None
    net[0]._parameters["bias"] = nn.Parameter(T(shape=(3,)))
    vars(net[0])["_parameters"]["weight"] = nn.Parameter(T(shape=(3, 3)))
    dict.__setitem__(net[0]._parameters, "bias", nn.Parameter(T(shape=(3,))))
    net[0].register_forward_hook(lambda m, args, result: result * 2)
    net.register_forward_hook(lambda m, args, result: result + 1)
    net[3].register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    net[0].register_full_backward_hook(lambda m, gi, go: tuple(g if g is None else g * 2 for g in gi))
    net[0]._forward_hooks.clear()
    net[3]._forward_pre_hooks.clear()
    net[0].weight.register_hook(lambda g: g * 2)
    net.append(nn.Sigmoid())
    net.insert(0, nn.Identity())
    del net[1]
    net.pop(1)
    net._modules["1"] = nn.Sigmoid()
    vars(net)["_modules"] = dict(reversed(net._modules.items()))
    net.forward = lambda x: x * 3
    del net.forward
    net[0].forward = lambda x: x * 4
    net[0].forward = types.MethodType(lambda self, x: x + self.weight.sum(), net[0])
    nn.Linear.forward = lambda self, x: x * 5
    nn.ReLU.forward = lambda self, x: x * 6
    F.relu = lambda x, inplace=False: x * 7
    F.linear = lambda x, weight, bias=None: x * 8
    nn.Linear.extra = 1
    nn.Module.__call__ = lambda self, x: self.forward(x) * 2
    net[3].__class__ = Block2
    net[3].__class__ = Block
    blocks[0].__class__ = Block2
    Block.forward = Block2.forward
    Block.forward = lambda self, x: x * self.k
    vars(net[3])["k"] = 2.5
    vars(blocks[0]).update(k=3.5)
    object.__setattr__(net[3], "k", 4.5)
    net[3].extra = 1
    net[3].register_buffer("more", T())
    net[3].mean = T(0.7, 0.8)
    net[3].mean.mul_(2)
    net[3]._buffers["mean"] = T(0.3, 0.4)
    net[3].mean = None
    net[3].weight = net[3].weight
    net[3].weight = None
    net[3].weight.data.copy_(T(0.4, 0.5))
    net[3].register_parameter("second", nn.Parameter(T()))
    net.add_module("last", nn.Tanh())
    net.load_state_dict({n: v * 0.5 for n, v in net.state_dict().items()})
    net.apply(lambda m: setattr(m, "k", 0.125))
    net.zero_grad()
    net.float()
    net.double()
    net.requires_grad_(False)
    net.requires_grad_()
    blocks[0], blocks[1] = blocks[1], blocks[0]
    blocks.append(Block())
    blocks[1] = blocks[0]
    del blocks[0].k
    delattr(net[3], "mean")
    named["a"] = Block2()
    named["b"] = Block()
    named.update({"a": Block()})
    net = nn.Sequential(*net)
    net = net[3]
    net[0] = blocks[0]
    blocks[0].weight = net[3].weight
    Block.extra = property(lambda self: 1)
    Block.__call__ = lambda self, x: x * 9
    net[0].weight.data = net[0].weight.data.T
    net[0].weight.add_(1)
    nn.init.constant_(net[3].weight, 0.5)
""",
    """
    net.eval()
    net.train()
    net[3].k = net[3].k * 0.5 + k
    net[3].mean = net[3].mean * 0.5 + x.detach()
    net[3].mean.mul_(0.9)
    net(x).sum().backward()
    net.zero_grad()
    net[3].seen = k
    blocks[0].items.append(k)
    net[3].weight.data.mul_(0.9)
""",
)
thing(
    "optimizer",
    """
    params = [tracer.tensor([0.5, 1.0, 2.0], dtype=f64, requires_grad=True) for _ in range(2)]
    opt = optim.SGD([{"params": params[:1], "lr": 0.1}, {"params": params[1:], "lr": 0.2}], lr=0.1, momentum=0.5)
    scheduler = optim.lr_scheduler.StepLR(opt, 1, 0.5)
    def stepped(x):
        opt.zero_grad()
        x = x.tanh()  # what is learned stays stable: rounding is not amplified
        loss = (x * params[0]).tanh().sum() + (x * params[1]).square().mean()
        loss.backward()
        opt.step()
        return x * loss.detach().tanh()
""",
    "item opt.param_groups[0] 'lr'\nitem opt.param_groups[1] 'momentum'",
    """
    stepped(x)
    stepped(x)
    stepped(x)
    x * opt.param_groups[0]["lr"]
    x * sum(g["lr"] for g in opt.param_groups)
    x * len(opt.state)
    x * len(opt.param_groups[0]["params"])
    x * (2.0 if opt.param_groups[0]["nesterov"] else 3.0)
    x * params[0]
    x * opt.defaults["lr"]
    x * scheduler.get_last_lr()[0]
    x * (2.0 if params[0] in opt.state else 3.0)
    x + (0.0 if params[0].grad is None else params[0].grad)
""",
    """
    opt.param_groups[0]["lr"] = 0.05
    opt.param_groups[0]["lr"] = tracer.tensor(0.3, dtype=f64)
    opt.param_groups[0]["momentum"] = 0.9
    opt.param_groups[0]["momentum"] = 0
    opt.param_groups[0]["weight_decay"] = 0.1
    opt.param_groups[0]["nesterov"] = True
    opt.param_groups[0]["maximize"] = True
    opt.param_groups[0].update(lr=0.15)
    opt.param_groups[0] |= {"lr": 0.25}
    dict.__setitem__(opt.param_groups[0], "lr", 0.35)
    dict.__setitem__(opt.param_groups[0], "momentum", 0.35)
    opt.param_groups[0]["params"].pop()
    opt.param_groups[0]["params"].append(tracer.ones(3, dtype=f64, requires_grad=True))
    opt.add_param_group({"params": [tracer.ones(3, dtype=f64, requires_grad=True)], "lr": 0.3})
    opt.param_groups.reverse()
    opt.param_groups.pop()
    opt.param_groups[0] = dict(opt.param_groups[0])
    opt.state.clear()
    opt.state[params[0]].clear()
    opt.state.pop(params[0], None)
    opt.state[params[0]]["momentum_buffer"] = tracer.ones(3, dtype=f64)
    opt.state[params[0]]["momentum_buffer"].mul_(2)
    opt.state[params[0]]["momentum_buffer"] = None
    opt.load_state_dict(opt.state_dict())
    opt.defaults["lr"] = 0.9
    opt.zero_grad()
    opt.register_step_post_hook(lambda opt, args, kwargs: params[0].data.mul_(0.5))
    opt.register_step_pre_hook(lambda opt, args, kwargs: params[0].grad.mul_(2))
    opt = optim.SGD(params, lr=0.1, momentum=0.5)
    opt = optim.Adam(params, lr=0.1)
    opt = optim.SGD(params, lr=0.1)
    opt.__class__ = type("SGD2", (optim.SGD,), {"step": lambda self: None})
    opt.step = lambda: None
    optim.SGD.step = lambda self, closure=None: params[0].data.mul_(0.9)
    scheduler.step()
    scheduler.gamma = 0.25
    scheduler = optim.lr_scheduler.ExponentialLR(opt, 0.5)
    params[0].grad = None
    params[0].grad = tracer.ones(3, dtype=f64)
    params[0].requires_grad_(False)
    params[0].requires_grad_()
    params[0] = params[0].detach().clone().requires_grad_()
    params[0].data = params[0].data * 2
    params[0].register_hook(lambda g: g * 2)
    params.reverse()
    params[1] = params[0]
    stepped = lambda x: x * params[0]
    opt.step()
""",
    """
    scheduler.step()
    opt.param_groups[0]["lr"] *= 0.9
    opt.param_groups[0]["lr"] = 0.1 / (k + 1)
    opt.zero_grad(set_to_none=False)
    opt.state[params[0]]["seen"] = k
""",
)
