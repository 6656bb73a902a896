"""Put small faults into the code, one at a time, and see whether the tests notice: ``mutants.py [OPTIONS] [PATH ...]``.

A test suite that passes says little about a fault it never meets. This draws a sample of small faults (a statement
left out, a lock not taken, a condition turned round, a bound off by one), puts each into a copy of the repository and
runs the tests that mirror the file, and those of its joints with others. Faults that no test notices are the result:
each wants a test, unless the program is still right with it. The working tree is only read.

The well-kept tools for this do not fit. mutmut runs the whole suite in one process to learn which test meets which
line, and here much of what counts runs in processes of its own; cosmic-ray changes the working tree and has one test
command for everything. Neither leaves out statements and locks, which are what goes unnoticed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("channel_layer", "routing", "workers", "interface_server", "channels")

JOINTS = {
    "workers": [
        "tests/workers/test_worker.py",
        "tests/workers/test_async_runner.py",
        "tests/workers/test_processes.py",
        "tests/workers/test_streams.py",
    ],
    "channel_layer": ["tests/channel_layer/test_conformance.py"],
    "channels": ["tests/channels/test_handler.py", "tests/channels/test_sync_threads.py"],
    "interface_server": [
        "tests/interface_server/http/test_protocol.py",
        "tests/interface_server/websocket/test_protocol.py",
        "tests/interface_server/test_server.py",
        "tests/interface_server/test_stopping.py",
    ],
}
"""Tests of what the files of a package do together, run after the mirrors of a file if those noticed nothing."""

LEAST_SECONDS = 20.0
"""Added to three times what the tests take without a fault; one that makes them run longer has been noticed."""

LONGEST_SECONDS = 600.0
"""What the tests of one file may take without a fault."""

NO_TESTS = 5
"""pytest's exit status if all tests of a file are slow and slow ones are left out."""

