"""TRL's GRPOTrainer for the same work as `train_rl bench only=cycle`. Prints the seconds of every step.

    python trl_loop.py MODEL GROUPSxSAMPLESxPROMPTxRESPONSE THREADS STEPS [DEVICE]

DEVICE: cpu (default) or cuda, in single precision; with -bf16 behind it, weights are loaded in bf16 and trained so.
Responses have a fixed length (no end of sequence is drawn before it); no reference model, one update a rollout.
With one thread of a processor the seconds are processor time, as bench's are.
"""
import sys
import tempfile
import time

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen3Config
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

DEVICE, _, PRECISION = (sys.argv[5] if len(sys.argv) > 5 else "cpu").partition("-")
clock = time.process_time if DEVICE == "cpu" and sys.argv[3] == "1" else time.perf_counter

MODELS = {  # vocabulary, layers, heads, those of keys and values, their size, width, hidden, kind: as in model/arch.c
    "tiny-llama": (32, 2, 4, 4, 16, 64, 176, LlamaConfig),
    "llama-15m": (32000, 6, 6, 6, 48, 288, 768, LlamaConfig),
    "gpt2": (50257, 12, 12, 12, 64, 768, 3072, GPT2Config),
    "qwen2-500m": (151936, 24, 14, 2, 64, 896, 4864, Qwen2Config),
    "qwen3-600m": (151936, 28, 16, 8, 128, 1024, 3072, Qwen3Config),
    "gpt2-xl": (50257, 48, 25, 25, 64, 1600, 6400, GPT2Config),
}


def config(name, longest):
    vocabulary, layers, heads, groups, size, width, hidden, kind = MODELS[name]
    both = {"vocab_size": vocabulary, "tie_word_embeddings": True, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    if kind is GPT2Config:
        return kind(n_embd=width, n_layer=layers, n_head=heads, n_inner=hidden, n_positions=1024, **both)
    return kind(
        hidden_size=width, intermediate_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=groups, head_dim=size, max_position_embeddings=longest, **both,
    )


class Clock(TrainerCallback):
    def on_step_begin(self, args, state, control, **rest):
        self.start = getattr(self, "start", None) or clock()

    def on_step_end(self, args, state, control, **rest):
        now = clock()
        print(f"{now - self.start:.6f}", flush=True)
        self.start = now


def words(vocabulary):
    names = {"<pad>": 0, "<end>": 1, **{f"w{i}": i for i in range(2, vocabulary)}}
    tokenizer = Tokenizer(models.WordLevel(names, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")


def main():
    name, shape, threads, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    groups, samples, length, new = map(int, shape.split("x"))
    vocabulary = MODELS[name][0]
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config(name, length + new)).to(DEVICE)
    if PRECISION:
        model = model.bfloat16()
    text = [" ".join(f"w{2 + (i * 7 + k) % (vocabulary - 2)}" for k in range(length)) for i in range(groups)]
    with tempfile.TemporaryDirectory() as folder:
        args = GRPOConfig(
            output_dir=folder, use_cpu=DEVICE == "cpu", bf16=bool(PRECISION), per_device_train_batch_size=groups * samples,
            num_generations=samples, max_completion_length=new, max_steps=steps, learning_rate=1e-6, beta=0.0,
            generation_kwargs={"min_new_tokens": new}, report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True, gradient_checkpointing=False,
        )
        trainer = GRPOTrainer(
            model=model, args=args, processing_class=words(vocabulary), train_dataset=Dataset.from_dict({"prompt": text}),
            reward_funcs=lambda completions, **rest: [float(len(c) % 7) for c in completions], callbacks=[Clock()],
        )
        trainer.train()


main()
