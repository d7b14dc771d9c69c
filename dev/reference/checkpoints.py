"""Small random checkpoints of every family, written by `transformers`, for test/test_checkpoint_files.c; and the other
direction, what `transformers` computes from directories that `train_rl export` wrote.

    python dev/reference/checkpoints.py write test/ref/checkpoints
    python dev/reference/checkpoints.py compare ./train_rl test/ref/checkpoints
    python dev/reference/checkpoints.py random gpt2 FOLDER          also qwen2-500m: full size, to measure with

Nothing here is needed to build or to run train_rl; README.md beside this file says how to make the environment. A case is
a row of CASES. Each is written twice: NAME-f32 as one file, NAME-bf16 in shards with its configuration in the form of
transformers 4 (`rope_scaling`, `rope_theta`, `torch_dtype`), where 5 writes `rope_parameters` and `dtype`. Beside the
model stands expected.safetensors: a prompt, the 64 ids that follow it greedily, and the logits of all of them but the
last, computed in single precision whatever the weights are stored in.
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

# transformers imports a library of the name of tokenizers.py beside this file
sys.path = [p for p in sys.path if os.path.abspath(p or '.') != os.path.dirname(os.path.abspath(__file__))]
import torch
import transformers
from safetensors.torch import save_file, load_file

PROMPT, NEW, V = 8, 64, 48
SHARD = '8KB'
LLAMA = dict(vocab_size=V, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
             max_position_embeddings=80, hidden_act='silu')
CASES = {
    'gpt2': dict(model_type='gpt2', vocab_size=V, n_positions=80, n_embd=16, n_layer=2, n_head=4, bos_token_id=1,
                 eos_token_id=1),
    'llama2': dict(LLAMA, model_type='llama', rms_norm_eps=1e-5, rope_parameters=dict(rope_type='default', rope_theta=1e4),
                   bos_token_id=1, eos_token_id=2),
    'llama3': dict(LLAMA, model_type='llama', num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5, bos_token_id=3,
                   eos_token_id=[4, 6, 7],
                   rope_parameters=dict(rope_type='llama3', rope_theta=5e5, factor=8.0, low_freq_factor=1.0,
                                        high_freq_factor=4.0, original_max_position_embeddings=64)),
    'qwen2': dict(LLAMA, model_type='qwen2', num_key_value_heads=2, rms_norm_eps=1e-6, tie_word_embeddings=True,
                  rope_parameters=dict(rope_type='default', rope_theta=1e6), bos_token_id=5, eos_token_id=5),
    'qwen3': dict(LLAMA, model_type='qwen3', num_key_value_heads=1, head_dim=12, rms_norm_eps=1e-6,
                  tie_word_embeddings=True, rope_parameters=dict(rope_type='default', rope_theta=1e6), bos_token_id=5,
                  eos_token_id=6, pad_token_id=5),
    'smollm2': dict(LLAMA, model_type='llama', hidden_size=24, num_attention_heads=3, num_key_value_heads=1,
                    rms_norm_eps=1e-5, tie_word_embeddings=True,
                    rope_parameters=dict(rope_type='default', rope_theta=1e5), bos_token_id=1, eos_token_id=2),
}
FULL = {
    'gpt2': dict(model_type='gpt2'),
    'qwen2-500m': dict(model_type='qwen2', vocab_size=151936, hidden_size=896, intermediate_size=4864,
                       num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
                       max_position_embeddings=32768, rms_norm_eps=1e-6, tie_word_embeddings=True,
                       rope_parameters=dict(rope_type='default', rope_theta=1e6)),
}


def make(config, seed, scale):
    config = dict(config)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config)).eval()
    with torch.no_grad():
        for name, w in model.named_parameters():
            if w.dim() > 1 and scale:
                w.normal_(0, scale)
            elif scale:  # norms around 1, biases around 0: both would be invisible at their initial values
                w += 0.3 * torch.randn_like(w)
    return model


def greedy(model, ids):
    """Ids after NEW greedy steps, logits of every position, the smallest lead of a chosen token over the next one."""
    ids, lead = list(ids), float('inf')
    with torch.no_grad():
        for _ in range(NEW):
            top = model(torch.tensor([ids])).logits[0, -1].topk(2)
            lead = min(lead, (top.values[0] - top.values[1]).item())
            ids.append(top.indices[0].item())
        logits = model(torch.tensor([ids[:-1]])).logits[0]
    return ids, logits, lead


def old_form(config):
    rope = config.pop('rope_parameters', None)
    if rope:
        config['rope_theta'] = rope.pop('rope_theta')
        config['rope_scaling'] = rope if rope['rope_type'] != 'default' else None
    config['torch_dtype'] = config.pop('dtype')
    return config


def open_single(path):
    return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def write_form(model, path, dtype, shard):
    shutil.rmtree(path, ignore_errors=True)
    model.to(dtype).save_pretrained(path, max_shard_size=shard)
    model.to(torch.float32)
    if dtype == torch.bfloat16:
        with open(os.path.join(path, 'config.json')) as f:
            config = old_form(json.load(f))
        with open(os.path.join(path, 'config.json'), 'w') as f:
            f.write(json.dumps(config, indent=2) + '\n')


def write_case(folder, name, config):
    for seed in range(1000):
        model, results = make(config, seed, 0.4), {}
        prompt = torch.randint(0, V, (PROMPT,)).tolist()
        for form, dtype, shard in (('f32', torch.float32, '1GB'), ('bf16', torch.bfloat16, SHARD)):
            path = os.path.join(folder, f'{name}-{form}')
            write_form(model, path, dtype, shard)
            results[path] = greedy(open_single(path), prompt)
        # where two tokens are nearly level, single precision may decide either way; a text that repeats shows little
        if all(lead > 1e-2 and len(set(ids)) >= 12 for ids, _, lead in results.values()):
            break
    for path, (ids, logits, lead) in results.items():
        save_file(dict(ids=torch.tensor(ids, dtype=torch.int32), logits=logits.contiguous()),
                  os.path.join(path, 'expected.safetensors'))
        print(f'{path}: seed {seed}, logits up to {logits.abs().max():.2f}, smallest lead {lead:.4f}, '
              f'{len(set(ids))} different ids, {len(glob.glob(path + "/model*.safetensors"))} files')


def compare_case(program, path):
    """Our exports of the directory, as transformers computes them, against its own rounding of the original."""
    expected = load_file(os.path.join(path, 'expected.safetensors'))
    ids, worst = expected['ids'][None, :-1].long(), []
    for form, dtype in (('f32', torch.float32), ('bf16', torch.bfloat16), ('f16', torch.float16)):
        for shard in (0, 0.008):
            with tempfile.TemporaryDirectory() as t:
                out = os.path.join(t, 'out')
                subprocess.run([program, 'export', f'model.path={path}', f'out={out}', f'dtype={form}',
                                f'shard_mb={shard}'], check=True, stdout=subprocess.DEVNULL)
                with torch.no_grad():
                    ours, model = open_single(out)(ids).logits, open_single(path)
                    for w in model.parameters():  # not model.to(dtype), which rounds the rotary frequencies too
                        w.data = w.data.to(dtype).to(torch.float32)
                    theirs, own = model(ids).logits, transformers.AutoModelForCausalLM.from_pretrained(out)
                with open(os.path.join(path, 'config.json')) as f, open(os.path.join(out, 'config.json')) as g:
                    was, now = json.load(f), json.load(g)
                same = torch.equal(ours, theirs) and own.dtype == dtype
                same &= (len(glob.glob(out + '/model*.safetensors')) > 1) == (shard > 0)
                same &= all(was.get(k) == now.get(k) for k in ('bos_token_id', 'eos_token_id', 'pad_token_id'))
                worst.append(same)
    lines = subprocess.run([program, 'logprobs', f'model.path={path}'], check=True, capture_output=True, text=True,
                           input=json.dumps(dict(ids=expected['ids'].tolist())) + '\n').stdout
    logp = torch.tensor(json.loads(lines)['logp'][1:], dtype=torch.float64)
    theirs = expected['logits'].double().log_softmax(-1).gather(1, expected['ids'][1:, None].long())[:, 0]
    print(f'{path}: {sum(worst)} of {len(worst)} exports have identical logits; log-probabilities of train_rl differ by '
          f'at most {(logp - theirs).abs().max():.1e}')
    return all(worst)


def main(what, *words):
    if what == 'write':
        for name, config in CASES.items():
            write_case(words[0], name, config)
    elif what == 'compare':
        sys.exit(not all([compare_case(words[0], p) for p in sorted(glob.glob(words[1] + '/*'))]))
    elif what == 'random':
        make(FULL[words[0]], 1, 0).save_pretrained(words[1], max_shard_size='1GB')


if __name__ == '__main__':
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    main(*sys.argv[1:])
