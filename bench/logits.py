"""What accuracy_dump writes, and how far two engines' logits are apart. Needs numpy."""
import os
import subprocess

import numpy as np


class Dumps:
    """Outputs of accuracy_dump, kept in a folder."""

    def __init__(self, program, text, positions, folder):
        self.program, self.text, self.positions, self.folder = program, text, positions, folder

    def read(self, model, what, dtype=np.float32):
        path = os.path.join(self.folder, what)
        subprocess.run([self.program, model, self.text, str(self.positions), what, path], check=True)
        return np.fromfile(path, dtype=dtype).reshape(self.positions, -1)


def log_softmax(logits):
    x = logits.astype(np.float64)
    x -= x.max()
    return x - np.log(np.exp(x).sum())


def mean_kl(exact, logits):
    total = 0.0
    for p, q in zip(exact, logits):
        p, q = log_softmax(p), log_softmax(q)
        total += float((np.exp(p) * (p - q)).sum())
    return total / len(exact)


def greedy_share(a, b):
    """Share of positions with the same greedy token."""
    return float((a.argmax(1) == b.argmax(1)).mean())


def relative_difference(reference, logits):
    """In units of the reference's root mean square."""
    reference, logits = reference.astype(np.float64), logits.astype(np.float64)
    return float(np.sqrt(((logits - reference) ** 2).mean() / (reference**2).mean()))
