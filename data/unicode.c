/* UTF-8 and white space (unicode.h): what needs no library. */
#include "unicode.h"
#include <string.h>

int utf8_next(const char *s, int len, enum utf8_kind *kind)
{
    const unsigned char *b = (const unsigned char *)s;
    int n = b[0] < 0x80 ? 1 : b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : b[0] < 0xf5 ? 4 : 0;
    /* The second byte has a narrower range after these: overlong forms, surrogates, above U+10FFFF. */
    unsigned low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
    unsigned high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
    int good = 1;
    while (good < n && good < len && b[good] >= low && b[good] <= high) {
        low = 0x80;
        high = 0xbf;
        good++;
    }
    *kind = n > 0 && good == n ? UTF8_CHARACTER : n > 0 && good == len ? UTF8_CUT : UTF8_BROKEN;
    return good;
}

int utf8_point(const char *s, int n)
{
    static const unsigned char mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    int point = (unsigned char)s[0] & mask[n];
    for (int i = 1; i < n; i++)
        point = point << 6 | ((unsigned char)s[i] & 0x3f);
    return point;
}

int utf8_put(char to[4], int point)
{
    int n = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (int i = n - 1; i > 0; i--, point >>= 6)
        to[i] = (char)(0x80 | (point & 0x3f));
    to[0] = (char)(lead[n] | point);
    return n;
}

int utf8_valid(const char *s, int len)
{
    enum utf8_kind kind = UTF8_CHARACTER;
    for (int i = 0; i < len && kind == UTF8_CHARACTER;)
        if ((unsigned char)s[i] < 0x80)
            i++;
        else
            i += utf8_next(s + i, len - i, &kind);
    return kind == UTF8_CHARACTER;
}

void utf8_repair(const char *s, int len, struct text *t)
{
    int done = 0;
    for (int i = 0; i < len;) {
        enum utf8_kind kind;
        int n = utf8_next(s + i, len - i, &kind);
        if (kind != UTF8_CHARACTER) {
            text_add(t, s + done, i - done);
            text_add(t, "\xef\xbf\xbd", 3);
            done = i + n;
        }
        i += n;
    }
    text_add(t, s + done, len - done);
}

int white_space(const char *s, int len)
{
    if (len > 0 && (*s == ' ' || (*s >= '\t' && *s <= '\r')))
        return 1;
    if (len > 1 && *s == '\xc2' && (s[1] == '\x85' || s[1] == '\xa0'))
        return 2;
    if (len < 3)
        return 0;
    int point = ((unsigned char)s[0] & 0xf0) == 0xe0 ? utf8_point(s, 3) : 0;
    return point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 ||
                   point == 0x202f || point == 0x205f || point == 0x3000
               ? 3
               : 0;
}
