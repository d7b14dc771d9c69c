"""Reference ids of tokenizers, from the Hugging Face tokenizers library. Never needed to build, run or test: what the
tests read is committed under test/ref/tokenizer/.

    python3 -m venv VENV && VENV/bin/pip install tokenizers==0.23.3
    VENV/bin/python dev/reference/tokenizers.py write               test/ref/tokenizer/ anew
    VENV/bin/python dev/reference/tokenizers.py compare ./train_rl  every family on some 3,000 texts, ids and text

"normalized" is read back otherwise: there the library shows special tokens although it was told to leave them out.

Both read ../shared/data (another folder: DATA=DIR), for the vocabularies of GPT-2, Qwen2 and stories260K and for text.
The other families are trained here, small: what matters is how their files cut, normalise and merge.

To add a family: a function in FAMILIES that returns a Tokenizer.
"""
import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

sys.path = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,  # noqa: E402
                        trainers)

DATA = os.environ.get("DATA", "../shared/data") + "/"
OUT = "test/ref/tokenizer/"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + REST
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + REST
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + CONTRACTIONS +
         r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + CONTRACTIONS +
         r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# ---- texts

RANGES = [(0x20, 0x7e), (0xa0, 0x24f), (0x250, 0x2ff), (0x300, 0x36f), (0x370, 0x3ff), (0x400, 0x52f), (0x530, 0x58f),
          (0x590, 0x5ff), (0x600, 0x6ff), (0x700, 0x74f), (0x780, 0x7bf), (0x7c0, 0x7ff), (0x900, 0x97f),
          (0x980, 0x9ff), (0xa00, 0xa7f), (0xa80, 0xaff), (0xb00, 0xb7f), (0xb80, 0xbff), (0xc00, 0xc7f),
          (0xc80, 0xcff), (0xd00, 0xd7f), (0xd80, 0xdff), (0xe00, 0xe7f), (0xe80, 0xeff), (0xf00, 0xfff),
          (0x1000, 0x109f), (0x10a0, 0x10ff), (0x1100, 0x11ff), (0x1200, 0x137f), (0x13a0, 0x13ff), (0x1400, 0x169f),
          (0x16a0, 0x16ff), (0x1780, 0x17ff), (0x1800, 0x18af), (0x1ab0, 0x1aff), (0x1b00, 0x1b7f), (0x1c80, 0x1c8f),
          (0x1d00, 0x1dff), (0x1e00, 0x1fff), (0x2000, 0x206f), (0x2070, 0x20ff), (0x2100, 0x218f), (0x2190, 0x23ff),
          (0x2460, 0x27bf), (0x2800, 0x28ff), (0x2c00, 0x2fff), (0x3000, 0x303f), (0x3040, 0x318f), (0x3400, 0x4dbf),
          (0x4e00, 0x9fff), (0xa000, 0xa4cf), (0xa640, 0xa7ff), (0xac00, 0xd7a3), (0xe000, 0xe0ff), (0xf900, 0xfaff),
          (0xfb00, 0xfdff), (0xfe00, 0xfe6f), (0xff00, 0xffef), (0x10000, 0x100ff), (0x10400, 0x1044f),
          (0x10d00, 0x10d8f), (0x11000, 0x1107f), (0x11380, 0x113ff), (0x11930, 0x1193f), (0x11f00, 0x11f5f),
          (0x12000, 0x123ff), (0x13000, 0x1342f), (0x16100, 0x1613f), (0x16fe0, 0x16fff), (0x1d400, 0x1d7ff),
          (0x1e030, 0x1e08f), (0x1e4d0, 0x1e4ff), (0x1f000, 0x1f1ff), (0x1f300, 0x1f64f), (0x1f900, 0x1faff),
          (0x20000, 0x2a6df), (0x2ebf0, 0x2ee5d), (0x31350, 0x323af), (0xe0020, 0xe01ef), (0x10ff00, 0x10ffff)]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\n\n", "\r", "\x0b", "\x0c", "\u0085", "\u00a0", "\u1680", "\u180e", "\u2003",
          "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff"]