SWAPS: dict[type[ast.AST], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in", ast.Add: "-", ast.Sub: "+",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One fault: the bytes from ``start`` to ``end`` of a file become ``text``."""

    path: str
    line: int
    start: int
    end: int
    before: str
    text: str

    def apply(self, source: bytes) -> bytes:
        """The file with the fault in it."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def __str__(self) -> str:
        before = " ".join(self.before.split())
        return f"{self.path}:{self.line}: {before if len(before) < 90 else before[:87] + '...'}  →  {self.text.strip()}"


class Finder(ast.NodeVisitor):
    """Finds the places of one file where a fault can be put. Text, logging, types and default values are left alone."""

    def __init__(self, path: str, source: bytes) -> None:
        self.found: list[Mutant] = []
        self._path = path
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._functions: list[str] = []

    def _at(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def _text(self, node: ast.expr | ast.stmt) -> str:
        start, end = self._span(node)
        return self._source[start:end].decode()

    def _replace(self, start: int, end: int, text: str, line: int) -> None:
        mutant = Mutant(self._path, line, start, end, self._source[start:end].decode(), text)
        try:
            compile(mutant.apply(self._source), self._path, "exec", dont_inherit=True)
        except SyntaxError:
            return
        self.found.append(mutant)

    def _put(self, node: ast.expr | ast.stmt, text: str) -> None:
        self._replace(*self._span(node), text, node.lineno)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._functions.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self._functions.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        if self._functions:
            self._put(node, "pass")

    def visit_Expr(self, node: ast.Expr) -> None:
        call = node.value.value if isinstance(node.value, ast.Await) else node.value
        if not self._functions or isinstance(call, ast.Constant):
            return
        if isinstance(call, ast.Call):
            if self._text(call.func).startswith("logger."):
                return
            self._put(node, "pass")
        self.generic_visit(node)

    def _visit_assignment(self, node: ast.Assign | ast.AugAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if (
            self._functions
            and self._functions[-1] != "__init__"
            and all(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)
        ):
            self._put(node, "pass")
        self.visit(node.value)

    visit_Assign = visit_AugAssign = _visit_assignment

    def _visit_jump(self, node: ast.Delete | ast.Break | ast.Continue) -> None:
        self._put(node, "pass")

    visit_Delete = visit_Break = visit_Continue = _visit_jump

    def _visit_with(self, node: ast.With | ast.AsyncWith) -> None:
        if all(item.optional_vars is None for item in node.items):
            last = node.items[-1].context_expr
            self._replace(self._span(node)[0], self._span(last)[1], "if True", node.lineno)
        for statement in node.body:
            self.visit(statement)

    visit_With = visit_AsyncWith = _visit_with

    def visit_If(self, node: ast.If) -> None:
        if self._functions:
            self._put(node.test, "True")
            self._put(node.test, "False")
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._put(node.test, "True")
        self._put(node.test, "False")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        whole = isinstance(node.op, ast.And)
        for value in node.values:
            self._put(value, str(whole))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._put(node, f"({self._text(node.operand)})")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, operands, operands[1:], strict=False):
            self._swap(operator, left, right)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._swap(node.op, node.left, node.right)
        self.generic_visit(node)

    def _swap(self, operator: ast.AST, left: ast.expr, right: ast.expr) -> None:
        """Put another operator between two operands, unless text is put together."""
        of_text = any(isinstance(one, ast.Constant) and isinstance(one.value, str | bytes) for one in (left, right))
        if type(operator) in SWAPS and not of_text:
            self._replace(self._span(left)[1], self._span(right)[0], f" {SWAPS[type(operator)]} ", left.lineno)

    def visit_Constant(self, node: ast.Constant) -> None:
        if not self._functions or node.value is None:
            return
        if isinstance(node.value, bool):
            self._put(node, str(not node.value))
        elif isinstance(node.value, int):
            self._put(node, str(node.value + 1))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Texts stay as they are."""

    def visit_Call(self, node: ast.Call) -> None:
        if self._text(node.func) in ("min", "max"):
            self._put(node.func, "max" if self._text(node.func) == "min" else "min")
        self.generic_visit(node)


def sources(paths: list[str]) -> list[str]:
    """The Python files below some paths of the repository."""
    files = [
        found for path in paths for found in ([ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("*.py"))
    ]
    return sorted({str(file.relative_to(ROOT)) for file in files if "migrations" not in file.parts})


def mutants_of(path: str) -> list[Mutant]:
    """All faults that can be put into a file and that change it."""
    source = (ROOT / path).read_bytes()
    finder = Finder(path, source)
    finder.visit(ast.parse(source))
    return [mutant for mutant in finder.found if mutant.before != mutant.text]


def tests_of(path: str) -> list[str]:
    """Test files to run for a source file, in order: its mirrors, then those of the joints."""
    module = Path(path)
    mirror = Path("tests") / module.parent / f"test_{module.stem}.py"
    folder = Path("tests") / module.parent.parent / f"test_{module.parent.name}.py"
    mirrors = [str(file) for file in (mirror, folder) if (ROOT / file).exists()]
    joints = [file for file in JOINTS.get(module.parts[0], []) if file not in mirrors and (ROOT / file).exists()]
    return [*mirrors[:1], *joints]


class Copy:
    """A copy of the repository in which one fault at a time is tried."""

    def __init__(self, directory: Path, quick: bool) -> None:
        self.directory = directory
        self._selection = ["-m", "not slow"] if quick else []
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True,
        )  # fmt: skip
        for name in listed.stdout.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, directory / name)
        self._written = 0
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def holding(self, mutant: Mutant) -> Iterator[None]:
        """The fault is in the copy until the block ends."""
        file = self.directory / mutant.path
        source = file.read_bytes()
        self._write(file, mutant.apply(source))
        try:
            yield
        finally:
            self._write(file, source)

    def _write(self, file: Path, source: bytes) -> None:
        # Python takes a compiled file for fresh by the second of its source; so each change gets one of its own.
        file.write_bytes(source)
        self._written += 1
        os.utime(file, (self._written, self._written))

    def passes(self, tests: str, seconds: float) -> bool:
        """Whether the tests of a file pass within the time."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *self._selection, tests]
        environment = os.environ | {"PYTHONPATH": str(self.directory)}
        with subprocess.Popen(
            command, cwd=self.directory, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:  # fmt: skip
            self._process = process
            try:
                return process.wait(seconds) in (0, NO_TESTS)
            except subprocess.TimeoutExpired:
                return False
            finally:
                # Also what the tests started and a fault kept them from ending.
                self.end_tests()

    def end_tests(self) -> None:
        """End the tests that run, and what they started; callable from any thread."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


