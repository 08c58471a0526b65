"""ex11_model: facts about the whole language model."""

import math

import pytest
import torch

from minimind_ref.config import MiniMindConfig
from tests.support import block_weights, left_padding, refusal, run

VOCABULARY, HIDDEN, KV_HEADS, WIDTH = 97, 40, 3, 8  # of MiniMindConfig.tiny()
LAYERS, EXPERTS = 2, 3
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def config(**changes):
    few = {"num_hidden_layers": LAYERS, "num_experts": EXPERTS, "router_aux_loss_coef": 0.3}
    return MiniMindConfig.tiny(**(few | changes))


def weights_of(rng, **changes):
    """Random weights for every entry of the state dict but the head's, which is the embedding's."""
    weights = {
        EMBEDDING: rng.normal(VOCABULARY, HIDDEN, scale=0.3),
        "model.norm.weight": rng.uniform(HIDDEN, low=0.5, high=2.0),
    }
    for layer in range(LAYERS):
        weights |= block_weights(rng, config(**changes), f"model.layers.{layer}.")
    return weights


def tokens(rng, *shape):
    """Token ids, with those for padding, begin and end among them."""
    ids = rng.integers(0, VOCABULARY, *shape)
    ids.flatten()[1:4] = torch.arange(3)
    return ids


def model_of(answer, **changes):
    return answer.MiniMindForCausalLM(config(**changes))


def tied(weights):
    return {HEAD: weights[EMBEDDING]} | weights


def asked(model, weights, *args, **kwargs):
    """The model's output with these weights, the embedding's in the head as well."""
    return run(model, tied(weights), *args, **kwargs)


def in_chunks(model, weights, ids, sizes, mask=None):
    """Logits of a text that is fed in pieces of these sizes, and the last cache."""
    logits, past, first = [], None, 0
    for size in sizes:
        after = first + size
        out = asked(
            model,
            weights,
            ids[:, first:after],
            None if mask is None else mask[:, :after],
            past,
            use_cache=True,
        )
        logits.append(out.logits)
        past, first = out.past_key_values, after
    return torch.cat(logits, dim=1), past


def caches(past):
    """The keys and values of all layers by name."""
    return {
        f"{name} of layer {layer}": tensor
        for layer, pair in enumerate(past)
        for name, tensor in zip(("keys", "values"), pair, strict=True)
    }


def stacked_past(rng, count):
    """Keys and values of all layers, heads before tokens: [2, LAYERS, 2, K, count, d]."""
    return rng.normal(2, LAYERS, 2, KV_HEADS, count, WIDTH)


def as_past(both):
    """One (k, v) per layer, each [B, P, K, d], as views."""
    keys, values = both.transpose(-3, -2)
    return list(zip(keys, values, strict=True))


@pytest.mark.weight(2)
def test_a_model_has_the_weights_of_minimind(check, rng):
    """The state dict has the entries of MiniMind, both tied names among them, and no tables."""
    sizes = {
        "vocab_size": int(rng.integers(60, 90, 1)),
        "hidden_size": 2 * int(rng.integers(20, 28, 1)),
        "intermediate_size": int(rng.integers(61, 90, 1)),
        "num_hidden_layers": int(rng.integers(2, 4, 1)),
        "n_shared_experts": 1,
    }

    def entries(answer, sizes):
        found = {}
        for moe in (False, True):
            model = model_of(answer, use_moe=moe, **sizes)
            trained = {n for n, p in model.named_parameters(remove_duplicate=False)}
            found |= {
                f"{name} with use_moe={moe}": (
                    f"{list(value.shape)}, {'trained' if name in trained else 'not trained'}"
                )
                for name, value in sorted(model.state_dict().items())
                if not name.startswith(("model.layers.0.self_attn.", "model.layers.1.mlp.experts."))
            }
        return found

    check(entries, sizes, draws=True)