PIECES = ["'s", "'S", "'LL", "'re", "'Ve", "'m", "'D", "'\u017f", "\u2019s", "don't", "I'M", "we'll've", "'", "''s", " 's",
          "<s>", "</s>", "<unk>", " <s> ", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>",
          "<|eot_id|>", " \t<tool> ", "</tool>  ", " word ", "words", "swordfish", "word.", "\u00e9word", "\u2581",
          "\u2581the", "\u2581\u2581", "\u0120", "\u010a", "<0x0A>", "http://a.b/c?d=e&f", "x==y!=z", "/* c */",
          "#include <stdio.h>\n", "def f(x):\n    return x**2\n", "\tif (a && b) {\n\t\treturn;\n\t}\n", "\ufb01",
          "\u00df", "\u0130", "\u00c5", "A\u030a", "\u212b", "e\u0301\u0323", "e\u0323\u0301", "\uac01",
          "\u1100\u1161\u11a8", "\ud55c\uad6d\uc5b4", "\u6f22\u5b57\u304b\u306a", "\u0e44\u0e17\u0e22",
          "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u2460\u2461", "\u2167",
          "\u00bd", "\u0663\u0664", "\U0001d7d8\U0001d7d9", "\u00b2\u00b3", "1,234,567.89", "12345678901234567890",
          "3.14e-10", "0xFF", "\0", "\x01\x02", "\x1b[31m", "\x7f", "\u0344", "\u0f73\u0f75", "\u1e9b\u0323", "\u0958",
          "\ufb1d", "\U0001d15e", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f3f3\ufe0f\u200d\U0001f308",
          "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", "\u2764\ufe0f", "1\ufe0f\u20e3"]
MARKS = [0x323, 0x301, 0x345, 0x334, 0x11935, 0x11930, 0x8d0, 0x93c] + list(range(0x300, 0x340))


def word(r):
    low, high = r.choice(RANGES)
    return "".join(chr(r.randint(low, high)) for _ in range(r.randint(1, 6)))


def made_text(r, most):
    """Bytes of one kind among several, about `most` pieces at most."""
    kind = r.random()
    if kind < .5:
        return "".join(word(r) if r.random() < .4 else r.choice(PIECES) if r.random() < .6
                       else r.choice(SPACES) * r.randint(1, 3) for _ in range(r.randint(1, most))).encode()
    if kind < .6:
        return "".join(chr(r.choice(MARKS) if r.random() < .7 else r.choice([r.randint(0x41, 0x7a),
                       r.randint(0x1100, 0x11ff), r.randint(0x900, 0x980)])) for _ in range(r.randint(1, 2 * most))).encode()
    if kind < .7:
        return "".join(r.choice("0123456789.,-+eE ") for _ in range(r.randint(1, 3 * most))).encode()
    if kind < .8:
        return bytes(r.randint(0, 0x20) if r.random() < .7 else r.randint(0x20, 0x7f) for _ in range(r.randint(1, 2 * most)))
    if kind < .9:
        return bytes(r.randint(0, 255) for _ in range(r.randint(1, 2 * most)))
    broken = bytearray("".join(word(r) + " " for _ in range(5)).encode())
    for _ in range(r.randint(1, 4)):
        broken[r.randrange(len(broken))] = r.randint(0, 255)
    return bytes(broken[:r.randint(1, len(broken))])


def documents():
    rows = []
    for name, key in (("gsm8k/train.jsonl", "answer"), ("humaneval/HumanEval.jsonl", "prompt"), ("mbpp/mbpp.jsonl", "code")):
        with open(DATA + name, encoding="utf-8") as f:
            rows += [json.loads(line)[key] for line in list(f)[:300]]
    with open(DATA + "tinystories/tinystories_sample.txt", encoding="utf-8") as f:
        return rows + f.read().split("\n\n")[:600]


