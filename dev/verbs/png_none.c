/* Stands in for png_stb.c in a build without stb or without the DejaVu Sans font. */
#include "figure.h"

const int figure_has_png = 0;

int figure_png(const struct figure *f, const char *path, struct error *e)
{
    (void)f;
    return fail(
        e,
        "%s: this build has no PNG figures, because stb (stb_truetype.h, stb_image_write.h) or the font DejaVuSans.ttf "
        "was not found when it was made; `make deps` installs them (Debian: libstb-dev, fonts-dejavu-core). The SVG "
        "figures need neither",
        path);
}