@pytest.mark.weight(2)
def test_a_model_starts_as_if_it_guessed(check, rng):
    """Matrices start with a standard deviation of 0.02, norms with 1: the first loss is ln V."""
    sizes = {
        "vocab_size": int(rng.integers(200, 300, 1)),
        "hidden_size": 128,
        "num_hidden_layers": 3,
        "n_shared_experts": 1,
    }
    texts = rng.integers(0, 200, 3, 60)

    def otherwise(name, values):
        """What is wrong with how a parameter starts; nothing if it is right."""
        if values.dim() == 1:
            return "" if bool((values == 1).all()) else f"{name} is not 1"
        count, spread = values.numel(), max(values.std().item(), 1e-9)
        as_wanted = abs(spread / 0.02 - 1) < 0.01 + 5 / (2 * count) ** 0.5
        if as_wanted and abs(values.mean().item()) < 0.12 / count**0.5:
            return ""
        return f"{name}: about {0.02 * 2.0 ** round(math.log2(spread / 0.02)):.2g}"

    def starts(answer, sizes, texts):
        found = {"V": sizes["vocab_size"]}
        for name, changes in (
            ("dense", {"tie_word_embeddings": False}),
            ("MoE", {"use_moe": True}),
        ):
            model = model_of(answer, **sizes, **changes)
            named = model.named_parameters(remove_duplicate=False)
            wrong = [told for told in (otherwise(*each) for each in named) if told]
            loss = model(texts, labels=texts).loss.item()
            found[f"{name}: standard deviations other than 0.02"] = wrong
            following = model_of(answer, **sizes, **changes).parameters()
            pairs = zip(model.parameters(), following, strict=False)
            found[f"{name}: matrices with which the next model starts, too"] = sum(
                torch.equal(*pair) for pair in pairs if pair[0].dim() >= 2
            )
            found[f"{name}: first loss within 0.3 of ln V"] = (
                abs(loss - math.log(sizes["vocab_size"])) < 0.3
            )
        return found

    check(starts, sizes, texts, draws=True)


@pytest.mark.weight(4)
def test_tokens_go_through_all_layers_and_the_norm(check, rng):
    """Embedding, layers in order, final norm, head: logits and hidden states of a dense model."""

    def full(answer, weights, ids):
        out = asked(model_of(answer), weights, ids)
        return {
            "logits": out.logits,
            "hidden_states": out.hidden_states,
            "loss": out.loss,
            "past_key_values": out.past_key_values,
            "aux_loss": out.aux_loss,
        }

    check(full, weights_of(rng), tokens(rng, 2, 5), grad=("weights",), draws=True)


@pytest.mark.weight(2)
def test_norm_and_tables_follow_the_config(check, rng):
    """The final norm has the config's eps, and the tables its head_dim and rope_theta."""

    def full(answer, weights, ids):
        model = model_of(answer, rms_norm_eps=1e-3, rope_theta=7.0)
        return {"logits": asked(model, weights, ids).logits}

    # So small that the final norm's eps decides: whatever is written onto the stream is.
    weights = weights_of(rng)
    for name in weights:
        if name.endswith(("embed_tokens.weight", "o_proj.weight", "down_proj.weight")):
            weights[name] *= 0.003
    check(full, weights, tokens(rng, 2, 9), grad=("weights",), draws=True)


@pytest.mark.weight(2)
def test_the_body_returns_hidden_states_cache_and_aux_loss(check, rng):
    """MiniMindModel gives (hidden, past_key_values, aux_loss), with a mask and a past as well."""

    def body(answer, weights, ids, mask, both):
        model = answer.MiniMindModel(config(max_position_embeddings=9))
        own = {
            name.removeprefix("model."): value for name, value in weights.items() if name != HEAD
        }
        hidden, past, aux_loss = run(model, own, ids, mask[:, 4:])
        later, present, _ = run(model, own, ids, mask, as_past(both), use_cache=True)
        real = mask[:, 4:].bool()
        found = {"hidden": hidden[real], "past": past, "aux_loss": aux_loss, "after a past": later}
        found["10 tokens"] = refusal(lambda: run(model, own, ids.repeat(1, 2)))
        return found | caches(present)

    inputs = weights_of(rng), tokens(rng, 2, 5), left_padding(9, 0, 2), stacked_past(rng, 4)
    check(body, *inputs, grad=("weights", "both"), draws=True)


@pytest.mark.weight(3)
def test_any_chunking_gives_the_full_pass(check, rng):
    """Full pass = token by token = chunks of 3, 2 and 2: positions go on where the past ends."""

    def chunkings(answer, weights, ids):
        model = model_of(answer)
        out = asked(model, weights, ids, use_cache=True)
        single, past = in_chunks(model, weights, ids, (1,) * 7)
        chunks, _ = in_chunks(model, weights, ids, (3, 2, 2))
        found = {"full pass": out.logits, "token by token": single, "chunks of 3, 2, 2": chunks}
        found["layers in past_key_values"] = len(past)
        return found | caches(past) | {"keys of a full pass": out.past_key_values[-1][0]}

    check(chunkings, weights_of(rng), tokens(rng, 2, 7), draws=True)


