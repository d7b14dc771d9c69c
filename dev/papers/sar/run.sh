#!/bin/sh
# The self-aligned reward with GRPO and with PPO. See study.sh for the options.
study=sar title="Self-aligned reward"
. dev/papers/study.sh

# As in dev/papers/drpo: two operations modulo 6, every line repeated as a check up to 8 times, a teacher that knows all facts.
facts="task.mod=6 task.ops_min=2 task.ops_max=2 task.bare=0 task.wrong_facts=0"
task="$facts task.recheck=8"
if [ "$quick" = 1 ]; then
    size="rollout.prompts=8 rl.steps=40 rollout.max_new=127 eval.prompts=200 eval.samples=4 eval.every=0"
else
    size="rollout.prompts=16 rl.steps=60 rollout.max_new=127 eval.prompts=1000 eval.samples=4 eval.every=0"
fi
# shellcheck disable=SC2086 # the settings are words
{
    warm facts $facts warmup.steps=1000 model.context=144
    go_on recheck facts $task warmup.steps=250 warmup.lr=2e-3
    for alpha in 0 0.2 0.8; do
        run recheck GRPO "$alpha" sar $task $size "alpha=$alpha" l_max=127
        run recheck PPO "$alpha" ppo $task $size "rl.score=outcome, sar" \
            "rl.shape=sum(sar = $alpha), unfinished(penalty = \$eos_penalty)"
    done
}
go
table recheck "columns=before.sampled%,before.sampled_length,accuracy%,length,sampled%,sampled_length,start.sar.mean,log.sar.mean"
# What alpha changes under each trainer: over training, and as differences from the run of the same seed without it.
for method in GRPO PPO; do
    "$program" plot "$out/recheck/runs/$method,"* group=name phase=rl band=range smooth=2 y=log.accuracy,log.length \
        "title=$title with $method ($marked)" out="$results/curves-$method.png"
    "$program" compare "$out/recheck/runs/$method,"* "against=$method,0" columns=accuracy%,length,sampled%,sampled_length \
        "table=$results/paired-$method.md"
done
# Seed by seed: sampled accuracy, % / sampled length.
"$program" compare "$out/recheck/runs" columns=before.sampled,sampled,sampled_length "csv=$out/seeds.csv" >"$out/seeds.txt"
awk -F ',' -v seeds="$seeds" '
    NR > 1 {
        row = $1 " | " $2
        gsub(/"/, "", row)
        seed = $(NF - 3) + 0
        if (!(row in known)) { known[row] = 1; order[++n] = row }
        before[seed] = sprintf("%.1f", 100 * $(NF - 2))
        at[row, seed] = sprintf("%.1f / %.1f", 100 * $(NF - 1), $NF)
    }
    END {
        m = split(seeds, s, " ")
        for (i = 1; i <= m; i++) { head = head " seed " s[i] " |"; rule = rule "---:|"; start = start " " before[s[i]] " |" }
        print "| sampled, % / tokens | alpha |" head "\n|---|---|" rule "\n| before | |" start
        for (k = 1; k <= n; k++) {
            printf "| %s |", order[k]
            for (i = 1; i <= m; i++) printf " %s |", at[order[k], s[i]]
            print ""
        }
    }' "$out/seeds.csv" >"$results/seeds.md"
