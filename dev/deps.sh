#!/bin/sh
# Finds the libraries and writes down how to compile and link with them.
#
#   dev/deps.sh FILE.mk    called by the Makefile: probe; fetch what is missing into .deps/; write FILE.mk
#   dev/deps.sh install    `make deps`: install them system-wide with the system's package manager
#
# Each library is probed by compiling and linking a line of C: with what pkg-config says, then with the bare library
# name (so pkg-config itself may be missing), then with what lies in .deps/. What none of them gives is fetched as the
# user who runs make, without root and without asking for a password: packages are downloaded and unpacked into .deps/,
# nothing is installed. To add a library: a line in package(), a probe in find_all().
#
# Environment: CC; DEPS=off forbids fetching; DEPS_FORCE=1 ignores the system's copies (to test the fetching).
set -u
here=$(pwd)
dir=$here/.deps
root=$dir/root
compiler=${CC:-cc}
tmp=

say() { echo "deps: $*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

manager() {
    if has apt-get && has dpkg; then echo apt
    elif has dnf; then echo dnf
    elif has brew; then echo brew
    else echo none; fi
}

# package MANAGER LIBRARY: the package that brings headers and library
package() {
    case $1:$2 in
    apt:jansson) echo libjansson-dev ;;
    apt:cmocka) echo libcmocka-dev ;;
    apt:pcre2) echo libpcre2-dev ;;
    apt:utf8proc) echo libutf8proc-dev ;;
    apt:stb) echo libstb-dev ;;
    apt:font) echo fonts-dejavu-core ;;
    dnf:jansson) echo jansson-devel ;;
    dnf:cmocka) echo libcmocka-devel ;;
    dnf:pcre2) echo pcre2-devel ;;
    dnf:utf8proc) echo utf8proc-devel ;;
    dnf:stb) echo stb-devel ;;
    dnf:font) echo dejavu-sans-fonts ;;
    brew:stb | brew:font) ;; # not packaged there
    brew:*) echo "$2" ;;
    *) echo "$2" ;;
    esac
}

packages() { # MANAGER LIBRARY...: all of them in one line
    m=$1
    shift
    for lib in "$@"; do package "$m" "$lib"; done | tr '\n' ' ' | sed 's/ $//'
}

# compiles "FLAGS" "PROGRAM": does a program of these lines compile and link?
compiles() {
    printf "$2" >"$tmp/probe.c"
    $compiler -std=c11 -Werror=implicit-function-declaration -x c "$tmp/probe.c" -x none -o "$tmp/probe" $1 >/dev/null 2>&1
}

# find_library NAME PKGCONFIG LINK PROGRAM: sets cflags and libs, or fails
find_library() {
    if [ "${DEPS_FORCE:-}" != 1 ]; then
        if has pkg-config && libs=$(pkg-config --libs "$2" 2>/dev/null); then
            cflags=$(pkg-config --cflags "$2" | sed 's/-I/-isystem /g')
            compiles "$cflags $libs" "$4" && return 0
        fi
        for prefix in "" /usr/local /opt/homebrew; do
            cflags=${prefix:+-isystem $prefix/include} libs="${prefix:+-L$prefix/lib }$3"
            [ "$1" = stb ] && cflags="$cflags -isystem ${prefix:-/usr}/include/stb" libs=
            compiles "$cflags $libs" "$4" && return 0
        done
    fi
    [ -d "$root" ] || return 1
    cflags="-isystem $(shown)/usr/include" libs=
    case $1 in
    stb) cflags="$cflags -isystem $(shown)/usr/include/stb" ;;
    *) libs=$(unpacked "${3#-l}") || return 1 ;;
    esac
    compiles "$cflags $libs" "$4"
}

shown() { echo .deps/root; } # make runs in the repository root

# unpacked NAME: how to link with libNAME in .deps: the static library, so that the program stays whole when it is moved,
# else the shared one by its path. The link libNAME.so of a -dev package may dangle; libNAME.so.N is asked for first.
unpacked() {
    for file in $(find "$root" -name "lib$1.a"; find "$root" -name "lib$1.so.*" | sort; find "$root" -name "lib$1.so"); do
        [ -e "$file" ] || continue
        case $file in
        *.a) echo ".deps${file#"$dir"}" ;;
        *) echo "$file -Wl,-rpath,$(dirname "$file")" ;;
        esac
        return 0
    done
    return 1
}