@pytest.mark.weight(3)
def test_padding_is_seen_by_nobody(check, rng):
    """Left-padded rows give at their real positions what they give alone, chunk by chunk too."""

    def padded(answer, weights, ids, mask):
        real = mask.bool()
        model = model_of(answer)
        alone = asked(model, weights, ids[2:, 4:]).logits
        short = mask[:, 1:]
        return {
            "full pass": asked(model, weights, ids, mask).logits[real],
            "chunks of 3, 1, 3": in_chunks(model, weights, ids, (3, 1, 3), mask)[0][real],
            "the last row alone": alone,
            "a mask that is too short": refusal(lambda: asked(model, weights, ids, short)),
        }

    inputs = weights_of(rng), tokens(rng, 3, 7), left_padding(7, 0, 2, 4)
    check(padded, *inputs, draws=True)


@pytest.mark.weight(2)
def test_one_past_can_be_continued_twice(check, rng):
    """A past serves twice, with use_cache and without; gradients reach it."""

    def continued(answer, weights, one, other, both):
        past, model = as_past(both), model_of(answer)
        first = asked(model, weights, one, past_key_values=past, use_cache=True)
        second = asked(model, weights, other, past_key_values=tuple(past))
        again = asked(model, weights, one, past_key_values=past)
        found = {
            "one": first.logits,
            "hidden states of one": first.hidden_states,
            "the other": second.logits,
            "one again": again.logits,
            "past without use_cache": again.past_key_values,
            "layers in the past that came in": len(past),
        }
        return found | caches(first.past_key_values)

    inputs = weights_of(rng), tokens(rng, 2, 3), tokens(rng, 2, 4), stacked_past(rng, 5)
    check(continued, *inputs, grad=("weights", "both"), draws=True)


@pytest.mark.weight(2)
def test_positions_end_where_the_config_says(check, rng):
    """P + S = max_position_embeddings is possible, and one more is a ValueError."""

    def lengths(answer, weights, ids):
        model = model_of(answer, max_position_embeddings=9)
        past = asked(model, weights, ids[:, :7], use_cache=True).past_key_values
        return {
            "9 tokens": asked(model, weights, ids[:, :9]).logits,
            "2 tokens after 7": asked(model, weights, ids[:, 7:9], None, past).logits,
            "10 tokens": refusal(lambda: asked(model, weights, ids)),
            "3 tokens after 7": refusal(
                lambda: asked(model, weights, ids[:, 7:], past_key_values=past)
            ),
        }

    check(lengths, weights_of(rng), tokens(rng, 2, 10), draws=True)


def some_labels(rng, *shape):
    """Labels of which rows count a different number, and none, one or all of those at the ends."""
    labels = tokens(rng, *shape)
    labels[0, 2:] = -100
    labels[1, :2] = -100
    labels[2, 3] = -100
    return labels


@pytest.mark.weight(6)
def test_the_loss_is_that_of_the_next_tokens(check, rng):
    """Each position is judged by the next label, in a mean over all that count; of none it is 0.

    A loss of nothing has gradients of 0, and is not NaN.
    """

    def losses(answer, weights, ids, labels):
        model = model_of(answer)
        out = asked(model, weights, ids, labels=labels)
        none, first = torch.full_like(labels, -100), torch.full_like(labels, -100)
        first[:, 0] = labels[:, 0]
        single = none.clone()
        single[1, 3] = labels[1, 3]
        of_nothing = {
            "of no label": asked(model, weights, ids, labels=none).loss,
            "of only the first label": asked(model, weights, ids, labels=first).loss,
            "of one token": asked(model, weights, ids[:, :1], labels=labels[:, :1]).loss,
        }
        found = {"loss": out.loss, "logits": out.logits} | of_nothing
        found["of one label"] = asked(model, weights, ids, labels=single).loss
        # No gradient and one of zeros are the same to a weight, but not to backward().
        return found | {
            f"{name}: has a gradient": loss.requires_grad for name, loss in of_nothing.items()
        }

    labels = some_labels(rng, 3, 6)
    check(losses, weights_of(rng), tokens(rng, 3, 6), labels, grad=("weights",), draws=True)


@pytest.mark.weight(3)
def test_kept_logits_are_the_last(check, rng):
    """logits_to_keep keeps so many last positions and changes neither loss nor hidden states."""

    def kept(answer, weights, ids, labels):
        model, found = model_of(answer), {}
        for count in (3, 8):
            out = asked(model, weights, ids, logits_to_keep=count)
            found[f"logits with {count}"] = out.logits
            found[f"hidden states with {count}"] = out.hidden_states
        judged = asked(model, weights, ids, logits_to_keep=1, labels=labels)
        found |= {"loss with 1": judged.loss, "logits with 1 and labels": judged.logits}
        return found

    labels = some_labels(rng, 3, 6)
    check(kept, weights_of(rng), tokens(rng, 3, 6), labels, grad=("weights",), draws=True)


