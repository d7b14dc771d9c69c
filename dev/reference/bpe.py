"""A small byte-level BPE for a JSONL file, as GPT-2's but with digits one by one, for models that are trained from nothing
(rewards/recipes/gsm8k.ini). Never needed to build, run or test.

    python3 -m venv VENV && VENV/bin/pip install tokenizers==0.23.3
    VENV/bin/python dev/reference/bpe.py FILE.jsonl 1024 DIR      then model.tokenizer=DIR
"""
import json
import os
import sys

sys.path = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402

WORDS = r"'(?:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

path, vocab, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with open(path, encoding="utf-8") as f:
    texts = [text for line in f for text in json.loads(line).values() if isinstance(text, str)]
t = Tokenizer(models.BPE())
t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(WORDS), "isolated"),
                                           pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
t.decoder = decoders.ByteLevel()
t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab, special_tokens=["<|endoftext|>"], show_progress=False,
                                                 initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
os.makedirs(out, exist_ok=True)
t.save(out + "/tokenizer.json")
ids = sum(len(t.encode(text).ids) for text in texts)
print(len(texts), "texts,", ids, "tokens of", round(sum(len(text.encode()) for text in texts) / ids, 3), "bytes")
