"""The question router: multinomial logistic regression on words, word pairs, concepts and character n-grams.

    P(intent | q) = softmax(W phi(q) + b),   minimise  -mean log P + ridge/2 |W|^2

by full-batch gradient descent with Nesterov's momentum from W = 0 (convex, so the result depends on the data alone).
Trained at start-up in about a second. `phi` is hashed (CRC-32) into a fixed number of columns and scaled to unit
length.
"""

import re
import zlib
from dataclasses import dataclass

import numpy as np

from pollux.autonomy.dialogue_grammar import CONCEPTS

COLUMNS = 2048
CONCEPT = {word: concept for concept, words in CONCEPTS.items() for word in words.split()}
WORD = re.compile(r"[a-z0-9<>]+")


def features(raw: str, masked: str) -> dict[int, float]:
    """Hashed feature counts of a question, as it was said and with its names, numbers and time spans masked."""
    out: dict[int, float] = {}

    def add(kind: str, text: str, weight: float) -> None:
        code = zlib.crc32(f"{kind}:{text}".encode())
        column, sign = code % COLUMNS, 1.0 if code >> 31 else -1.0
        out[column] = out.get(column, 0.0) + sign * weight

    words = WORD.findall(masked.lower())
    for word in words:
        add("w", word, 1.0)
        if word in CONCEPT:
            add("c", CONCEPT[word], 1.2)
    for pair in zip(["^", *words], [*words, "$"], strict=True):
        add("p", " ".join(pair), 0.8)
    if words:
        add("first", words[0], 0.8)
    for word in set(WORD.findall(raw.lower())):
        add("r", word, 0.4)
        padded = f"_{word}_"
        for n in (3, 4):
            for i in range(len(padded) - n + 1):
                add("n", padded[i : i + n], 0.2)
    return out


def vector(raw: str, masked: str) -> np.ndarray:
    """Unit-length feature vector (COLUMNS,)."""
    phi = np.zeros(COLUMNS, np.float32)
    for column, value in features(raw, masked).items():
        phi[column] = value
    return phi / max(float(np.linalg.norm(phi)), 1e-9)


@dataclass(frozen=True)
class Router:
    """A trained router: weights (COLUMNS, intents), offsets and the intents' names."""

    W: np.ndarray
    b: np.ndarray
    intents: tuple[str, ...]

    def __call__(self, raw: str, masked: str) -> list[tuple[str, float]]:
        """Intents with their probabilities, most likely first."""
        p = softmax(vector(raw, masked)[None] @ self.W + self.b)[0]
        return [(self.intents[i], float(p[i])) for i in np.argsort(-p)]


def softmax(z: np.ndarray) -> np.ndarray:
    """Rows that sum to one."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def train(examples: list[tuple[str, str, str]], *, ridge: float = 5e-5, steps: int = 100) -> Router:
    """Fit a router to (intent, raw, masked) examples."""
    intents = tuple(sorted({intent for intent, _, _ in examples}))
    X = np.stack([vector(raw, masked) for _, raw, masked in examples])
    Y = np.zeros((len(X), len(intents)), np.float32)
    Y[np.arange(len(X)), [intents.index(intent) for intent, _, _ in examples]] = 1.0
    W = np.zeros((COLUMNS, len(intents)), np.float32)
    b = np.zeros(len(intents), np.float32)
    rate = np.float32(1.0 / (0.25 * 2.0 + ridge))  # 1 / Lipschitz constant: |phi| = 1, and the offset adds 1
    rate *= np.float32(12.0)  # most rows point elsewhere: the curvature met is far below the bound
    V, v = W, b
    for k in range(steps):
        R = (softmax(X @ V + v) - Y) / np.float32(len(X))
        W_new = V - rate * (X.T @ R + np.float32(ridge) * V)
        b_new = v - np.float32(0.1) * rate * R.sum(axis=0)
        push = np.float32(k / (k + 3))
        V, v = W_new + push * (W_new - W), b_new + push * (b_new - b)
        W, b = W_new, b_new
    return Router(W, b, intents)
