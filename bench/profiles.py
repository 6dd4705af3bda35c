#!/usr/bin/env python3
"""What the arithmetic of mobile NPUs leaves of an edit, by the length of the steps that a solver measures with.

  profiles.py BUILD MODEL.gguf FACTS.json [--n N] [--prompts N] [--spsa N] [--layer L] [--svg FILE] [--json FILE]

Three tables, each with the native engine beside the profiles: how well responses and slopes are measured
(bench/profile_accuracy.c, means over the first facts), then `mobiedit eval --quick` with the probe solver at different
steps, and with spsa. Edits are found under the profile and judged by libllama.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

from growth import WIDTH, HEIGHT, panel

PROFILES = ["none", "w8a16-static", "w8a8-static"]
STEPS = [1e-3, 1e-2, 0.1, 0.5]
COLOURS = {"native": "#1460aa", "none": "#1460aa", "native, two passes": "#888", "w8a16-static": "#2a8a3a",
           "w8a8-static": "#bb4411"}
FIGURES = ["rewrite", "paraphrase", "unchanged"]


def facts_of(options):
    facts = [case["requested_rewrite"] for case in json.loads(options.facts.read_text(encoding="utf-8"))]
    return [(f["prompt"].replace("{}", "{" + f["subject"] + "}"), f["target_new"]["str"]) for f in facts]


def accuracy(options, prompt, target):
    command = [options.build / "bench/profile_accuracy", options.model, pathlib.Path(__file__).parent / "text.txt",
               str(options.layer), prompt, target]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def mean_accuracy(runs):
    """[{arithmetic, text_kl, text_same, steps: [{step, response, slope}]}], means over the prompts"""
    means = []
    for same in zip(*(run["arithmetics"] for run in runs)):
        steps = [{name: statistics.mean(step[name] for step in steps) for name in ("step", "response", "slope")}
                 for steps in zip(*(one["steps"] for one in same))]
        means.append(same[0] | {"steps": steps})
    return means


def show_accuracy(means):
    print("\nwhat the arithmetic does to the model: 200 tokens of plain text, against the native engine")
    for one in means:
        print(f"{one['arithmetic']:>20}  KL {max(0, one['text_kl']):.4f} nats, {100 * one['text_same']:.1f} % of greedy tokens")
    for what, title in (("response", "responses: mean cosine with the native engine's at 0.1 |v|"),
                        ("slope", "slopes along random directions: correlation with those that responses tell")):
        print(f"\n{title}\n{'step, |v|':>20}" + "".join(f"{step['step']:>8.3g}" for step in means[0]["steps"]))
        for one in means:
            print(f"{one['arithmetic']:>20}" + "".join(f"{step[what]:>8.2f}" for step in one["steps"]), flush=True)


def evaluate(options, profile, n, *more):
    with tempfile.TemporaryDirectory() as folder:
        command = [options.build / "mobiedit", "eval", options.model, options.facts, "--quick", "--json", "-q", "--n", str(n),
                   "--place", "subject", "--profile", profile, *more]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True,
                                           env={"TMPDIR": folder, "OMP_WAIT_POLICY": "passive"}).stdout)
    del result["per_case"]
    return result


def shown(value):
    return "      -" if value is None else f"{100 * value:>5.0f} %"


def show_evaluation(name, result):
    print(f"{name:>26} " + " ".join(f"{shown(result[figure]):>11}" for figure in FIGURES) +
          f" {result['evals'] or 0:>12.0f} {result['seconds'] or 0:>8.1f}", flush=True)


def header(title):
    print(f"\n{title}\n{'':>26} " + " ".join(f"{figure:>11}" for figure in FIGURES) + f" {'evaluations':>12} {'seconds':>8}")


def plot(means, probes, path):
    def measured(what):
        return [(one["arithmetic"], COLOURS[one["arithmetic"]],
                 [(f"{step['step']:g}", 100 * max(0, step[what])) for step in one["steps"]]) for one in means]

    outcomes = [(profile, COLOURS[profile], [(f"{step:g}", 100 * result["rewrite"]) for step, result in rows])
                for profile, rows in probes.items()]
    panels = [("responses: cosine, %", "step, |v|", measured("response")),
              ("slopes: correlation, %", "step, |v|", measured("slope")),
              ("probe edits that hold in libllama, %", "probe step, |v|", outcomes)]
    body = "".join(panel(i * WIDTH, *p) for i, p in enumerate(panels))
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{len(panels) * WIDTH}" height="{HEIGHT}"'
                    f' font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>{body}</svg>\n',
                    encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("facts", type=pathlib.Path)
    parser.add_argument("--n", type=int, default=4, help="facts that the probe solver edits")
    parser.add_argument("--prompts", type=int, default=3, help="facts whose measurements are averaged")
    parser.add_argument("--probe-evals", type=int, default=800, help="most evaluations a fact")
    parser.add_argument("--spsa", type=int, default=1, help="facts that spsa edits")
    parser.add_argument("--spsa-evals", type=int, default=3000)
    parser.add_argument("--layer", type=int, default=13, help="where measurements are made; the default is SmolLM2's")
    parser.add_argument("--svg", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()

    runs = [accuracy(options, *fact) for fact in facts_of(options)[:options.prompts]]
    means = mean_accuracy(runs)
    show_accuracy(means)
    own = statistics.mean(1e-3 * run["d_model"] ** 0.5 / run["value_norm"] for run in runs)
    print(f"spsa's own steps, 1e-3 times a Gaussian vector, are {own:.2g} |v| long here")
    header(f"probe, {options.n} facts, at most {options.probe_evals} evaluations each")
    probes = {profile: [] for profile in PROFILES}
    for profile in PROFILES:
        for step in STEPS:
            result = evaluate(options, profile, options.n, "--probe-step", str(step), "--max-evals", str(options.probe_evals))
            probes[profile].append((step, result))
            show_evaluation(f"{profile}, {step:g}", result)
    header(f"spsa, {options.spsa} facts, at most {options.spsa_evals} evaluations each")
    spsa = {}
    for profile in PROFILES if options.spsa else []:
        spsa[profile] = evaluate(options, profile, options.spsa, "--solver", "spsa", "--max-evals", str(options.spsa_evals))
        show_evaluation(profile, spsa[profile])
    if options.json:
        options.json.write_text(json.dumps({"accuracy": means, "probe": probes, "spsa": spsa}), encoding="utf-8")
    if options.svg:
        plot(means, probes, options.svg)


if __name__ == "__main__":
    main()