find_font() {
    list="$root/usr/share/fonts"
    [ "${DEPS_FORCE:-}" = 1 ] || list="/usr/share/fonts /usr/local/share/fonts $list"
    font=$(for d in $list; do [ -d "$d" ] && find "$d" -name DejaVuSans.ttf; done 2>/dev/null | head -n 1)
    case $font in "$dir"*) font=.deps${font#"$dir"} ;; esac
    [ -n "$font" ]
}

# used HEADER: does anything of ours include it? What nobody uses is neither looked for nor fetched.
used() { grep -rqs "^#include <.*$1" train_rl.c model data rewards dev/verbs test; }

found() { # NAME: add what find_library found to the answer
    have="$have $1"
    case " $all_cflags " in *" $cflags "*) ;; *) all_cflags="$all_cflags $cflags" ;; esac
    all_libs="$all_libs $libs"
}

# Probes everything; sets have, missing, all_cflags, all_libs, test_cflags, test_libs, font.
find_all() {
    have= missing= all_cflags= all_libs= test_cflags= test_libs= font=
    if find_library jansson jansson -ljansson '#include <jansson.h>\nint main(void) { return !json_null(); }\n'; then
        found jansson
    else missing="$missing jansson"; fi
    if ! used pcre2.h; then :
    elif find_library pcre2 libpcre2-8 -lpcre2-8 \
        '#define PCRE2_CODE_UNIT_WIDTH 8\n#include <pcre2.h>\nint main(void) { return pcre2_config(0, 0); }\n'; then
        found pcre2
    else missing="$missing pcre2"; fi
    if ! used utf8proc.h; then :
    elif find_library utf8proc libutf8proc -lutf8proc \
        '#include <utf8proc.h>\nint main(void) { return !utf8proc_version(); }\n'; then
        found utf8proc
    else missing="$missing utf8proc"; fi
    if ! used stb_; then :
    elif find_library stb stb "" \
        '#include <stb_image_write.h>\n#include <stb_truetype.h>\nint main(void) { return 0; }\n'; then
        libs= # its headers hold the code
        found stb
    else missing="$missing stb"; fi
    if ! used stb_truetype; then :
    elif find_font; then have="$have font"; else missing="$missing font"; fi
    if find_library cmocka cmocka -lcmocka '#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>
#include <cmocka.h>\nint main(void) { print_message("x"); return 0; }\n'; then
        have="$have cmocka" test_cflags=$cflags test_libs=$libs
    else missing="$missing cmocka"; fi
}

# apt as an ordinary user: own lists and cache; the hooks of the system's configuration would need root.
apt_configuration() {
    mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
    cat >"$dir/apt/$1.conf" <<END
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::State "$dir/apt";
Dir::State::lists "$2";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$dir/apt/cache";
Dir::Log "$dir/apt";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
END
}

# The first lists that know all packages: the system's, which may be empty or old, else own ones.
apt_download() {
    (cd "$dir/debs" && apt-get -q -c "$dir/apt/system.conf" download "$@") && return 0
    [ -e "$dir/apt/updated" ] ||
        { apt-get -q -c "$dir/apt/own.conf" update && : >"$dir/apt/updated"; } || return 1
    (cd "$dir/debs" && apt-get -q -c "$dir/apt/own.conf" download "$@") && return 0
    for one in "$@"; do # one that this release does not have must not cost the others
        (cd "$dir/debs" && apt-get -q -c "$dir/apt/own.conf" download "$one")
    done
}

