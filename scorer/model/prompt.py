"""The token ids of the prompt, the answer and its levels, and the small tokenizer of `nano`."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from scorer.errors import ModelError
from scorer.model.configuration import ANSWER, PROMPT
from scorer.spec import LEVELS


def token_ids(tokenizer: Any) -> dict[str, Any]:
    """`prompt_ids`, `answer_ids` and `level_ids` of a configuration, for any tokenizer.

    Raises `ModelError` where two levels start with the same token: the score position could not tell them apart.
    """

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    # In byte-pair vocabularies a space belongs to the word after it, so each level is tokenised behind the answer.
    answer = encode(f" {ANSWER}")
    levels = [encode(f" {ANSWER} {level}")[len(answer)] for level in LEVELS]
    if len(set(levels)) < len(levels):
        raise ModelError(f"this tokenizer gives two of the levels {LEVELS} the same first token")
    return {"prompt_ids": encode(PROMPT), "answer_ids": answer, "level_ids": levels}


def small_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of only the words in prompt and answer, one token for each word, so that each level is one token."""
    words = " ".join((PROMPT, ANSWER, *LEVELS)).replace(".", " .").split()
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(["<unk>", "<pad>", *words]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106 - not a password
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")  # noqa: S106
