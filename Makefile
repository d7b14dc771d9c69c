# make            build ./train_rl; what is missing is fetched into .deps/ without root (DEPS=off forbids it)
# make run        build and train the default recipe
# make test       all tests; ends with `N passed, N failed, N skipped`
# make cuda       build ./train_rl_cu, the same program with the operations on one NVIDIA GPU too (needs nvcc, no GPU)
# make fuzz       hostile input for every reader, FUZZ_SECONDS=60 each (needs clang); make fuzz-coverage: what it reaches
# make asan       .build/asan/train_rl with address and undefined-behaviour sanitizers
# make debug      .build/debug/train_rl to step through: -O0 -g, the reference operations in double precision, one thread
# make onefile    RECIPE=x: one C file of all that this recipe runs, to be read from top to bottom; OUT=.build/onefile/x.c
# make deps       install the libraries system-wide (needs root; never done unless typed)
# make format     clang-format over all our files
# make clean      forget .build and the program; .deps stays
#
# ARCH=native     processor to compile for (ARCH= for any, ARCH=x86-64-v3 ...)
# NVCC=...        the CUDA compiler; CUDA_ARCH="80 90"  cards to compile for (80 89 90, and newer ones from PTX)
# WERROR=1        warnings are errors        CC=clang  another compiler        V=1  show the commands
#
# Sources are found by wildcard: a new stage, task or verb needs no line here. A file foo_LIB.c with a twin foo_none.c
# is chosen when the optional library LIB was found, the twin otherwise.

CC := $(if $(filter default,$(origin CC)),$(if $(shell command -v gcc),gcc,cc),$(CC))
ARCH ?= native
VARIANT ?= release
B := .build/$(VARIANT)
Q := $(if $(V),,@)

.SUFFIXES:
.DELETE_ON_ERROR:
.PHONY: all run test tests cuda gpu fuzz fuzz-coverage onefile asan debug deps format clean FORCE
all: train_rl

ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
endif

