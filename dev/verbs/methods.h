/* Recipes seen as methods: what `list methods` and `list variants` print, and the README's table. */
#ifndef METHODS_H
#define METHODS_H
#include <stdio.h>
#include "../../rewards/recipe.h"

/* A recipe is a method when it has [params] and its title names a paper with its year: "NAME: PAPER (YEAR), ...". */
int is_method(const struct recipe_file *r);
void methods_print(FILE *f);    /* a line each */
void methods_markdown(FILE *f); /* the table of the README; dev/readme.sh puts it there */

/* Every [variant NAME] of every recipe with what it sets; 0: there was none. */
int variants_print(FILE *f);
/* "trl, verl" with `before` in front; nothing where the recipe has none. Returns their number. */
int variants_of(FILE *f, const struct recipe_file *r, const char *before);

#endif
