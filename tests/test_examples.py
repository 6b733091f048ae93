"""The examples run, compiled, and what they find is right."""

import ast
import importlib.util
import re
import shlex
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from typer.testing import CliRunner

from tracer.cli.app import app
from tracer.tracing.failure import TraceWarning

FOLDER = Path(__file__).parent.parent / "examples"
README = (FOLDER / "README.md").read_text()
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "common")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs an example with few steps; its module, and what its ``main`` returns. Every call of what it traces is compiled."""
    monkeypatch.syspath_prepend(FOLDER)

    def invoke(name, steps):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        with warnings.catch_warnings():
            warnings.simplefilter("error", TraceWarning)
            spec.loader.exec_module(module)
            found = module.main(["--steps", str(steps), "--out", str(tmp_path)])
        infos = {n: f.cache_info() for n, f in vars(module).items() if hasattr(f, "cache_info")}
        assert infos and not any(info.eager for info in infos.values()), infos
        assert sum(i.replays for i in infos.values()) > 2 * sum(i.recordings for i in infos.values()), infos
        if importlib.util.find_spec("matplotlib"):
            assert (tmp_path / f"{name}.png").stat().st_size > 1000
        return module, found

    return invoke


def fell(losses, part):
    """Whether the mean of the last five losses is below that part of the first one."""
    return np.isfinite(losses).all() and np.mean(losses[-5:]) < part * losses[0]


def test_regression(run):
    module, found = run("regression", 200)
    assert np.allclose(module.linear_weights.detach(), found["exact"], atol=1e-2)
    assert fell(found["squares"], 0.1) and fell(found["likelihoods"], 0.8) and found["accuracy"] > 0.8


def test_digits(run):
    _, found = run("digits", 60)
    assert fell(found["losses"], 0.6) and found["accuracy"] > 0.7


def test_black_scholes(run):
    module, found = run("black_scholes", 25)
    s, k, r, v = found["spots"].numpy(), module.STRIKE, module.RATE, module.VOLATILITY
    d1 = np.log(s / k) + r + v**2 / 2
    d1 /= v
    d2 = d1 - v
    discount = k * np.exp(-r)
    formulas = {
        "price": s * norm.cdf(d1) - discount * norm.cdf(d2),
        "delta": norm.cdf(d1),
        "gamma": norm.pdf(d1) / (s * v),
        "vega": s * norm.pdf(d1),
        "theta": -s * norm.pdf(d1) * v / 2 - r * discount * norm.cdf(d2),
        "rho": discount * norm.cdf(d2),
    }
    assert found["greeks"].keys() == formulas.keys()
    for name, expected in formulas.items():
        np.testing.assert_allclose(found["greeks"][name].numpy(), expected, rtol=1e-9, atol=1e-9, err_msg=name)
    assert found["hedged"].std() < 0.2 * found["without"].std() and abs(found["hedged"].mean()) < 0.3


def test_bayesian_regression(run):
    module, found = run("bayesian_regression", 200)
    assert (abs(found["mean"] - found["best"]) < 0.5 * found["deviation"]).all()
    assert found["rate"] > 0.8
    best = found["best"].requires_grad_()
    module.energy(best).backward()
    assert abs(best.grad).max() < 1e-4


def test_lstm_text(run):
    _, found = run("lstm_text", 40)
    assert fell(found["losses"], 0.6)
    assert len(found["written"]) > 100 and set(found["written"]) <= set(found["text"])


def test_gpt(run):
    _, found = run("gpt", 40)
    assert fell(found["losses"], 0.75) and len(found["written"]) == 200


def test_vae(run):
    assert fell(run("vae", 60)[1]["losses"], 0.5)


def test_neural_ode(run):
    assert fell(run("neural_ode", 60)[1]["losses"], 0.5)


def test_denoising(run):
    _, found = run("denoising", 30)
    assert fell(found["losses"], 0.5) and found["after"] > found["before"]


def test_pinn(run):
    _, found = run("pinn", 300)
    assert fell(found["losses"], 0.1) and found["error"] < 0.3


def test_custom_function(run):
    _, found = run("custom_function", 150)
    assert found["checked"] == (True, True)
    assert np.allclose(found["elements"], found["truth"], atol=0.02)


def test_control_flow(run):
    _, found = run("control_flow", 40)
    assert np.allclose(found["minima"], 1, atol=1e-6) and max(found["counts"]) > min(found["counts"])


def test_without_matplotlib_the_figure_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    from common import save_figure

    save_figure(tmp_path / "x.png", lambda ax: pytest.fail("it is drawn"))
    assert capsys.readouterr().out == "no figure x.png: it needs matplotlib (pip install 'tracer[examples]')\n"


@pytest.mark.parametrize("name", NAMES)
def test_what_the_example_says_of_itself_is_so(name, monkeypatch):
    source = (FOLDER / f"{name}.py").read_text()
    assert len(source.splitlines()) < 120
    about = ast.get_docstring(ast.parse(source))
    assert f"python examples/{name}.py --steps" in about
    assert f"[{name}.py]({name}.py)" in README and f"]({name}.png)" in README
    assert (FOLDER / f"{name}.png").stat().st_size < 60_000
    monkeypatch.chdir(FOLDER.parent)
    command, *words = shlex.split(re.search(r"^ *(tracer dump .*)$", about, re.MULTILINE)[1])
    result = CliRunner().invoke(app, words)
    assert command == "tracer" and result.exit_code == 0, result.stderr
    assert len(result.stdout) > 500
