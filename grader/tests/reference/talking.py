"""A tiny model that has learned a few conversations by heart, so that its answers are known."""

from functools import cache

import torch

from minimind_ref.app.fast import FastForCausalLM
from minimind_ref.app.folders import LoadedModel
from minimind_ref.app.vocabulary import Vocabulary
from minimind_ref.config import MiniMindConfig
from minimind_ref.dataset import render_chat

ANSWERS = {
    "Where is Paris?": "Paris is the capital of France.",
    "你是谁？": "我是一个小模型😀，很高兴认识你。",
    "Count!": "one two three four five six seven",
}


def conversation(question: str, answer: str | None = None) -> list[dict[str, str]]:
    said = [{"role": "user", "content": question}]
    return said if answer is None else [*said, {"role": "assistant", "content": answer}]


@cache
def talking_model() -> LoadedModel:
    """It answers each of the questions with its answer; its context has 96 tokens."""
    texts = [render_chat(conversation(*turn)) for turn in ANSWERS.items()]
    vocabulary = Vocabulary.trained_on(texts, 300)
    config = MiniMindConfig.tiny(
        vocab_size=len(vocabulary) + 2, num_hidden_layers=2, max_position_embeddings=96
    )
    torch.manual_seed(1)
    model = FastForCausalLM(config)
    rows = [torch.tensor([vocabulary.tokenizer.encode(text)]) for text in texts]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        for row in rows:
            loss = model(row, labels=row).loss
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return LoadedModel(config, model.eval(), vocabulary)