def all_texts():
    r = random.Random(1)
    texts = [b""] + [p.encode() for p in PIECES + SPACES]
    for s in SPACES:
        for k in (2, 3, 7, 40):
            texts += [(s * k).encode(), ("a" + s * k + "b").encode()]
    texts += [d.encode() for d in r.sample(documents(), 500)]
    while len(texts) < 2700:
        texts.append(made_text(r, 30))
    points = [c for c in range(0x110000) if not 0xd800 <= c < 0xe000 and
              (unicodedata.category(chr(c)) != "Cn" or 0x31350 <= c <= 0x323af)]
    return texts + [" ".join(map(chr, points[i:i + 700])).encode() for i in range(0, len(points), 700)]


def few_texts():
    r = random.Random(2)
    texts = [b"", b"Hello world, it's 12345 o'clock.\n\n    return x\n"] + [p.encode() for p in PIECES[:46:2] + PIECES[46:]]
    texts += [(s * 2 + "a" + s * 3).encode() for s in SPACES]
    while len(texts) < 170:
        texts.append(made_text(r, 8))
    return texts


# ---- families

def corpus():
    yield from documents()
    r = random.Random(5)
    for _ in range(400):
        yield " ".join(word(r) if r.random() < .5 else r.choice(PIECES).replace("\0", "") for _ in range(20))


def byte_level(space=False, regex=True):
    return pre_tokenizers.ByteLevel(add_prefix_space=space, use_regex=regex)


def split(pattern, behavior="isolated"):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert=False)


def gpt2_model(vocab, merges):
    with open(DATA + vocab, encoding="utf-8") as f:
        ids = json.load(f)
    with open(DATA + merges, encoding="utf-8") as f:
        pairs = [tuple(x.split(" ")) for x in f.read().split("\n") if x and not x.startswith("#version")]
    return models.BPE(vocab=ids, merges=pairs)


def gpt2():
    t = Tokenizer(gpt2_model("gpt2-bpe/encoder.json", "gpt2-bpe/vocab.bpe"))
    t.pre_tokenizer, t.decoder = byte_level(), decoders.ByteLevel()
    t.add_special_tokens(["<|endoftext|>"])
    return t


def qwen2():
    t = Tokenizer(gpt2_model("qwen2-bpe/vocab.json", "qwen2-bpe/merges.txt"))
    t.normalizer, t.decoder = normalizers.NFC(), decoders.ByteLevel()
    t.pre_tokenizer = pre_tokenizers.Sequence([split(QWEN), byte_level(False, False)])
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return t


def stories():
    return Tokenizer.from_file(DATA + "stories260K/hf/tokenizer.json")


def bytes_trained(pre_tokenizer, vocab, ignore_merges=False, bos=False):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    t.pre_tokenizer, t.decoder = pre_tokenizer, decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    t.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    if bos:
        t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(
            single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
            special_tokens=[("<|begin_of_text|>", 0)])])
    t.add_tokens([AddedToken("<tool>", lstrip=True, normalized=False), AddedToken("</tool>", rstrip=True, normalized=True),
                  AddedToken("word", single_word=True, normalized=True)])
    return t


def llama3():
    return bytes_trained(pre_tokenizers.Sequence([split(LLAMA3), byte_level(False, False)]), 700, True, True)


def smollm2():
    return bytes_trained(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level()]), 600)


def prefixed():
    t = bytes_trained(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=False), byte_level(True)]), 500)
    t.post_processor = processors.TemplateProcessing(single="<|begin_of_text|> <|eot_id|> $A <|end_of_text|>", special_tokens=[
        ("<|begin_of_text|>", 0), ("<|end_of_text|>", 1), ("<|eot_id|>", 2)])
    return t


def splits():
    return bytes_trained(pre_tokenizers.Sequence([split(r"[\r\n]"), split(r"\s?\p{L}+"),
                         split(r"\s?\p{P}+", "merged_with_previous"), split("[\u4e00-\u9fa5\u3040-\u309f]+", "contiguous"),
                         pre_tokenizers.Split(":", "merged_with_next"), byte_level(False, False)]), 500)


def cased():
    return bytes_trained(pre_tokenizers.Sequence([split(CASED), byte_level(False, False)]), 500)


