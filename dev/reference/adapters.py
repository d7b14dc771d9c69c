"""Small adapters of every kind, written by PEFT, for test/test_lora_files.c; and the other direction, what PEFT computes
from adapters that `train_rl` wrote and `transformers` from those it merged.

    python dev/reference/adapters.py write test/ref/checkpoints test/ref/adapters
    python dev/reference/adapters.py compare ./train_rl test/ref/checkpoints test/ref/adapters

Nothing here is needed to build or to run train_rl; README.md beside this file says how to make the environment. A case is
a row of CASES: the base in test/ref/checkpoints, what LoraConfig is given, the number format. Beside the adapter stands
expected.safetensors: ids, and the logits of all of them with the adapter and without, in single precision.
"""
import os
import shutil
import subprocess
import sys
import tempfile

# transformers imports a library of the name of tokenizers.py beside this file
sys.path = [p for p in sys.path if os.path.abspath(p or '.') != os.path.dirname(os.path.abspath(__file__))]
import json
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

IDS = 40
CASES = {
    'gpt2-all': ('gpt2-f32', dict(r=4, lora_alpha=8, target_modules=['c_attn', 'c_proj', 'c_fc'], fan_in_fan_out=True),
                 torch.float32),
    'gpt2-attention': ('gpt2-bf16', dict(r=3, lora_alpha=5, target_modules=['attn.c_attn', 'attn.c_proj'],
                                         fan_in_fan_out=True), torch.float32),
    'llama2-bf16': ('llama2-f32', dict(r=8, lora_alpha=16, target_modules=['q_proj', 'v_proj', 'up_proj']),
                    torch.bfloat16),
    'llama3-rank-stabilised': ('llama3-f32', dict(r=5, lora_alpha=7, use_rslora=True, lora_dropout=0.1,
                                                  target_modules=['k_proj', 'o_proj', 'mlp.gate_proj']), torch.float32),
    'qwen2-all': ('qwen2-f32', dict(r=2, lora_alpha=4, target_modules='all-linear'), torch.float32),
    'qwen3-few': ('qwen3-f32', dict(r=6, lora_alpha=3, target_modules=['q_proj', 'down_proj']), torch.float16),
}


def base_model(path):
    return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def logits(model, ids):
    with torch.no_grad():
        return model(ids[None].long()).logits[0].contiguous()


def write(bases, folder):
    for seed, (name, (base, config, dtype)) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        path, model = os.path.join(folder, name), base_model(os.path.join(bases, base))
        ids = torch.randint(0, model.config.vocab_size, (IDS,), dtype=torch.int32)
        before = logits(model, ids)
        adapted = get_peft_model(model, LoraConfig(task_type='CAUSAL_LM', **config)).eval()
        for key, w in adapted.named_parameters():
            if 'lora_' in key:
                w.data = (0.25 * torch.randn_like(w)).to(dtype).float()
        after = logits(adapted, ids)
        shutil.rmtree(path, ignore_errors=True)
        for key, w in adapted.named_parameters():
            if 'lora_' in key:
                w.data = w.data.to(dtype)
        adapted.save_pretrained(path)
        for leftover in ('README.md',):
            if os.path.exists(os.path.join(path, leftover)):
                os.remove(os.path.join(path, leftover))
        config_path = os.path.join(path, 'adapter_config.json')
        saved = json.load(open(config_path))
        saved['base_model_name_or_path'] = base
        saved['target_modules'] = sorted(saved['target_modules'])
        with open(config_path, 'w') as f:
            f.write(json.dumps(saved, indent=2) + '\n')
        save_file(dict(ids=ids, logits=after, base=before), os.path.join(path, 'expected.safetensors'))
        print(f'{path}: logits up to {after.abs().max():.2f}, moved by up to {(after - before).abs().max():.2f}')


def run(program, *words):
    subprocess.run([program, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def largest(a, b):
    return (a - b).abs().max().item()


def compare_case(program, base, adapter, t):
    """Ours written back, opened by PEFT: equal to the last bit. Ours merged, and PEFT's own merging."""
    expected, model = load_file(os.path.join(adapter, 'expected.safetensors')), base_model(base)
    ids, alone, merged = expected['ids'], os.path.join(t, 'alone'), os.path.join(t, 'merged')
    run(program, 'export', f'model.path={base}', f'model.lora_path={adapter}', f'out={alone}', 'adapter=true')
    run(program, 'export', f'model.path={base}', f'model.lora_path={adapter}', f'out={merged}')
    again = logits(PeftModel.from_pretrained(model, alone, torch_dtype=torch.float32).eval(), ids)
    theirs = PeftModel.from_pretrained(base_model(base), adapter).eval().merge_and_unload()
    return (largest(again, expected['logits']), largest(logits(base_model(merged), ids), expected['logits']),
            largest(logits(theirs, ids), expected['logits']))


def trained(program, base, t, rank):
    """An adapter that train_rl trained, from its checkpoint: PEFT's log-probabilities and those of `logprobs`."""
    out, targets = os.path.join(t, 'run'), 'all'
    run(program, 'rl', 'chain', f'model.path={base}', f'model.lora_rank={rank}', f'model.lora_targets={targets}',
        'warmup.steps=20', 'warmup.lr=1e-2', 'rl.steps=2', 'control.steps=1', 'rollout.prompts=4', 'rollout.max_new=8',
        'eval.prompts=4', f'run.out={out}')
    checkpoint = os.path.join(out, 'checkpoint')
    model = PeftModel.from_pretrained(base_model(checkpoint_base(checkpoint, t)), checkpoint).eval()
    ids = torch.randint(0, model.config.vocab_size, (IDS,), dtype=torch.int32)
    line = json.dumps(dict(ids=ids.tolist()))
    ours = json.loads(subprocess.run([program, 'logprobs', f'model.path={checkpoint}'], input=line, text=True, check=True,
                                     stdout=subprocess.PIPE).stdout)['logp'][1:]
    theirs = logits(model, ids).log_softmax(-1)[:-1].gather(1, ids[1:, None].long())[:, 0]
    return largest(torch.tensor(ours), theirs)


def checkpoint_base(checkpoint, t):
    """The base of a checkpoint alone: beside an adapter transformers would open both."""
    base = os.path.join(t, 'base')
    os.mkdir(base)
    for name in ('config.json', 'model.safetensors'):
        shutil.copy(os.path.join(checkpoint, name), base)
    return base


def compare(program, bases, folder):
    for name, (base, _, _) in CASES.items():
        with tempfile.TemporaryDirectory() as t:
            again, merged, theirs = compare_case(program, os.path.join(bases, base), os.path.join(folder, name), t)
        print(f'{name}: written back {again:.1e}; merged by us {merged:.1e}, by PEFT {theirs:.1e} from the unmerged')
        assert again == 0 and merged < 1e-4
    for base in ('gpt2-f32', 'llama3-f32', 'qwen2-f32', 'qwen3-f32'):
        with tempfile.TemporaryDirectory() as t:
            print(f'{base}: trained here, opened by PEFT: log-probabilities within '
                  f'{trained(program, os.path.join(bases, base), t, 4):.1e}')


if __name__ == '__main__':
    {'write': write, 'compare': compare}[sys.argv[1]](*sys.argv[2:])
