# From the table of scaling.sh to a figure: one panel a series, both axes logarithmic.
{
    if (!($1 in count)) name[++series] = $1
    i = ++count[$1]
    x[$1, i] = $2
    y[$1, i] = $3
}
function log10(v) { return log(v) / log(10) }
END {
    wide = 250; high = 190; columns = 3
    rows = int((series + columns - 1) / columns)
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"11\">\n", columns * wide, rows * high
    print "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    for (s = 1; s <= series; s++) {
        k = name[s]; n = count[k]
        left = (s - 1) % columns * wide + 50; top = int((s - 1) / columns) * high + 30
        w = wide - 80; h = high - 75
        x0 = log10(x[k, 1]); x1 = log10(x[k, n]); y0 = 1e9; y1 = -1e9
        for (i = 1; i <= n; i++) {
            v = log10(y[k, i]); if (v < y0) y0 = v; if (v > y1) y1 = v
        }
        y0 = y0 - 0.1; y1 = y1 + 0.1
        printf "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">%s</text>\n", left, top - 10, k
        printf "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#999\"/>\n", left, top, w, h
        line = ""
        for (i = 1; i <= n; i++) {
            px = left + 8 + (w - 16) * (log10(x[k, i]) - x0) / (x1 - x0); py = top + h - h * (log10(y[k, i]) - y0) / (y1 - y0)
            line = line sprintf("%.1f,%.1f ", px, py)
            printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"#1f77b4\"/>\n", px, py
            printf "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", px, top + h + 13, x[k, i]
            printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"#555\">%.3g</text>\n", px, py - 5, y[k, i]
        }
        printf "<polyline points=\"%s\" fill=\"none\" stroke=\"#1f77b4\"/>\n", line
        printf "<text x=\"%d\" y=\"%d\" fill=\"#555\">microseconds a token</text>\n", left, top + h + 27
    }
    print "</svg>"
}