# ---- libraries: dev/deps.sh probes once and answers with HAVE, OPENMP, DEPS_*, TEST_*, FONT_PATH
export CC DEPS DEPS_FORCE
ifneq ($(filter-out deps format clean,$(or $(MAKECMDGOALS),all)),)
DEPS_MK := .build/deps-$(notdir $(firstword $(CC)))$(if $(filter off,$(DEPS)),-off)$(if $(DEPS_FORCE),-force).mk
include $(DEPS_MK)
$(DEPS_MK): dev/deps.sh $(wildcard data/*_none.c dev/verbs/*_none.c)
	@sh dev/deps.sh $@
endif

# ---- sources
SOURCES := $(sort $(wildcard train_rl.c model/*.c model/base/*.c model/cpu/*.c data/*.c rewards/*.c rewards/*/*.c dev/verbs/*.c))
OPTIONAL := stb pcre2 utf8proc seccomp
GIVEN := $(filter-out $(if $(filter font,$(HAVE)),,stb),$(HAVE))
GIVEN := $(if $(and $(filter pcre2,$(GIVEN)),$(filter utf8proc,$(GIVEN))),$(GIVEN),$(filter-out pcre2 utf8proc,$(GIVEN)))
chosen = $(foreach lib,$(filter $(GIVEN),$(OPTIONAL)),$(filter %_$(lib).c,$(SOURCES)))
refused = $(foreach lib,$(filter-out $(GIVEN),$(OPTIONAL)),$(filter %_$(lib).c,$(SOURCES)))
twins = $(foreach lib,$(filter $(GIVEN),$(OPTIONAL)),$(patsubst %_$(lib).c,%_none.c,$(filter %_$(lib).c,$(SOURCES))))
SOURCES := $(filter-out $(refused) $(twins),$(SOURCES)) .build/recipes.c
OBJECTS := $(SOURCES:%.c=$(B)/%.o) $(if $(filter dev/verbs/png_stb.c,$(chosen)),$(B)/font.o)
TESTS := $(patsubst test/%.c,%,$(sort $(wildcard test/test_*.c)))

# ---- flags
OPTIMISE_release := -O3
OPTIMISE_debug := -O0 -g
OPTIMISE_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPTIMISE_coverage := -O0 -g -fsanitize=fuzzer-no-link -fprofile-instr-generate -fcoverage-mapping
OPTIMISE_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
# The checks that sanitizers insert, and code that is not optimised, make gcc see flows that do not exist; the release
# build has these warnings.
QUIET_asan := -Wno-restrict -Wno-format-truncation -Wno-maybe-uninitialized -Wno-stringop-overflow -Wno-unknown-warning-option
QUIET_debug := $(QUIET_asan)
DEFINE_debug := -DREFERENCE_OPERATIONS
OPENMP := $(if $(filter debug,$(VARIANT)),,$(OPENMP))
MACHINE := $(if $(ARCH),-march=$(ARCH))
CFLAGS := -std=c11 -D_GNU_SOURCE $(OPTIMISE_$(VARIANT)) $(DEFINE_$(VARIANT)) $(MACHINE) -ffp-contract=off $(OPENMP) -Wall -Wextra \
	$(if $(OPENMP),,-Wno-unknown-pragmas -Wno-unused-variable -Wno-unused-parameter) $(QUIET_$(VARIANT)) $(if $(WERROR),-Werror) $(DEPS_CFLAGS)
LDLIBS := $(DEPS_LIBS) -lm

# Objects are rebuilt when the compiler, its flags or the libraries change.
FLAGS_NOW := $(CC) $(CFLAGS) $(LDLIBS) $(TEST_CFLAGS) $(TEST_LIBS) $(FONT_PATH)
$(B)/flags: FORCE
	@mkdir -p $(@D); echo '$(FLAGS_NOW)' | cmp -s - $@ || echo '$(FLAGS_NOW)' >$@

# ---- the program
train_rl: .build/release/train_rl
	@cp -f $< $@
$(B)/train_rl: $(OBJECTS)
	@echo 'link $@'
	$(Q)$(CC) $(CFLAGS) $^ -o $@ $(LDLIBS)
ifneq ($(VARIANT),release)
.build/release/train_rl: FORCE
	+@$(MAKE) --no-print-directory VARIANT=release $@
endif

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D); echo 'cc $<'
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

# ---- the program with a GPU: the same objects, train_rl.cu, and model/device.c once more, which then knows of it.
# -fmad=false and the default division and root: a kernel rounds as its twin on the host does.
NVCC ?= $(or $(shell command -v nvcc),$(wildcard /usr/local/cuda/bin/nvcc),nvcc)
CUDA_ARCH ?= 80 89 90
CUDA_LAST := $(lastword $(CUDA_ARCH))
CUDA_FLAGS := -std=c++20 -O3 -fmad=false --threads 0 $(foreach a,$(CUDA_ARCH),-gencode arch=compute_$(a),code=sm_$(a)) \
	-gencode arch=compute_$(CUDA_LAST),code=compute_$(CUDA_LAST)
CUDA_HOME = $(abspath $(dir $(NVCC))..)
CUDA_LIBS = -L$(CUDA_HOME)/lib64 -Wl,-rpath,$(CUDA_HOME)/lib64 -lcudart_static -lstdc++ -ldl -lrt -lpthread
cuda: train_rl_cu
train_rl_cu: $(B)/train_rl_cu
	@cp -f $< $@
$(B)/train_rl_cu: $(filter-out $(B)/model/device.o,$(OBJECTS)) $(B)/cuda/device.o $(B)/cuda/table.o
	@echo 'link $@'
	$(Q)$(CC) $(CFLAGS) $^ -o $@ $(LDLIBS) $(CUDA_LIBS)
$(B)/cuda/device.o: model/device.c $(B)/flags
	@mkdir -p $(@D); echo 'cc $< (with a GPU)'
	$(Q)$(CC) $(CFLAGS) -DWITH_CUDA -MMD -MP -c $< -o $@
$(B)/cuda/table.o: train_rl.cu $(B)/flags
	@mkdir -p $(@D); echo 'nvcc $< for $(CUDA_ARCH)'
	$(Q)$(NVCC) $(CUDA_FLAGS) $(if $(WERROR),-Werror all-warnings) -MMD -MP -c $< -o $@

# Tests call the program as a function.
$(B)/train_rl_main.o: train_rl.c $(B)/flags
	@mkdir -p $(@D); echo 'cc $< (for tests)'
	$(Q)$(CC) $(CFLAGS) -Dmain=train_rl_main -MMD -MP -c $< -o $@

# The font becomes read-only data between the symbols font_data and font_data_end.
$(B)/font.o: $(FONT_PATH) $(B)/flags
	@mkdir -p $(@D)
	@printf '.section .rodata\n.global font_data\n.global font_data_end\nfont_data:\n.incbin "%s"\nfont_data_end:\n.byte 0\n%s\n' \
		'$(FONT_PATH)' '.section .note.GNU-stack,"",%progbits' >$(@:.o=.s)
	$(Q)$(CC) -c $(@:.o=.s) -o $@

# Built-in recipes: each text as one string constant, and NAME.expect.json beside it as another. A '?' is escaped because
# C11 still knows trigraphs.
RECIPES := $(shell printf '%s\n' $(wildcard rewards/recipes/*.ini) | LC_ALL=C sort)
.build/recipes.c: FORCE
	@mkdir -p $(@D); new=$@.$$$$; \
	quote() { sed 's/\\/\\\\/g; s/"/\\"/g; s/?/\\?/g; s/\t/\\t/g; s/^/"/; s/$$/\\n"/' $$1; }; \
	{ echo '#include "../rewards/recipe.h"'; echo 'const struct recipe_file recipe_files[] = {'; \
	for f in $(RECIPES); do \
		printf '{"%s",\n' "$$(basename $$f .ini)"; quote $$f; echo '"",'; \
		if [ -e $${f%.ini}.expect.json ]; then quote $${f%.ini}.expect.json; else echo 0; fi; echo '},'; \
	done; echo '{0, 0, 0}};'; } >$$new; \
	if cmp -s $$new $@; then rm $$new; else mv $$new $@; fi

# ---- tests: every test/test_NAME.c becomes $(B)/test/test_NAME
tests: $(TESTS:%=$(B)/test/%)
$(B)/all.a: $(filter-out $(B)/train_rl.o,$(OBJECTS)) $(if $(wildcard train_rl.c),$(B)/train_rl_main.o)
	@rm -f $@
	$(Q)ar rcs $@ $^
$(B)/test/%.o: test/%.c $(B)/flags
	@mkdir -p $(@D); echo 'cc $<'
	$(Q)$(CC) $(CFLAGS) $(TEST_CFLAGS) -MMD -MP -c $< -o $@
$(B)/test/%: $(B)/test/%.o $(B)/all.a
	$(Q)$(CC) $(CFLAGS) $^ -o $@ $(TEST_LIBS) $(LDLIBS)
# Tests of the CUDA table link it with its kernels compiled for the host.
CUDA_TESTS := $(filter test_cuda_% test_run_cuda_%,$(TESTS))
$(CUDA_TESTS:%=$(B)/test/%): $(B)/test/cuda_table.o

# ---- for a machine with a GPU (dev/gpu.sh): the same tests linked with the GPU's table, and its benchmark
gpu: $(B)/train_rl_cu $(CUDA_TESTS:%=$(B)/gpu/%) $(B)/gpu/bench
$(B)/gpu/test_%: $(B)/test/test_%.o $(B)/cuda/device.o $(B)/gpu/table.o $(B)/all.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $^ -o $@ $(TEST_LIBS) $(LDLIBS) $(CUDA_LIBS)
$(B)/gpu/bench: $(B)/dev/gpu_bench.o $(B)/cuda/device.o $(B)/cuda/table.o $(B)/all.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $^ -o $@ $(LDLIBS) $(CUDA_LIBS)
$(B)/gpu/table.o: train_rl.cu $(B)/flags
	@mkdir -p $(@D); echo 'nvcc $< for tests'
	$(Q)$(NVCC) $(CUDA_FLAGS) -DCUDA_TEST -MMD -MP -c $< -o $@
.SECONDARY:

test:
	+@MAKE='$(MAKE)' bash test/run.sh

# ---- fuzzing: every dev/fuzz/fuzz_NAME.c becomes $(B)/fuzz/NAME; dev/fuzz/run.sh builds and runs them
$(B)/readers.a: $(filter-out $(B)/train_rl.o $(B)/model/backend_cpu.o $(B)/model/cpu/% $(B)/dev/verbs/%,$(OBJECTS)) $(B)/dev/verbs/lines.o $(B)/dev/fuzz/table.o
	@rm -f $@
	$(Q)ar rcs $@ $^
$(B)/fuzz/%: $(B)/dev/fuzz/fuzz_%.o $(B)/readers.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer -Wl,--wrap=_exit $^ -o $@ $(LDLIBS)
fuzz:
	+@MAKE='$(MAKE)' sh dev/fuzz/run.sh fuzz
fuzz-coverage:
	+@MAKE='$(MAKE)' sh dev/fuzz/run.sh coverage

# ---- the rest
run: train_rl
	./train_rl
RECIPE := chain
OUT := .build/onefile/$(notdir $(basename $(firstword $(RECIPE)))).c
onefile: train_rl
	@mkdir -p $(dir $(OUT))
	@./train_rl onefile $(RECIPE) out=$(OUT) && sed -n '1,4s/^ \*     //p' $(OUT)
asan debug:
	+@$(MAKE) --no-print-directory VARIANT=$@ .build/$@/train_rl
deps:
	@sh dev/deps.sh install
	@rm -f .build/deps-*.mk
format:
	clang-format -i $$(find train_rl.* model data rewards dev test -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh')
clean:
	rm -rf .build train_rl train_rl_cu

-include $(wildcard $(OBJECTS:.o=.d) $(B)/cuda/*.d $(B)/gpu/*.d $(B)/dev/gpu_bench.d $(B)/train_rl_main.d $(TESTS:%=$(B)/test/%.d) $(B)/test/cuda_table.d $(B)/dev/fuzz/*.d)