class Run:
    """Tries faults in several copies at a time until none is left or the time is over."""

    def __init__(self, sample: list[Mutant], minutes: float, quick: bool) -> None:
        self.survivors: list[Mutant] = []
        self.tried = 0
        self.broken: set[str] = set()
        self._left: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
        for mutant in sample:
            self._left.put(mutant)
        self._deadline = time.monotonic() + minutes * 60
        self._quick = quick
        self._copies: list[Copy] = []
        self._stopped = False
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}

    def work(self, directory: Path) -> None:
        """Try one after the other in a copy at this place."""
        copy = Copy(directory, self._quick)
        self._copies.append(copy)
        while time.monotonic() < self._deadline:
            try:
                mutant = self._left.get_nowait()
            except queue.Empty:
                return
            noticed = self._is_noticed(copy, mutant)
            with self._lock:
                if self._stopped:
                    return
                if noticed is not None:
                    self.tried += 1
                if noticed is False:
                    self.survivors.append(mutant)
                print({True: "noticed ", False: "SURVIVES", None: "unclear "}[noticed], mutant, flush=True)

    def stop(self) -> None:
        """Try no more, and forget what is being tried."""
        self._stopped, self._deadline = True, 0.0
        for copy in self._copies:
            copy.end_tests()

    def _is_noticed(self, copy: Copy, mutant: Mutant) -> bool | None:
        """Whether tests notice it; None if they do not pass without it either."""
        for tests in tests_of(mutant.path):
            seconds = self._limit(copy, tests)
            if not seconds:
                return None
            with copy.holding(mutant):
                if not copy.passes(tests, seconds):
                    return True
        return False

    def _limit(self, copy: Copy, tests: str) -> float:
        """How long tests may take; 0 if they do not pass as the code is."""
        if tests not in self._seconds:
            started = time.monotonic()
            passed = copy.passes(tests, LONGEST_SECONDS)
            self._seconds[tests] = LEAST_SECONDS + 3 * (time.monotonic() - started) if passed else 0.0
            if not passed and not self._stopped:
                self.broken.add(tests)
        return self._seconds[tests]


def main() -> int:
    """Try a sample and report; the exit status is 1 if a fault went unnoticed or tests fail as they are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("paths", nargs="*", default=list(ROOMS), help="files or packages, by default all five")
    parser.add_argument("--count", type=int, default=60, help="how many faults, by default 60")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000), help="repeats a sample")
    parser.add_argument("--minutes", type=float, default=60, help="when to end at the latest, by default 60")
    parser.add_argument("--processes", type=int, default=2, help="faults tried at a time, by default 2")
    parser.add_argument("--quick", action="store_true", help="leave out tests marked as slow")
    parser.add_argument("--list", action="store_true", help="print the sample and try nothing")
    options = parser.parse_args()
    possible = [mutant for path in sources(options.paths or list(ROOMS)) for mutant in mutants_of(path)]
    sample = random.Random(options.seed).sample(possible, min(options.count, len(possible)))
    print(f"{len(sample)} of {len(possible)} possible faults, --seed {options.seed}", flush=True)
    if options.list:
        print(*sample, sep="\n")
        return 0
    run = Run(sample, options.minutes, options.quick)
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        threads = [
            threading.Thread(target=run.work, args=(Path(directory) / str(number),), daemon=True)
            for number in range(options.processes)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            run.stop()
            for thread in threads:
                thread.join()
    print(f"\n{run.tried} tried, {len(run.survivors)} unnoticed (--seed {options.seed})")
    for mutant in sorted(run.survivors, key=lambda mutant: (mutant.path, mutant.line)):
        print(mutant)
    for tests in sorted(run.broken):
        print(f"not used, because they fail without a fault: {tests}")
    return int(bool(run.survivors or run.broken))


if __name__ == "__main__":
    sys.exit(main())
