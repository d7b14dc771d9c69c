"""The graded solutions of GSM8K (Cobbe et al. 2021: 1,319 questions, four models each) through `train_rl verify`.

    python3 dev/reference/answers.py ./train_rl

Reads gsm8k/example_model_solutions.jsonl of ../shared/data (another folder: DATA=DIR), asks whether each solution has
the answer of the worked truth, and compares with the authors' label. Ends with status 1 when one is judged otherwise.
"""
import json
import os
import subprocess
import sys

MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


def main(program):
    path = os.environ.get("DATA", "../shared/data") + "/gsm8k/example_model_solutions.jsonl"
    with open(path, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    pairs = [(r["ground_truth"], r[m]) for r in rows for m in MODELS]
    lines = "".join(json.dumps({"gold": gold, "pred": p["solution"]}) + "\n" for gold, p in pairs)
    p = subprocess.run([program, "verify"], input=lines, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in p.stdout.split("\n")[:-1]]
    wrong = [(gold, q, a) for (gold, q), a in zip(pairs, answers) if a.get("equal") is not q["is_correct"]]
    for gold, q, a in wrong[:10]:
        print(q["is_correct"], a, repr(gold[-40:]), repr(q["solution"][-80:]))
    unparsable = sum(a.get("unparsable", True) for a in answers)
    print(f"{len(answers)} solutions, {len(wrong)} judged otherwise than labelled, {unparsable} unparsable")
    sys.exit(len(answers) != len(pairs) or len(wrong) > 0)


main(sys.argv[1]) if len(sys.argv) == 2 else sys.exit(__doc__)
