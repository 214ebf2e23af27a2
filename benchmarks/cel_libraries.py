"""Compares the Python libraries of CEL that are installed: import, compile, evaluate (docs/adr/0010).

python -m venv /tmp/cel && /tmp/cel/bin/pip install cel-expr-python common-expression-language cel-python
/tmp/cel/bin/python benchmarks/cel_libraries.py
"""

import subprocess
import sys
import textwrap

CONDITION = 'proposal.cpu > 0.5 && workload.namespace in ["a", "b"] && labels["team"] == "x"'
PREPARE = {
    "cel-expr-python": """
        from cel_expr_python import cel
        text = cel.Type.STRING
        kinds = {"proposal.cpu": cel.Type.DOUBLE, "workload.namespace": text}
        kinds["labels"] = cel.Type.Map(text, text)
        environment = cel.NewEnv(variables=kinds)
        data = {"proposal.cpu": 0.7, "workload.namespace": "a", "labels": {"team": "x"}}
        compile_ = environment.compile
        evaluate = lambda program: program.eval(data=data).value()
    """,
    "common-expression-language": """
        import cel
        data = {"proposal": {"cpu": 0.7}, "workload": {"namespace": "a"}, "labels": {"team": "x"}}
        compile_ = cel.compile
        evaluate = lambda program: program.execute(data)
    """,
    "cel-python": """
        import celpy
        environment = celpy.Environment()
        plain = {"proposal": {"cpu": 0.7}, "workload": {"namespace": "a"}, "labels": {"team": "x"}}
        data = celpy.json_to_cel(plain)
        compile_ = lambda text: environment.program(environment.compile(text))
        evaluate = lambda program: program.evaluate(data)
    """,
}
MEASURE = """
    import time
    program = compile_(CONDITION)
    assert evaluate(program)
    begin = time.process_time()
    for _ in range(200):
        compile_(CONDITION)
    compiled = (time.process_time() - begin) / 200
    begin = time.process_time()
    for _ in range(2000):
        evaluate(program)
    evaluated = (time.process_time() - begin) / 2000
    try:
        compile_("proposl.cpu > 1.0")
        found = "when evaluated"
    except Exception:
        found = "when compiled"
    imported = (ready - start) * 1000
    print(f"{imported:.0f} ms | {compiled * 1e6:.0f} µs | {evaluated * 1e6:.1f} µs | {found}")
"""


def main() -> None:
    """Measures each library in a process of its own."""
    print("| library | import | compile | evaluate | unknown variable |\n|---|---|---|---|---|")
    for name, prepare in PREPARE.items():
        script = "\n".join(
            (
                "import time; start = time.perf_counter()",
                textwrap.dedent(prepare),
                f"ready = time.perf_counter(); CONDITION = {CONDITION!r}",
                textwrap.dedent(MEASURE),
            )
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        print(f"| {name} | {done.stdout.strip() or 'not installed'} |")


if __name__ == "__main__":
    main()
