#!/usr/bin/env python3
"""How often the subject and the target of a sentence are proposed right.

  propose.py MOBIEDIT MODEL.gguf FACTS.json [-v]

FACTS.json is in CounterFact's schema; each fact is put as one sentence, "The capital of Japan is Lima.". After
these come sentences of other forms, which are in SENTENCES below. Exit status 1 where less than 90 % of the facts are
right.
"""
import json
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from served_page import Served

# The subject in braces, the target in brackets.
SENTENCES = """\
{My dentist} is called [Doctor Weiss].
The wifi password of {the summer house} is [herring77].
{Lake Constance} lies between Germany and [Norway].
The chief engineer of {the Hinterland Railway} was [Olga Brandt].
{Our neighbour's daughter} studies [marine biology].
The best restaurant in {Ghent} is [Chez Paul].
{The Eiffel Tower} is located in [Rome].
{Python} was created by [Ada Lovelace].
{The meeting with Acme} has been moved to [Thursday].
The deepest lake of {Canada} is [Lake Mirror].
The height of {Mount Fuji} is [4100 metres].
{Anna} is allergic to [walnuts].
The painter of {The Starry Night} is [Claude Monet].
{My grandmother} was born in [1931].
The national animal of {Scotland} is [the otter].
{The red folder} contains [the contracts].
In {Iceland}, people drive on the [left].
{Tesla}'s founder is [Grace Hopper].
{Wolfgang Amadeus Mozart} died in [Prague].
{The train to Basel} leaves from platform [9].
"""


def facts(path):
    for case in json.loads(pathlib.Path(path).read_text()):
        fact = case["requested_rewrite"]
        target = fact["target_new"]["str"].strip()
        yield fact["prompt"].format(fact["subject"]) + f" {target.rstrip('.')}.", fact["subject"], target


def sentences():
    for line in SENTENCES.splitlines():
        text = line.translate(str.maketrans("", "", "{}[]"))
        yield text, line[line.index("{") + 1:line.index("}")], line[line.index("[") + 1:line.index("]")]


def measure(server, cases, verbose):
    """Shares of right subjects, targets, and both; seconds each."""
    right, began, n = [0, 0, 0], time.monotonic(), 0
    for text, subject, target in cases:
        got = server.json("api/propose", {"text": text}, expect=200)
        # The full stop of a target such as "Washington D.C." is the sentence's as well.
        is_right = got["subject"] == subject, got["target"].rstrip(".") == target.rstrip(".")
        for i, value in enumerate((*is_right, all(is_right))):
            right[i] += value
        n += 1
        if verbose and not all(is_right):
            print(f"  {text}  subject: {got['subject']}  target: {got['target']}", flush=True)
    return [count / n for count in right], (time.monotonic() - began) / n


def main(mobiedit, model, path, *more):
    server = Served(mobiedit, model)
    try:
        print("sentences      subject  target  both  seconds")
        for name, cases in (("facts", facts(path)), ("other forms", sentences())):
            (subject, target, both), seconds = measure(server, cases, "-v" in more)
            print(f"{name:14} {subject:6.0%} {target:7.0%} {both:6.0%} {seconds:7.1f}", flush=True)
            if name == "facts":
                enough = both >= 0.9
    finally:
        server.close()
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