@pytest.mark.weight(3)
def test_balance_losses_are_summed_beside_the_loss(check, rng):
    """aux_loss is the sum over the layers of this call, is not in the loss, and has a gradient."""

    def mixed(answer, weights, ids, other, labels):
        model = model_of(answer, use_moe=True)
        first = asked(model, weights, ids, labels=labels)
        second = asked(model, weights, other)
        # A new one: a layer that has kept a loss cannot be deep-copied, and may be in a copy.
        model = model_of(answer, use_moe=True, aux_loss_kind="sequence").eval()
        quiet = asked(model, weights, ids, labels=labels)
        return {
            "loss": first.loss,
            "logits": first.logits,
            "aux_loss": first.aux_loss,
            "aux_loss of another batch": second.aux_loss,
            "aux_loss in eval": quiet.aux_loss,
            "loss in eval": quiet.loss,
        }

    inputs = (
        weights_of(rng, use_moe=True),
        tokens(rng, 3, 6),
        tokens(rng, 2, 5),
        some_labels(rng, 3, 6),
    )
    check(mixed, *inputs, grad=("weights",), draws=True)


@pytest.mark.weight(3)
def test_embedding_and_head_are_one_parameter(check, rng):
    """Tied weights are one parameter, trained once; without tie_word_embeddings they are two."""

    def trained(answer, weights, head, ids):
        found = {}
        for tie in (True, False):
            model = model_of(answer, tie_word_embeddings=tie)
            named = dict(model.named_parameters(remove_duplicate=False))
            alike = HEAD in named and torch.equal(named[EMBEDDING], named[HEAD])
            model.load_state_dict(tied(weights) if tie else weights | {HEAD: head})
            model.zero_grad()
            loss = model(ids, labels=ids).loss
            loss.backward()
            gradient = named[EMBEDDING].grad.clone()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.5 * parameter.grad
            found |= {
                f"one parameter with tie_word_embeddings={tie}": named[EMBEDDING] is named[HEAD],
                f"equal at the start with tie_word_embeddings={tie}": alike,
                f"loss with tie_word_embeddings={tie}": loss.detach(),
                f"gradient of the embedding with {tie}": gradient,
                f"head after a step with {tie}": named[HEAD].detach().clone(),
                f"logits after a step with {tie}": model(ids).logits.detach(),
            }
        return found

    weights = weights_of(rng)
    head = rng.normal(VOCABULARY, HIDDEN, scale=0.3)
    reason = "the step has changed the weights of the model that is asked again"
    check(
        trained,
        weights,
        head,
        tokens(rng, 2, 6),
        draws=True,
        without={"again": reason, "refused": reason},
    )


@pytest.mark.weight(2)
def test_half_precision_ends_at_the_loss(check, rng):
    """In half precision logits and hidden states have the weights' dtype; the loss is float32."""

    def halves(answer, weights, ids):
        model = model_of(answer, tie_word_embeddings=False)
        out = asked(model, weights, ids)
        # The least likely tokens: float16 holds the logits, but not what these labels cost.
        labels = torch.cat((ids[:, :1], out.logits[:, :-1].argmin(dim=-1)), dim=1)
        return {
            "logits": out.logits,
            "hidden_states": out.hidden_states,
            "aux_loss": out.aux_loss,
            "loss": asked(model, weights, ids, labels=labels).loss,
        }

    weights = weights_of(rng) | {HEAD: rng.normal(VOCABULARY, HIDDEN, scale=1600.0)}
    check(halves, weights, tokens(rng, 3, 6), half=("weights",), matmul=True, draws=True)


@pytest.mark.weight(2)
def test_parameters_are_counted_once(check, rng):
    """count_parameters gives all parameters, and those that a token uses, for any config."""
    sizes = {
        "num_hidden_layers": int(rng.integers(2, 5, 1)),
        "num_experts": 5 + 2 * int(rng.integers(0, 2, 1)),
        "num_experts_per_tok": int(rng.integers(2, 4, 1)),
        "moe_intermediate_size": int(rng.integers(9, 30, 1)),
        "n_shared_experts": 3,
    }

    def counts(answer, sizes):
        found = {}
        for name, changes in (
            ("dense", {}),
            ("dense, not tied", {"tie_word_embeddings": False}),
            ("MoE", {"use_moe": True}),
        ):
            settings = config(**sizes, **changes)
            model = answer.MiniMindForCausalLM(settings)
            model.model.embed_tokens.requires_grad_(False)
            found[name] = list(answer.count_parameters(model, settings))
            found[f"{name}, without head"] = list(answer.count_parameters(model.model, settings))
        return found

    check(counts, sizes, draws=True)
