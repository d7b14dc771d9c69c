/* One C file from many: the sources cut into items (a function, a type, a table, a macro, each with its comment), those
 * kept that the program can reach, names of files' own made different where two files use the same one, and everything
 * written in reading order.
 *
 * Not a C compiler: it knows the form of this repository (clang-format, definitions begin in column 0, braces and
 * parentheses are balanced in every branch of a conditional) and nothing else. What it gets wrong does not compile.
 */
#ifndef ONEFILE_H
#define ONEFILE_H
#include "session.h"

enum token_kind {
    TOKEN_NAME,
    TOKEN_TAG,    /* behind struct, union or enum */
    TOKEN_MEMBER, /* behind . or -> */
    TOKEN_OTHER   /* numbers, texts, operators: one character is enough of an operator */
};
struct token {
    int at, len, line; /* line: of the source, from 1 */
    enum token_kind kind;
    int gone; /* it stands in a statement that is left out */
};

enum item_kind {
    ITEM_FUNCTION,  /* with its body */
    ITEM_PROTOTYPE, /* a function without */
    ITEM_VARIABLE,
    ITEM_EXTERN,  /* a variable that is defined elsewhere */
    ITEM_TYPE,    /* struct, enum, typedef */
    ITEM_FORWARD, /* "struct x;" */
    ITEM_MACRO,
    ITEM_GROUP, /* #if to #endif */
    ITEM_OTHER  /* has no name of its own: _Static_assert, a macro that is called; stays where its file does */
};
struct code_item {
    int source, lead, at, end; /* bytes: comment before it, code, end with what follows on the line */
    int first, last;           /* its tokens */
    enum item_kind kind;
    int is_static, is_shared; /* is_shared: a type that a header announces */
    int reached, order;       /* order: place in the file that is written */
    int *uses;                /* items it refers to, once reached */
    int uses_n, uses_cap;
};
struct name { /* what an item declares */
    const char *s;
    int len, tag, item;
};
struct code_file {
    char path[160];
    char *text;
    int len, head; /* head: bytes of the comment that the file begins with */
    int is_header, is_part, placed;
    int first, last;               /* its items */
    int tokens_first, tokens_last; /* its tokens */
    char (*include)[160];          /* files of ours that it includes */
    int includes, include_cap;
    struct rename { /* of names that other files use as well */
        const char *s;
        int len, tag;
        char to[80];
    } * rename;
    int renames, rename_cap;
};
struct onefile {
    struct code_file *source;
    int sources, source_cap;
    struct token *token;
    int tokens, token_cap;
    struct code_item *item;
    int items, item_cap;
    struct name *name; /* sorted once everything is read */
    int names, name_cap;
};

/* onefile_read.c: a file of the tree, or a text as the file `path`; left_out: names of functions and members whose
 * statements are left out, NULL-terminated. */
int onefile_read(struct onefile *f, const char *path, const char *const *left_out, struct error *e);
void onefile_read_text(struct onefile *f, const char *path, char *text, const char *const *left_out);
int token_is(const struct code_file *s, const struct token *t, const char *word);

/* onefile_reach.c: everything that the function main needs, names made different, and in which order it is written:
 * that of the sources, each behind what it includes. */
int onefile_reach(struct onefile *f, struct error *e);
/* Is the prototype, the extern or the forward declaration needed, or does its definition stand before every use? */
int item_needed(const struct onefile *f, const struct code_item *x);
/* The definition of what a prototype or an extern declares; NULL: none was reached. */
const struct code_item *item_definition(const struct onefile *f, const struct code_item *x);

/* onefile_print.c: the system's headers that it needs, then the parts. */
void onefile_print(const struct onefile *f, struct text *out);

/* onefile_recipe.c: the recipe, the architecture and the vocabulary of an open session as constants of C. */
int onefile_recipe(const struct session *s, struct text *out, struct error *e);

void onefile_free(struct onefile *f);

#endif