fetch_apt() {
    rm -rf "$dir/apt" "$dir/debs"
    mkdir -p "$dir/debs" "$root"
    apt_configuration system /var/lib/apt/lists
    apt_configuration own "$dir/apt/lists"
    apt_download $(packages apt "$@")
    # A -dev package depends on the package of its shared library, whose name carries a version.
    runtime=$(for deb in "$dir"/debs/*-dev_*.deb; do
        [ -e "$deb" ] && dpkg-deb -f "$deb" Depends | tr ',' '\n' | sed 's/^ *//; s/ .*//' |
            grep -E '^lib(jansson|cmocka|pcre2-8|utf8proc)'
    done | sort -u)
    [ -z "$runtime" ] || apt_download $runtime
    for deb in "$dir"/debs/*.deb; do
        [ -e "$deb" ] && dpkg -x "$deb" "$root"
    done
    rm -rf "$dir/apt" "$dir/debs"
}

fetch_dnf() { # needs the download command of dnf, rpm2cpio and cpio
    has rpm2cpio && has cpio || { echo "rpm2cpio or cpio is missing"; return 1; }
    mkdir -p "$dir/rpms" "$root"
    for one in $(packages dnf "$@") jansson libcmocka pcre2 utf8proc; do
        dnf -y --setopt=cachedir="$dir/dnf" download --destdir="$dir/rpms" --arch="$(uname -m)" --arch=noarch "$one"
    done
    for rpm in "$dir"/rpms/*.rpm; do
        [ -e "$rpm" ] && (cd "$root" && rpm2cpio "$rpm" | cpio -idm --quiet)
    done
    rm -rf "$dir/rpms" "$dir/dnf"
}

fetch_brew() { # brew's own prefix belongs to the user, so this needs no password
    for one in $(packages brew "$@"); do HOMEBREW_NO_AUTO_UPDATE=1 brew install "$one" </dev/null; done
}

fetch() { # LIBRARY...: what comes is probed afterwards, so a failure here is not yet one
    m=$(manager)
    [ "$m" != none ] || return 0
    say "fetching $(packages "$m" "$@") into .deps/ as $(id -un), nothing is installed (DEPS=off forbids this)"
    mkdir -p "$dir"
    "fetch_$m" "$@" >"$dir/log" 2>&1 </dev/null || say "that failed, see .deps/log"
}

advice() { # LIBRARY...: how a person gets them
    echo "Debian, Ubuntu: $(packages apt "$@"); Fedora: $(packages dnf "$@"); brew: $(packages brew "$@"); or: make deps"
}

install_all() {
    libraries="jansson cmocka pcre2 utf8proc stb font"
    as_root=
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    case $(manager) in
    apt) command="$as_root apt-get install -y $(packages apt $libraries)" ;;
    dnf) command="$as_root dnf install -y $(packages dnf $libraries)" ;;
    brew) command="brew install $(packages brew $libraries)" ;;
    *) say "no package manager that is known here; install: $libraries"; exit 1 ;;
    esac
    say "$command"
    [ "$(manager)" != apt ] || $as_root apt-get -q update
    $command || { say "that failed; as root: ${command#"sudo -n "}"; exit 1; }
}

write_mk() {
    openmp=
    compiles -fopenmp '#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n' && openmp=-fopenmp
    [ -n "$openmp" ] || say "the compiler does not take -fopenmp: one thread"
    mkdir -p "$(dirname "$1")"
    cat >"$1.tmp" <<END
# written by dev/deps.sh; \`make clean\` forgets it
OPENMP := $openmp
HAVE := ${have# }
DEPS_CFLAGS := ${all_cflags# }
DEPS_LIBS := ${all_libs# }
TEST_CFLAGS := $test_cflags
TEST_LIBS := $test_libs
FONT_PATH := $font
END
    mv "$1.tmp" "$1"
}

lacks() { case " $missing " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

main() {
    has "${compiler%% *}" || { say "no C compiler '$compiler'; Debian, Ubuntu: build-essential; Fedora: gcc make"; exit 1; }
    tmp=$(mktemp -d) || exit 1
    trap 'rm -rf "$tmp"' EXIT
    trap 'exit 1' INT TERM HUP
    find_all
    if [ -n "$missing" ] && [ "${DEPS:-}" != off ]; then
        fetch $missing
        find_all
        [ -z "$missing" ] || [ ! -e "$dir/log" ] || say "still missing:$missing; .deps/log says what happened (a network is needed, once)"
    fi
    if lacks jansson; then
        [ "${DEPS:-}" != off ] || say "DEPS=off forbids fetching what is missing:$missing"
        say "Jansson is required and not there ($(advice jansson))"
        exit 1
    fi
    if lacks stb || lacks font; then say "without stb or DejaVu Sans: figures as SVG only ($(advice stb font))"; fi
    if lacks pcre2 || lacks utf8proc; then
        say "without PCRE2 or utf8proc: character and byte tokenizers only ($(advice pcre2 utf8proc))"
    fi
    if lacks cmocka; then say "without cmocka: no make test ($(advice cmocka))"; fi
    write_mk "$1"
}

case ${1:-} in
install) install_all ;;
*.mk) main "$1" ;;
*) echo "usage: dev/deps.sh FILE.mk | install" >&2; exit 2 ;;
esac
