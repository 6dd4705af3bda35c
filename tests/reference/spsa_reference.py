"""Writes tests/data/spsa_reference.json: what the float32 reference's spsa does with our generator's directions.

  PYTHONPATH=$(scripts/python_packages.sh reference) python3 tests/reference/spsa_reference.py MODEL.gguf OUT.json

The spsa of reference.py runs here, unchanged but for where its directions come from; every loss it asks for is written down.
tests/edit/test_spsa_reference.c repeats the runs on the quantized engine.
"""
import hashlib, json, math, os, re, sys

import torch

import reference

FACT = {"prompt": "The capital city of {} is", "subject": "South Korea", "target_new": {"str": "New Delhi"}}
LAYER, SEED, STEPS, DIRECTIONS = 13, 20250613, 20, 5
SHOWN = 16  # values of vectors that are written down to be compared
MASK = (1 << 64) - 1


class Random:
    """src/base/random.c again: xoshiro256** seeded by splitmix64; normals by Box-Muller."""

    def __init__(self, seed):
        self.state = []
        for _ in range(4):
            seed = (seed + 0x9E3779B97F4A7C15) & MASK
            z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
            self.state.append(z ^ (z >> 31))

    def bits(self):
        s, rotate = self.state, lambda x, k: ((x << k) | (x >> (64 - k))) & MASK
        result = (rotate((s[1] * 5) & MASK, 7) * 9) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]; s[3] ^= s[1]; s[1] ^= s[2]; s[0] ^= s[3]; s[2] ^= t
        s[3] = rotate(s[3], 45)
        return result

    def uniform(self):
        return (self.bits() >> 11) * 2.0 ** -53

    def normals(self, n):
        out = []
        for _ in range(0, n, 2):
            radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform()))
            angle = 6.283185307179586 * self.uniform()
            out += [radius * math.cos(angle), radius * math.sin(angle)]
        return out[:n]


def sequences(model):
    """The token sequences of reference.Edit, which keeps only what it makes of them."""
    target, carriers = model.enc(" " + FACT["target_new"]["str"]), []
    for c in reference.CARRIERS:
        text = c.replace("{}", FACT["prompt"])
        end = text.index("{}") + len(FACT["subject"])
        ids, p = reference.last_of(model, text.replace("{}", FACT["subject"]), end)
        carriers.append({"tokens": ids + target[:-1], "edit_pos": p, "read_pos": len(ids) - 1})
    ids, p = reference.last_of(model, FACT["subject"] + " is a", len(FACT["subject"]))
    return target, carriers, {"tokens": ids, "edit_pos": p, "read_pos": len(ids) - 1}


def run(edit, name, h, lr):
    random, losses, loss_of = Random(SEED), [], edit.loss

    def recorded(deltas):
        loss, nll = loss_of(deltas)
        losses.append(loss.tolist())
        return loss, nll

    randn, torch.randn = torch.randn, lambda k, d: torch.tensor(random.normals(k * d), dtype=torch.float32).view(k, d)
    edit.loss = recorded
    try:
        delta, _ = reference.spsa(edit, steps=STEPS, dirs=DIRECTIONS, h=h, lr=lr)
    finally:
        torch.randn, edit.loss = randn, loss_of
    nll, kl = edit.nll(edit.hidden(delta[None]))[0].mean().item(), edit.kl(delta[None]).item()
    print(name, [round(sum(r) / len(r), 3) for r in losses], "nll", nll, "kl", kl, "|delta|", delta.norm().item())
    return {"name": name, "seed": SEED, "difference": h, "step": lr, "n_steps": STEPS, "n_directions": DIRECTIONS,
            "losses": losses, "delta": delta[:SHOWN].tolist(), "delta_norm": delta.norm().item(), "nll_at_end": nll,
            "kl_at_end": kl}


def rounded(value):
    """Nine significant digits name a float32."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    model = reference.Model(sys.argv[1])
    edit = reference.Edit(model, FACT, LAYER)
    target, carriers, essence = sequences(model)
    assert len(carriers) == edit.P
    # The paper's h, and one that makes |h V| about .3 |v|, which integers resolve, with a step length to match:
    # the loss falls by 3 nats.
    coarse = 0.3 * edit.v.item() / math.sqrt(model.d)
    out = {"model": os.path.basename(sys.argv[1]),
           "sha256": hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest(), "fact": FACT, "layer": LAYER,
           "target": target, "carriers": carriers, "essence": essence, "value_norm": edit.v.item(),
           "directions": [float(v) for v in torch.tensor(Random(SEED).normals(SHOWN), dtype=torch.float32)],
           "runs": [run(edit, "paper", 1e-3, 5e-2), run(edit, "coarse", coarse, 10.0)]}
    with open(sys.argv[2], "w") as f:
        f.write(re.sub(r"\s*\n\s+(?=[-\d\]])", " ", json.dumps(rounded(out), indent=1)) + "\n")  # a list of numbers a line


if __name__ == "__main__":
    main()