def fallback_trained(metaspace=False, all_bytes=True, normalized=False):
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    special = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)] * all_bytes
    words = (" " * (i > 0) + w for d in corpus() for i, w in enumerate(d.split(" ")))
    t.normalizer = normalizers.Replace(" ", "\u2581")
    t.train_from_iterator(words, trainers.BpeTrainer(vocab_size=600 if all_bytes else 350, special_tokens=special,
                                                     limit_alphabet=120, max_token_length=12, show_progress=False))
    file = json.loads(t.to_str())
    file["added_tokens"] = file["added_tokens"][:3]
    for a in file["added_tokens"]:
        a["normalized"] = normalized
    file["normalizer"] = None
    t = Tokenizer.from_str(json.dumps(file))
    if metaspace:
        t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="first", split=False)
        t.decoder = decoders.Metaspace("\u2581", "first")
    else:
        t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
        t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                       decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return t


FAMILIES = {"gpt2": gpt2, "qwen2": qwen2, "stories": stories, "llama3": llama3, "smollm2": smollm2, "prefixed": prefixed,
            "splits": splits, "cased": cased, "llama2": fallback_trained,
            "metaspace": lambda: fallback_trained(metaspace=True), "unknown": lambda: fallback_trained(all_bytes=False),
            "normalized": lambda: fallback_trained(normalized=True)}
SHARED = ("gpt2", "qwen2", "stories")  # their vocabularies lie in DATA
COMMITTED = ("llama3", "smollm2", "prefixed", "splits", "llama2", "metaspace")


def repaired(data):
    return data.decode("utf-8", "replace")


def write():
    texts = few_texts()
    with open(OUT + "texts.jsonl", "w") as f:
        for x in texts:
            f.write(json.dumps({"bytes": base64.b64encode(x).decode()}) + "\n")
    for name in SHARED + COMMITTED:
        t = FAMILIES[name]()
        if name in COMMITTED:
            os.makedirs(OUT + name, exist_ok=True)
            with open(OUT + name + "/tokenizer.json", "w", encoding="utf-8") as f:
                json.dump(json.loads(t.to_str()), f, ensure_ascii=False, separators=(",", ":"))
                f.write("\n")
        with open(OUT + name + ".jsonl", "w") as f:
            for x in texts:
                ids = t.encode(repaired(x)).ids
                line, text = {"ids": ids}, t.decode(ids)
                if text != repaired(x):
                    line["text"] = text
                f.write(json.dumps(line, separators=(",", ":")) + "\n")


def filter_lines(program, folder, objects, *options):
    lines = "".join(json.dumps(o) + "\n" for o in objects)
    p = subprocess.run([program, "tokenize", "model.path=" + folder, *options], input=lines, capture_output=True, text=True)
    rows = [json.loads(x) for x in p.stdout.split("\n")[:-1]]
    if len(rows) != len(objects):
        sys.exit(f"{folder}: {len(rows)} lines for {len(objects)}: {p.stderr}")
    return rows


def compare(program):
    texts, different = all_texts(), 0
    for name, make in FAMILIES.items():
        t = make()
        with tempfile.TemporaryDirectory() as folder:
            t.save(folder + "/tokenizer.json")
            want = [t.encode(repaired(x)).ids for x in texts]
            got = filter_lines(program, folder, [{"bytes": base64.b64encode(x).decode()} for x in texts], "special=1")
            back = filter_lines(program, folder, [{"ids": ids} for ids in want], "decode=1")
        wrong = [i for i, ids in enumerate(want) if got[i].get("ids") != ids]
        shown = [b["text"] if "text" in b else base64.b64decode(b["bytes"]).decode("utf-8", "replace") for b in back]
        misread = sum(s != t.decode(ids) for s, ids in zip(shown, want))
        print(f"{name}: {len(texts)} texts, {sum(map(len, want))} ids, {len(wrong)} texts with other ids, {misread} read back "
              f"otherwise", *(texts[i][:60] for i in wrong[:3]))
        different += len(wrong)
    sys.exit(different > 0)


if sys.argv[1:] == ["write"]:
    write()
elif len(sys.argv) == 3 and sys.argv[1] == "compare":
    compare(sys.argv[2])
else:
    sys.exit(__doc__)
