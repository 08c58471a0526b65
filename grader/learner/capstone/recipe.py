"""How large the capstone's model is, what it reads, and how long it is trained.

Chosen so that two cores need two or three minutes; `grader bench capstone` measures that.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from minimind_ref.config import MiniMindConfig

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PAD, BOS, EOS = range(3)
"""The ids of the special tokens: padding, the beginning of a text, and its end."""

_STAGES = 10
_POSITIONS = 512
"""More than any text of the corpus needs, whatever the vocabulary."""


@dataclass(frozen=True)
class Recipe:
    """All numbers of one training.

    `target` is the mean loss of the last `window` steps at which the training ends; with None it
    takes all `steps`. Over the first `warmup` of them the learning rate rises to its peak, `lr`. A
    step reads `batch` rows: texts of the course's own, or pieces of a file of `context` tokens.
    """

    texts: int = 6000
    tokenizer_texts: int = 400
    vocab_size: int = 700
    hidden_size: int = 128
    intermediate_size: int = 256
    layers: int = 2
    heads: int = 8
    kv_heads: int = 4
    context: int = 128
    batch: int = 16
    steps: int = 3400
    lr: float = 4e-3
    warmup: int = 200
    weight_decay: float = 0.1
    target: float | None = 0.457
    window: int = 375
    save_every: int = 25
    samples: int = 100
    new_tokens: int = 120
    temperature: float = 0.3
    seed: int = 0

    def config(self) -> MiniMindConfig:
        """The model's sizes."""
        return MiniMindConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            max_position_embeddings=_POSITIONS,
            bos_token_id=BOS,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )

    def stage(self, step: int) -> tuple[float, int]:
        """The peak of the learning rate for what comes after a step, and the step up to which.

        The learner's schedule has no warm-up. Without one the model needs half as many steps again,
        so the peak itself rises, in ten stages.
        """
        if step >= self.warmup:
            return self.lr, self.steps
        length = -(-self.warmup // _STAGES)
        number = step // length + 1
        return self.lr * number / (_STAGES + 1), min(number * length, self.warmup)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


TINY = Recipe(
    texts=40,
    tokenizer_texts=40,
    vocab_size=300,
    hidden_size=16,
    intermediate_size=32,
    layers=1,
    heads=2,
    kv_heads=1,
    context=32,
    batch=4,
    steps=8,
    warmup=3,
    window=2,
    save_every=2,
    samples=2,
    new_tokens=12,
)
"""So small that it learns nothing, in a second: for tests."""

USUAL = Recipe()
"""What `grader capstone` does."""
