"""TRL's GRPOTrainer on the CPU for the same work as `train_rl bench only=cycle`. Prints the seconds of every step.

    python trl_loop.py MODEL GROUPSxSAMPLESxPROMPTxRESPONSE THREADS STEPS

Responses have a fixed length (no end of sequence is drawn before it); no reference model, one update a rollout.
With one thread the seconds are processor time, as bench's are.
"""
import sys
import tempfile
import time

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

clock = time.process_time if sys.argv[3] == "1" else time.perf_counter

MODELS = {  # vocabulary, layers, heads, width, hidden: the presets of model/arch.c
    "tiny-llama": (32, 2, 4, 64, 176),
    "llama-15m": (32000, 6, 6, 288, 768),
}


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
    vocabulary, layers, heads, width, hidden = MODELS[name]
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary, hidden_size=width, intermediate_size=hidden, num_hidden_layers=layers,
            num_attention_heads=heads, max_position_embeddings=length + new, tie_word_embeddings=True,
            pad_token_id=0, eos_token_id=1, bos_token_id=None,
        )
    )
    text = [" ".join(f"w{2 + (i * 7 + k) % (vocabulary - 2)}" for k in range(length)) for i in range(groups)]
    with tempfile.TemporaryDirectory() as folder:
        args = GRPOConfig(
            output_dir=folder, use_cpu=True, bf16=False, per_device_train_batch_size=groups * samples,
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
