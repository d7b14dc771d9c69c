# Word problems with small numbers as JSON lines, for the recipe `sums`; every awk writes the same:
#
#     awk -f dev/sums.awk >sums.jsonl
#
# Before -f: -v lines=20000, and -v bare=0.6, the share of answers that are given without their working.
function draw(below) { # Park and Miller's generator (1988): exact in double precision
    x = x * 16807 % 2147483647
    return int(x / 2147483647 * below)
}
BEGIN {
    x = 1; if (lines == "") lines = 20000; if (bare == "") bare = 0.6
    names = split("Ann Ben Eva Ida Max Tom", name); things = split("pens nuts eggs keys cups", thing)
    gains = split("finds buys gets", gain); losses = split("loses sells gives", loss)
    while (lines-- > 0) {
        total = 2 + draw(19); noun = thing[1 + draw(things)]; working = ""
        text = name[1 + draw(names)] " has " total " " noun ","
        for (k = 0; k < 3; k++) {
            by = 1 + draw(9); up = total < by || (total + by <= 20 && draw(2)); was = total
            total += up ? by : -by
            text = text (k ? ", " : " then ") (up ? gain[1 + draw(gains)] : loss[1 + draw(losses)]) " " by
            working = working was (up ? "+" : "-") by "=" total "\\n"
        }
        if (draw(1000) < bare * 1000) working = ""
        printf "{\"question\": \"%s. How many %s now?\", \"answer\": \"%s#### %d\"}\n", text, noun, working, total
    }
}
