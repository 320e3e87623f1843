"""What a developer runs, by names: ``nox --list`` shows them, ``nox -s tests`` runs one.

All of it also works without nox, in an environment with ``pip install -e '.[dev]'``.
"""

from __future__ import annotations

import nox

nox.options.sessions = ["tests", "lint"]
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session) -> None:
    """Install this checkout with all that its tests need."""
    session.install("-e", ".[dev]")


@nox.session
def tests(session: nox.Session) -> None:
    """The fast tests, which need nothing but Python."""
    install(session)
    session.run("pytest", *session.posargs)


@nox.session(name="tests-all")
def tests_all(session: nox.Session) -> None:
    """All tests: also those that need database servers, a browser and processes (see the README)."""
    install(session)
    session.run("pytest", "-m", "", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """The fast tests, and whether they cover enough."""
    install(session)
    session.run("pytest", "--cov", "--cov-report=term:skip-covered", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types and floors."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("mypy", "--config-file", "tests/mypy.ini")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """The tests of the documentation: what it names exists, and its blocks and examples work."""
    install(session)
    modules = [f"tests/test_{name}.py" for name in ("docs", "readme", "examples")]
    session.run("pytest", "-m", "", *modules, *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The micro-benchmarks, or another of benchmarks/README.md: ``nox -s bench -- stores.py``."""
    install(session)
    if not session.posargs:
        session.run("pytest", "benchmarks/micro")
        return
    script, *arguments = session.posargs
    session.run("python", f"benchmarks/{script}", *arguments)
